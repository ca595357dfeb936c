// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Who gets a slot when more pairs choose an expert than it has slots. A drop policy is an order of all pairs: each
// expert keeps the first `capacity` of its own. Padding pairs are in nobody's way.
//
// A policy says whether it is causal (the fate of a token does not depend on later tokens) and whether it reads the
// weights, and hands out its order as a functor: pair = order(i), i in [0, T K).

#include "drop_orders.hpp"
#include "radix_sort.hpp"

namespace moebal {

/// FirstBeforeSecond: all first choices before all second choices (GShard, Tutel, V-MoE). Equal: a token's choices
/// together.
enum class ChoiceOrder { FirstBeforeSecond, Equal };

namespace detail {

/// The least that a drop policy is asked for.
struct AnyExec {
  using memory = HostMemory;
  Index workers() const { return 1; }
  template <class F> void for_each(Index, F) const {}
  void exclusive_scan(VectorView<Index>) const {}
};

} // namespace detail

template <class P>
concept drop_policy = std::is_trivially_copyable_v<P> &&
                      requires(P const& policy, detail::AnyExec const& exec, MatrixView<ExpertId const> ids,
                               MatrixView<float const> weights, WorkspaceView<>& workspace) {
                        { P::causal } -> std::convertible_to<bool>;
                        { P::limited } -> std::convertible_to<bool>;
                        { P::reads_weights } -> std::convertible_to<bool>;
                        { policy.template workspace_bytes<float>(exec, Index{}, Index{}) } -> std::same_as<std::size_t>;
                        { policy.order(exec, ids, weights, workspace)(Index{}) } -> std::same_as<Index>;
                      };

/// Nothing is dropped, whatever the capacity.
struct DropNone {
  static constexpr bool causal = true, limited = false, reads_weights = false;
  template <class Real, class Exec> std::size_t workspace_bytes(Exec const&, Index, Index) const { return 0; }
  template <class Exec, class Real, class M>
  auto order(Exec const&, MatrixView<ExpertId const, M>, MatrixView<Real const, M>, WorkspaceView<M>&) const {
    return detail::FlatOrder{};
  }
};
static_assert(drop_policy<DropNone>);

/// First come, first served, in token order. With FirstBeforeSecond a second choice waits for the first choices of
/// later tokens too, so only Equal is causal (for K = 1 both are the same).
template <ChoiceOrder choices = ChoiceOrder::FirstBeforeSecond> struct DropByPosition {
  static constexpr bool causal = choices == ChoiceOrder::Equal, limited = true, reads_weights = false;
  template <class Real, class Exec> std::size_t workspace_bytes(Exec const&, Index, Index) const { return 0; }
  template <class Exec, class Real, class M>
  auto order(Exec const&, MatrixView<ExpertId const, M> ids, MatrixView<Real const, M>, WorkspaceView<M>&) const {
    if constexpr (choices == ChoiceOrder::Equal)
      return detail::FlatOrder{};
    else
      return detail::ChoiceMajorOrder{ids.rows(), ids.cols(), nullptr};
  }
};
static_assert(drop_policy<DropByPosition<>> && drop_policy<DropByPosition<ChoiceOrder::Equal>>);

/// Each expert keeps its largest weights; equal weights: the lower flat index. NaN is below -inf.
struct DropByProbability {
  static constexpr bool causal = false, limited = true, reads_weights = true;
  template <class Real, class Exec> std::size_t workspace_bytes(Exec const& exec, Index tokens, Index top_k) const {
    return detail::RadixScratch<detail::weight_key_t<Real>>::bytes(exec, tokens * top_k);
  }
  template <class Exec, class Real, class M>
  auto order(Exec const& exec, MatrixView<ExpertId const, M> ids, MatrixView<Real const, M> weights,
             WorkspaceView<M>& workspace) const {
    Index const pairs = ids.rows() * ids.cols();
    auto const scratch = detail::RadixScratch<detail::weight_key_t<Real>>::take(exec, pairs, workspace);
    using Weights = detail::Flat<Real const>;
    exec.for_each(pairs, detail::KeyByWeight<Real>{Weights::of(weights), scratch.keys, scratch.values});
    detail::radix_sort(exec, pairs, scratch);
    return detail::ListedOrder{scratch.values};
  }
};
static_assert(drop_policy<DropByProbability>);

/// Tokens ranked by their largest weight or the sum of their weights, all first choices before all second choices
/// (V-MoE, arXiv 2106.05974). Equal priorities: the lower token. To rank by something else than the combine weights,
/// such as raw scores, pass that as the weights.
struct DropBatchPrioritised {
  static constexpr bool causal = false, limited = true, reads_weights = true;
  TokenPriority priority = TokenPriority::Max;

  template <class Real, class Exec> std::size_t workspace_bytes(Exec const& exec, Index tokens, Index) const {
    return detail::RadixScratch<detail::weight_key_t<Real>>::bytes(exec, tokens);
  }
  template <class Exec, class Real, class M>
  auto order(Exec const& exec, MatrixView<ExpertId const, M> ids, MatrixView<Real const, M> weights,
             WorkspaceView<M>& workspace) const {
    auto const scratch = detail::RadixScratch<detail::weight_key_t<Real>>::take(exec, ids.rows(), workspace);
    exec.for_each(ids.rows(), detail::KeyByPriority<Real, M>{ids, weights, priority, scratch.keys, scratch.values});
    detail::radix_sort(exec, ids.rows(), scratch);
    return detail::ChoiceMajorOrder{ids.rows(), ids.cols(), scratch.values};
  }
};
static_assert(drop_policy<DropBatchPrioritised>);

/// Pairs in an order that is drawn from the seed and the flat index alone: the same on every machine. Change the seed
/// at every step, or a position keeps its luck.
struct DropRandom {
  static constexpr bool causal = false, limited = true, reads_weights = false;
  std::uint64_t seed = 0;

  template <class Real, class Exec> std::size_t workspace_bytes(Exec const& exec, Index tokens, Index top_k) const {
    return detail::RadixScratch<std::uint32_t>::bytes(exec, tokens * top_k);
  }
  template <class Exec, class Real, class M>
  auto order(Exec const& exec, MatrixView<ExpertId const, M> ids, MatrixView<Real const, M>,
             WorkspaceView<M>& workspace) const {
    Index const pairs = ids.rows() * ids.cols();
    auto const scratch = detail::RadixScratch<std::uint32_t>::take(exec, pairs, workspace);
    exec.for_each(pairs, detail::KeyByHash{seed, scratch.keys, scratch.values});
    detail::radix_sort(exec, pairs, scratch);
    return detail::ListedOrder{scratch.values};
  }
};
static_assert(drop_policy<DropRandom>);

} // namespace moebal
