// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/local_experts.hpp"
#include "rule.hpp"

namespace moebal {

/// The locality loss of LocMoE (arXiv 2401.13920 eq. 6): coefficient * KL(q || l) = coefficient * sum_e q_e ln(q_e /
/// l_e), q the mean normalised scores of the tokens of one node, l the distribution that keeps them at home. The paper
/// leaves l open; here (1 - epsilon) / L for each of the L local experts and epsilon / (E - L) for the others. A rank's
/// tokens have one origin, so the rule is given the experts of its rank's node (local_experts) and runs at MicroBatch
/// or Sequence scope; the mean over ranks is then sum_v T_v / T KL(q_v || l_v) for ranks of equal size. At GlobalBatch
/// scope nodes would be mixed. Gradient: through q; d loss / d score sum of e = coefficient / T ln(q_e / l_e). (The
/// derivative of q ln q also has a 1, which no logit feels, as normalised scores sum to 1.) Communication: none. Cost:
/// two logarithms an expert. Defaults: the paper prints no weight: 1e-2 is that of its balance loss. epsilon 0.1,
/// because the pull on a token that leaves grows as ln(1 / epsilon) and balance needs some to leave. A mean score of 0
/// counts as one unit of its sum. To be used with a balance loss: alone it would be content with one local expert for
/// all.
struct LocalityLoss {
  using needs = stats::List<stats::ScoreSums>;
  using pooled = stats::List<stats::ScoreSums>;
  static constexpr char const* name = "locality";

  LocalExperts local{};
  double coefficient = 1e-2;
  double epsilon = 0.1;

  void check(Index experts) const {
    require_within("first local expert of LocalityLoss", 0, experts, local.first);
    require_within("local experts of LocalityLoss", 1, experts - local.first, local.count);
    if (!(epsilon > 0 && epsilon < 1))
      detail::refuse<ShapeError>("epsilon of LocalityLoss", "more than 0, less than 1", std::to_string(epsilon));
  }
  /// The share of the node's scores that expert e is meant to have.
  MOEBAL_FN double target(Index experts, Index e) const {
    if (local.count == experts) return 1.0 / double(experts);
    return local(e) ? (1 - epsilon) / double(local.count) : epsilon / double(experts - local.count);
  }

  MOEBAL_FN double slope(Window<needs, pooled> const& window, Index e) const {
    if (window.load_tokens() == 0) return 0;
    double const mean = window.load_mean_score(e), unit = window.score_unit() / double(window.load_tokens());
    double const q = mean < unit ? unit : mean > 1 ? 1.0 : mean;
    double const difference = math::log_of_sum(1 / target(window.experts(), e)) - math::log_of_sum(1 / q);
    return coefficient * difference * window.token_weight();
  }
  MOEBAL_FN double value(Window<needs, pooled> const& window) const {
    double sum = 0; // q is linear in the scores: the parts that the score windows report add up
    for (Index e = 0; e < window.experts(); ++e) sum = __builtin_fma(slope(window, e), window.score_sum(e), sum);
    return sum;
  }
};
static_assert(score_rule<LocalityLoss> && !bias_rule<LocalityLoss>);

} // namespace moebal
