// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a router answers with.

#include "errors.hpp"
#include "math.hpp"
#include "views.hpp"

#include <vector>

namespace moebal {

/// The choices of T tokens, best first. Where a selection takes fewer than K experts, no_expert and a weight of zero fill the
/// rest of the row; a padding row holds nothing else.
template <class Real = float, class Memory = HostMemory> struct RoutingView {
  MatrixView<ExpertId, Memory> expert_ids; // [T, K] distinct ids in [0, E), then no_expert
  MatrixView<Real, Memory> weights;        // [T, K] combine weights
  // What makes a plan one pass (plan/group.hpp), both or none. Empty: not wanted.
  MatrixView<std::int32_t, Memory> ranks{}; // [T, K] pairs of lower flat index t K + k with the same expert; -1 for no_expert
  VectorView<Index, Memory> loads{};        // [E] pairs that chose each expert

  MOEBAL_FN bool has_ranks() const { return !ranks.empty() || !loads.empty(); }
};

namespace detail {

/// Refuses ranks and loads that do not fit the ids [T, K] and E experts.
template <class Real, class Memory>
void require_ranks_shape(RoutingView<Real, Memory> const& routing, Index experts) {
  require_equal("ranks [T, K], rows", routing.expert_ids.rows(), routing.ranks.rows());
  require_equal("ranks [T, K], columns", routing.expert_ids.cols(), routing.ranks.cols());
  require_equal("loads [E] beside ranks", experts, routing.loads.size());
  require_within("T of ranks [T, K], which have 32 bits", 0, 0x7fffffff, routing.ranks.rows());
}

} // namespace detail

/// A RoutingView with its own memory.
template <class Real = float> class Routing {
public:
  Routing() = default;
  Routing(Index tokens, Index top_k)
      : tokens_(tokens), top_k_(top_k), expert_ids_(std::size_t(tokens * top_k)), weights_(std::size_t(tokens * top_k)) {}
  /// With room for ranks and for the loads of E experts, which makes route_into fill them.
  Routing(Index tokens, Index top_k, Index experts) : Routing(tokens, top_k) {
    ranks_.resize(expert_ids_.size());
    loads_.resize(std::size_t(experts));
  }

  Index tokens() const { return tokens_; }
  Index top_k() const { return top_k_; }
  MatrixView<ExpertId> expert_ids() { return {expert_ids_.data(), tokens_, top_k_}; }             // [T, K]
  MatrixView<ExpertId const> expert_ids() const { return {expert_ids_.data(), tokens_, top_k_}; } // [T, K]
  MatrixView<Real> weights() { return {weights_.data(), tokens_, top_k_}; }                       // [T, K]
  MatrixView<Real const> weights() const { return {weights_.data(), tokens_, top_k_}; }           // [T, K]
  MatrixView<std::int32_t const> ranks() const { return ranks_of(ranks_); }                       // [T, K] or empty
  VectorView<Index const> loads() const { return loads_; }                                        // [E] or empty
  RoutingView<Real> view() { return {expert_ids(), weights(), ranks_of(ranks_), loads_}; }

private:
  template <class Ranks> auto ranks_of(Ranks& ranks) const {
    using View = MatrixView<std::remove_pointer_t<decltype(ranks.data())>>;
    return loads_.empty() ? View{} : View{ranks.data(), tokens_, top_k_};
  }

  Index tokens_ = 0;
  Index top_k_ = 0;
  std::vector<ExpertId> expert_ids_;
  std::vector<Real> weights_;
  std::vector<std::int32_t> ranks_;
  std::vector<Index> loads_;
};

/// How a selection bias changes a score.
enum class BiasBy {
  Adding, // score + bias
  Scaling // score * bias
};

/// The key of a score with its bias.
template <class V> MOEBAL_FN inline V with_bias(V score, V bias, BiasBy by) {
  return by == BiasBy::Scaling ? math::mul(score, bias) : score + bias;
}

/// What a row needs besides its logits. Everything may stay empty.
template <class Memory = HostMemory> struct RowOptions {
  VectorView<float const, Memory> bias{};          // [E], or [C, E] with classes; changes the score for selection only; fp32 always
  VectorView<std::uint8_t const, Memory> padding{}; // [T] 1 = a padding row: not routed, not counted, no gradient
  VectorView<Index const, Memory> segments{};      // [S + 1] first token of each sequence, then T; empty: one sequence
  VectorView<Index const, Memory> tags{};          // [T] a number that a selection reads: a token id, a domain; empty: 0
  BiasBy bias_by = BiasBy::Adding;
  VectorView<Index const, Memory> classes{};       // [T] which of C rows of the bias is a token's (text, image, ...); empty: 0

  MOEBAL_FN Index class_of(Index t) const { return classes.empty() ? 0 : classes[t]; }
  /// The bias [E] of token t, or null.
  MOEBAL_FN float const* bias_of(Index t, Index experts) const {
    return bias.empty() ? nullptr : bias.data() + class_of(t) * experts;
  }
};

} // namespace moebal
