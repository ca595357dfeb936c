// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// From ids to a plan: who is kept, and in which slot. Stable, and the same whatever the number of threads.

#include "../core/routing.hpp"
#include "capacity.hpp"
#include "drop.hpp"
#include "place_ranked.hpp"
#include "plan.hpp"

namespace moebal {

/// Order of the slots inside an expert: by flat index, or as the drop policy ranked the pairs (then a slot's place in
/// its expert is the pair's rank there: the "location" of Tutel and DeepSpeed). Who is kept is the same.
enum class SlotOrder { Token, Priority };

/// How a batch becomes a plan.
template <drop_policy Drop = DropNone> struct PlanPolicy {
  Drop drop{};
  Capacity capacity{}; // not read by DropNone
  SlotOrder order = SlotOrder::Token;
};

/// The experts that live here: local[id] is the local number in [0, experts) of an expert, or no_expert. Pairs of other
/// experts are left out of the plan. Empty: every expert lives here.
template <class Memory = HostMemory> struct ExpertMap {
  VectorView<ExpertId const, Memory> local{}; // [E]
  Index experts = 0;                          // local experts
};

namespace detail {

/// Expert of the i-th pair of an order, or -1. An id out of range is treated as no_expert, so that no kernel writes out
/// of its buffers; validate_ids says which one it was.
template <class Order> struct ExpertOf {
  Order order;
  Flat<ExpertId const> ids;
  Index experts;
  ExpertId const* local; // or null
  Index local_experts;
  MOEBAL_FN Index operator()(Index i) const {
    Index const id = ids[order(i)];
    if (id < 0 || id >= experts) return -1;
    if (!local) return id;
    return local[id] < local_experts ? Index(local[id]) : Index(-1);
  }
};

/// The same where all experts live here and the ids lie side by side, in flat order.
struct ExpertAt {
  ExpertId const* ids;
  Index experts;
  MOEBAL_FN Index operator()(Index pair) const {
    std::uint32_t const id = std::uint32_t(ids[pair]); // one comparison: no_expert is past the last
    return id < std::uint32_t(experts) ? Index(id) : Index(-1);
  }
};
struct PlaceAt {
  Index* order;
  Index* slot_of;
  MOEBAL_FN void operator()(Index pair, Index slot) const {
    slot_of[pair] = slot;
    order[slot] = pair;
  }
  MOEBAL_FN void nowhere(Index pair) const { slot_of[pair] = no_slot; }
};

/// The same for pairs that already have a slot.
struct ExpertOfKept {
  ExpertOf<FlatOrder> expert;
  Flat<Index> slot_of;
  MOEBAL_FN Index operator()(Index pair) const { return slot_of[pair] == no_slot ? -1 : expert(pair); }
};

template <class Order> struct PlacePair {
  Order pair_of;
  Index* order;
  Flat<Index> slot_of;
  MOEBAL_FN void operator()(Index i, Index slot) const {
    Index const pair = pair_of(i);
    slot_of[pair] = slot;
    order[slot] = pair;
  }
  MOEBAL_FN void nowhere(Index i) const { slot_of[pair_of(i)] = no_slot; }
};

/// order[slots...] = no_slot.
struct ClearTail {
  Index* order;
  Index size;
  Index const* slots;
  Index chunks;
  MOEBAL_FN void operator()(Index c) const {
    Cut const cut{size - *slots, chunks};
    Index const end = cut.first(c + 1);
    for (Index i = cut.first(c); i < end; ++i) order[*slots + i] = no_slot;
  }
};

/// Slots past the last expert's become no_slot.
template <class Exec> void clear_tail(Exec const& exec, PlanTarget<typename Exec::memory> const& plan) {
  Index const chunks = sort_chunks(exec, plan.order.size()), experts = plan.kept.size();
  exec.for_each(chunks, ClearTail{plan.order.data(), plan.order.size(), plan.offsets.data() + experts, chunks});
}

template <class Memory> Index local_experts(ExpertMap<Memory> const& map, Index experts) {
  return map.local.empty() ? experts : map.experts;
}

} // namespace detail

/// Bytes that plan_into takes for T tokens with K of E experts (E: all experts, also with an ExpertMap).
template <class Real = float, class Exec, drop_policy Drop>
std::size_t plan_workspace_bytes(Exec const& exec, PlanPolicy<Drop> policy, Index tokens, Index top_k, Index experts) {
  return detail::counting_sort_bytes(exec, tokens * top_k, experts) +
         policy.drop.template workspace_bytes<Real>(exec, tokens, top_k);
}

/// Groups the pairs of a batch by expert and drops those beyond the capacity.
/// @param experts  E, all experts: what ids range over and the capacity's formula divides by
/// @param expert_ids      [T, K] distinct ids in [0, E) or no_expert
/// @param expert_weights  [T, K] what the drop policy ranks by; may be empty for the policies that read none
/// @param plan     out, [T, K] and the local experts; plan.order with room for T K slots
/// @param map      the experts that live here; empty: all
/// @param limits   [local experts] slots of each, at least 0, instead of the policy's capacity; empty: the capacity. Not
///                 read by DropNone
/// The capacity is that of T tokens, padding rows included, because the formulas know no padding.
/// Cost: two passes over the ids; weights that are ranked are sorted first (4 passes for fp32, 8 for fp64). A policy
/// other than flat order and SlotOrder::Token take two passes more. Allocates nothing, reads nothing back.
/// @throws ShapeError
template <execution Exec, drop_policy Drop, matrix_like Ids, matrix_like Weights>
void plan_into(Exec const& exec, PlanPolicy<Drop> policy, Index experts, Ids&& expert_ids, Weights&& expert_weights,
               PlanTarget<typename Exec::memory> plan, WorkspaceView<typename Exec::memory> workspace,
               ExpertMap<typename Exec::memory> map = {}, VectorView<Index const, typename Exec::memory> limits = {}) {
  using namespace detail;
  check_matrices<Exec, Ids, Weights>();
  MatrixView<ExpertId const, typename Exec::memory> const ids = as_matrix(expert_ids);
  MatrixView<element_of<Weights> const, typename Exec::memory> const weights = as_matrix(expert_weights);
  Index const tokens = ids.rows(), top_k = ids.cols(), pairs = tokens * top_k;
  Index const bins = local_experts(map, experts);
  require_at_least("experts of a plan", 1, experts);
  if (!map.local.empty()) require_equal("size of the expert map [E]", experts, map.local.size());
  require_plan_shape(plan, tokens, top_k, bins);
  require_at_least("size of plan.order [T K]", pairs, plan.order.size());
  if (Drop::reads_weights || !weights.empty()) {
    require_equal("rows of the weights [T, K]", tokens, weights.rows());
    require_equal("columns of the weights [T, K]", top_k, weights.cols());
  }
  Index limit = Capacity::unlimited;
  if constexpr (Drop::limited) {
    if (limits.empty())
      limit = policy.capacity.slots({tokens, top_k, experts});
    else
      require_equal("limits of a plan [local experts]", bins, limits.size());
  } else {
    limits = {};
  }

  Index* const table = workspace.template take<Index>(sort_chunks(exec, pairs) * bins);
  auto const order = policy.drop.order(exec, ids, weights, workspace);
  using Order = std::remove_const_t<decltype(order)>;
  ExpertOf<FlatOrder> const flat{{}, Flat<ExpertId const>::of(ids), experts, map.local.data(), bins};
  auto const slot_of = Flat<Index>::of(plan.slot_of);
  auto const sort = [&](auto bin, auto put) {
    counting_sort(exec, pairs, bins, limit, bin, put, plan.offsets, table, plan.loads.data(), plan.kept.data(),
                  limits.data());
  };
  if (std::same_as<Order, FlatOrder> && map.local.empty() && flat.ids.is_contiguous() && slot_of.is_contiguous())
    sort(ExpertAt{ids.data(), experts}, PlaceAt{plan.order.data(), plan.slot_of.data()});
  else
    sort(ExpertOf<Order>{order, flat.ids, experts, flat.local, bins},
         PlacePair<Order>{order, plan.order.data(), slot_of});
  if constexpr (!std::same_as<Order, FlatOrder>)
    if (policy.order == SlotOrder::Token)
      counting_sort(exec, pairs, bins, limit, ExpertOfKept{flat, slot_of},
                    PlacePair<FlatOrder>{{}, plan.order.data(), slot_of}, plan.offsets, table, nullptr, nullptr,
                    limits.data());
  clear_tail(exec, plan);
}

/// The same for what a router answers. With its ranks and loads, which must be of these ids, one pass over the ids does
/// where pairs are kept in flat order (DropNone, DropByPosition<ChoiceOrder::Equal>) and all experts live here; the plan
/// has the same bits:
///   Routing<> routing(T, K, E);  Plan plan(T, K, E, T * K);
///   router.route_into(exec, logits, options, routing.view(), load, workspace);
///   plan_into(exec, policy, E, routing.view(), plan.target(), workspace);
template <execution Exec, drop_policy Drop, class Real>
void plan_into(Exec const& exec, PlanPolicy<Drop> policy, Index experts,
               RoutingView<Real, typename Exec::memory> routing, PlanTarget<typename Exec::memory> plan,
               WorkspaceView<typename Exec::memory> workspace, ExpertMap<typename Exec::memory> map = {}) {
  using Memory = typename Exec::memory;
  using Order = decltype(policy.drop.order(exec, MatrixView<ExpertId const, Memory>{}, MatrixView<Real const, Memory>{}, workspace));
  if constexpr (std::same_as<Order, detail::FlatOrder> && std::same_as<Memory, HostMemory>)
    if (routing.has_ranks() && map.local.empty()) {
      auto const& ids = routing.expert_ids;
      detail::require_ranks_shape(routing, experts);
      detail::require_plan_shape(plan, ids.rows(), ids.cols(), experts);
      require_at_least("size of plan.order [T K]", ids.rows() * ids.cols(), plan.order.size());
      Index const limit =
          Drop::limited ? policy.capacity.slots({ids.rows(), ids.cols(), experts}) : Capacity::unlimited;
      detail::place_ranked(exec, limit, ids, routing.ranks, routing.loads, plan);
      return detail::clear_tail(exec, plan);
    }
  plan_into(exec, policy, experts, routing.expert_ids, routing.weights, plan, workspace, map);
}

/// Grouping alone: nothing is dropped. Workspace: plan_workspace_bytes(exec, PlanPolicy<>{}, T, K, E).
template <execution Exec, matrix_like Ids>
void group_into(Exec const& exec, Index experts, Ids&& ids, PlanTarget<typename Exec::memory> plan,
                WorkspaceView<typename Exec::memory> workspace, ExpertMap<typename Exec::memory> map = {}) {
  plan_into(exec, PlanPolicy<>{}, experts, ids, MatrixView<float const, typename Exec::memory>{}, plan, workspace, map);
}

} // namespace moebal
