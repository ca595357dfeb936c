// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "best_experts.hpp"

namespace moebal {
namespace select {

/// One expert's column: from scores s to s + b - strength * beta_t, from the first token of each sequence to its last.
template <class Real, class Memory> struct MomentumColumn {
  BatchCandidates<Real, Memory> batch;
  double above; // 1 - K / E
  double decay, strength;
  Index bins;
  double* histogram; // [E, bins]

  MOEBAL_FN void operator()(Index e) const {
    auto const& segments = batch.options.segments;
    Index const sequences = segments.empty() ? 1 : segments.size() - 1;
    for (Index s = 0; s < sequences; ++s)
      walk(e, segments.empty() ? 0 : segments[s], segments.empty() ? batch.scores.rows() : segments[s + 1]);
  }

private:
  MOEBAL_FN void walk(Index e, Index first, Index end) const {
    double* const bin = histogram + e * bins;
    for (Index b = 0; b < bins; ++b) bin[b] = 0;
    double mass = 0;
    for (Index t = first; t < end; ++t) {
      if (batch.is_padding(t)) continue;
      Real const score = batch.scores(t, e);
      double const beta = quantile_and_decay(bin, mass);
      mass = math::mul(mass, decay);
      float const* const bias = batch.options.bias_of(t, batch.scores.cols());
      Real const key = bias == nullptr ? score : with_bias(score, Real(bias[e]), batch.options.bias_by);
      batch.scores(t, e) = math::fma(Real(-strength), Real(beta), key);
      if (math::is_nan(score)) continue;
      double const place = math::mul(double(score), double(bins));
      bin[!(place > 0) ? 0 : place < double(bins) ? Index(place) : bins - 1] += 1;
      mass = mass + 1;
    }
  }
  /// Where the mass from below reaches its part `above`, in [0, 1]; 0 where there is none. The bins decay on the way.
  MOEBAL_FN double quantile_and_decay(double* bin, double mass) const {
    double const wanted = math::mul(above, mass);
    double before = 0, place = mass > 0 ? double(bins) : 0;
    bool found = !(mass > 0);
    for (Index b = 0; b < bins; ++b) {
      if (!found && bin[b] > 0 && before + bin[b] >= wanted) {
        place = double(b) + (wanted - before) / bin[b];
        found = true;
      }
      before = before + bin[b];
      bin[b] = math::mul(bin[b], decay);
    }
    return place / double(bins);
  }
};

} // namespace select

/// MQB, quantile balancing inside a sequence (kexue.fm/archives/11760): token t takes the K best experts of
///   s_te + b_e - strength * beta_te,   beta_te = the 1 - K / E quantile of expert e's scores at the tokens before t,
/// from a histogram of the sequence that forgets: each token further multiplies what it holds by `decay`. An expert
/// that has scored high here so far is preferred less, whatever the batch does. b may be that of a rule that balances
/// counts over the batch, such as LossFreeBias; not of QuantileHistogram, whose margins are made of s + b and know of
/// no beta. For scores in [0, 1] (Sigmoid); what lies outside counts in the first or last bin, NaN not. The first token
/// of a sequence sees no histogram, and no beta. bins 100, decay 0.99, strength 0.3 (at 1 the source reports a loss of
/// about 0.06): the source's. Whether token t's own score belongs to its histogram is not said there; here it does not.
/// Sequences: RowOptions::segments. Causal: beta_t reads earlier tokens of the sequence only; to generate, route the
/// sequence so far. Communicated: nothing. Gradient: through the weights, which are the gate's. Cost: T E bins fused
/// operations, one expert a thread, in the order of tokens, so the bits are the same on every machine; [T, E] scores, E
/// bins doubles.
template <int K> struct MomentumQuantile {
  static_assert(K >= 1, "moebal: MomentumQuantile<K> needs K of at least 1");
  static constexpr Index top_k = K;
  static constexpr bool causal = true;
  static constexpr BatchInput input = BatchInput::PlainScores;

  float strength = 0.3f;
  float decay = 0.99f;
  Index bins = 100;

  void check(Index, Index experts) const {
    require_within("K of MomentumQuantile<K> for E experts (E is the upper bound)", 1, experts, K);
    require_within("bins of MomentumQuantile", 1, 1 << 20, bins);
    if (!(decay >= 0 && decay <= 1))
      detail::refuse<ShapeError>("decay of MomentumQuantile", "at least 0, at most 1", std::to_string(decay));
  }
  template <class Real, class Exec> std::size_t workspace_bytes(Exec const&, Index, Index experts) const {
    return WorkspaceView<>::bytes_for<double>(experts * bins);
  }
  template <class Exec, class Real, class Memory>
  void assign(Exec const& exec, select::BatchCandidates<Real, Memory> batch, MatrixView<ExpertId, Memory> ids,
              WorkspaceView<Memory> workspace) const {
    Index const experts = batch.scores.cols();
    exec.for_each(experts, select::MomentumColumn<Real, Memory>{batch, double(experts - K) / double(experts),
                                                                double(decay), double(strength), bins,
                                                                workspace.template take<double>(experts * bins)});
    exec.for_each(batch.scores.rows(), select::TakeBest<Real, Memory>{batch, ids});
  }
};
static_assert(batch_selection<MomentumQuantile<2>>);

} // namespace moebal
