// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "row.hpp"
#include "softmax_row.hpp"

namespace moebal {
namespace gate {

/// Normalised scores of the softmax gates: the softmax over all experts.
struct SoftmaxBalance {
  static constexpr bool opens_tiles = true;
  template <class Real, class Lanes, class X, class Keep = KeepNothing>
  MOEBAL_FN SoftmaxRow<Real> open(Lanes lanes, X x, Index experts, Keep keep = {}) const {
    return open_softmax<Real>(lanes, x, experts, keep);
  }
  template <class Real, class V> MOEBAL_FN V share(SoftmaxRow<Real> row, V kept) const { return row.share(kept); }
  template <class Real, class V> MOEBAL_FN V score(SoftmaxRow<Real> row, V z) const { return row(z); }
  static constexpr bool normalised = true;
  template <class Real, class V> MOEBAL_FN V pull(SoftmaxRow<Real> row, V, V kept, V centred) const {
    return math::mul<V>(row.share(kept), centred);
  }
};

/// Softmax over the K chosen logits z. weights may not alias z.
template <class Real, class Lanes>
MOEBAL_FN void weigh_over_chosen(Lanes lanes, Real const* z, Index count, Real scale, Real* weights) {
  auto const row = open_softmax<Real>(lanes, LogitRow<Real>{z}, count);
  lanes.each(count, [=](auto k) {
    using V = decltype(load(z, k));
    store(weights, k, math::mul<V>(row(load(z, k)), math::spread<V>(scale)));
  });
}

/// Its derivative with respect to z is factor * value: scale * g_k (v_k - sum_i v_i g_i).
template <class Real, class Lanes>
MOEBAL_FN void pull_over_chosen(Lanes lanes, Real const* z, Index count, Real scale, Real const* d_weight, Real* factor,
                                Real* value) {
  auto const chosen = LogitRow<Real>{z};
  auto const row = open_softmax<Real>(lanes, chosen, count);
  Real const pulled = lanes.template dot<Real>(
      count, [=](auto k) { return load(d_weight, k); }, [=](auto k) { return row(chosen(k)); });
  lanes.each(count, [=](auto k) {
    using V = decltype(chosen(k));
    store(factor, k, math::spread<V>(scale));
    store(value, k, math::mul<V>(row(chosen(k)), load(d_weight, k) - math::spread<V>(pulled)));
  });
}

} // namespace gate

/// Softmax over all experts, then the chosen ones. weight = scale * p (Normalise::None: Switch, arXiv 2101.03961;
/// OLMoE; DeepSeek-V2) or scale * p / (sum of the chosen p) (OverChosen: Mixtral, Qwen3). With OverChosen and no
/// epsilon the weights are computed as the softmax of the chosen logits, which is the same number and cannot underflow.
/// Cost: two passes over the row when all probabilities or raw weights are needed, K exponentials otherwise.
struct Softmax {
  Normalise normalise = Normalise::None;
  SingleChoice single_choice = SingleChoice::Normalised;
  float scale = 1;
  float epsilon = 0;
  EpsilonRule epsilon_rule = EpsilonRule::Add;

  static constexpr bool opens_tiles = true;
  template <class Real, class Lanes, class X, class Keep = gate::KeepNothing>
  MOEBAL_FN gate::SoftmaxRow<Real> open(Lanes lanes, X x, Index experts, Keep keep = {}) const {
    return gate::open_softmax<Real>(lanes, x, experts, keep);
  }
  template <class Real, class V> MOEBAL_FN V score(gate::SoftmaxRow<Real> row, V z) const { return row(z); }

  MOEBAL_FN gate::SoftmaxBalance balance() const { return {}; }

  /// Whether the weights of K choices need the whole row.
  MOEBAL_FN bool weights_read_row(Index top_k) const { return !over_chosen(top_k); }

  template <class Real, class Lanes>
  MOEBAL_FN void weigh(Lanes lanes, gate::SoftmaxRow<Real> row, Real const* z, Index count, Index top_k,
                       Real* weights) const {
    if (over_chosen(top_k)) return gate::weigh_over_chosen(lanes, z, count, math::splat<Real>(scale), weights);
    lanes.each(count, [=](auto k) { store(weights, k, row(load(z, k))); });
    gate::weigh(lanes, gate::weight_rule<Real>(*this, top_k), static_cast<Real const*>(weights), count, weights);
  }

  template <class Real, class Lanes>
  MOEBAL_FN void weigh_pull(Lanes lanes, Real const* z, Index count, Index, Real const* d_weight, Real* factor,
                            Real* value) const {
    gate::pull_over_chosen(lanes, z, count, math::splat<Real>(scale), d_weight, factor, value);
  }
  /// The same where the weights read the row, which open() opened: then factor is the probability q of balance(), and
  /// sum_k factor_k value_k shifts every other derivative (gate/pull_back.hpp).
  template <class Real, class Lanes>
  MOEBAL_FN void weigh_pull(Lanes lanes, gate::SoftmaxRow<Real> row, Real const* z, Index count, Index top_k,
                            Real const* d_weight, Real* factor, Real* value) const {
    lanes.each(count, [=](auto k) { store(factor, k, row(load(z, k))); });
    gate::weigh_backward(lanes, gate::weight_rule<Real>(*this, top_k), static_cast<Real const*>(factor), count,
                         d_weight, value);
  }

private:
  MOEBAL_FN bool over_chosen(Index top_k) const {
    return normalise == Normalise::OverChosen && epsilon == 0 && !(top_k == 1 && single_choice == SingleChoice::Raw);
  }
};

/// Top-K of the logits, then softmax over the K kept ones: gpt-oss, Granite, Megatron without pre-softmax. The score
/// that a bias or a group sum sees is the logit itself. K = 1 gives a weight of `scale` and no gradient.
struct SoftmaxOverChosen {
  float scale = 1;

  template <class Real> struct Row {};
  template <class Real, class Lanes, class X> MOEBAL_FN Row<Real> open(Lanes, X, Index) const { return {}; }
  template <class Real, class V> MOEBAL_FN V score(Row<Real>, V z) const { return z; }
  MOEBAL_FN gate::SoftmaxBalance balance() const { return {}; }
  MOEBAL_FN bool weights_read_row(Index) const { return false; }

  template <class Real, class Lanes>
  MOEBAL_FN void weigh(Lanes lanes, Row<Real>, Real const* z, Index count, Index, Real* weights) const {
    gate::weigh_over_chosen(lanes, z, count, math::splat<Real>(scale), weights);
  }
  template <class Real, class Lanes>
  MOEBAL_FN void weigh_pull(Lanes lanes, Real const* z, Index count, Index, Real const* d_weight, Real* factor,
                            Real* value) const {
    gate::pull_over_chosen(lanes, z, count, math::splat<Real>(scale), d_weight, factor, value);
  }
};

} // namespace moebal
