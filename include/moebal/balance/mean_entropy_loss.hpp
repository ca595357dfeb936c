// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "linear.hpp"

namespace moebal {

/// How far the mean scores of a scope are from equal: coefficient * (ln E - H(P)), H(P) = -sum_e P_e ln P_e, P the mean
/// normalised scores; 0 where they are equal, coefficient * ln E at the worst. The potential of PhiLoss without its
/// memory: the gradient of both is ln P_e, here of the batch at hand. (Maximising the entropy of the mean while
/// TokenEntropy lowers that of each token makes experts both equal and distinct.) coefficient 1e-2: of the size of
/// other balance losses; no paper of this form was found. Communicated: E score sums a micro-batch. Gradient:
/// coefficient * (ln P_e + 1) per expert's mean score. Exact: the windows are integers.
struct MeanEntropyLoss {
  using needs = stats::List<stats::ScoreSums>;
  using pooled = stats::List<stats::ScoreSums>;
  static constexpr char const* name = "mean_entropy";

  double coefficient = 1e-2;

  MOEBAL_FN double slope(Window<needs, pooled> const& window, Index expert) const {
    if (window.load_tokens() == 0) return 0;
    return coefficient * (detail::log_share(window.load_mean_score(expert)) + 1) * window.token_weight();
  }
  MOEBAL_FN double value(Window<needs, pooled> const& window) const {
    if (window.load_tokens() == 0) return 0;
    double missing = math::log_of_sum(double(window.experts()));
    for (Index e = 0; e < window.experts(); ++e)
      missing = __builtin_fma(window.load_mean_score(e), detail::log_share(window.load_mean_score(e)), missing);
    return coefficient * missing * window.share();
  }
};
static_assert(score_rule<MeanEntropyLoss> && !bias_rule<MeanEntropyLoss>);

} // namespace moebal
