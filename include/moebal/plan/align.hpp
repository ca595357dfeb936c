// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Room between experts: each expert's slots padded with fillers to whole blocks (grouped matrix products that work in
// tiles), or to one fixed number (a dense [E, C] buffer). Sizes are known before the ids are, and nothing is read back.

#include "../backend/warp_lanes.hpp"
#include "../core/execution.hpp"
#include "plan.hpp"

#include <algorithm>

namespace moebal {

struct Alignment {
  Index block = 1;
  Index slots_per_expert = 0; // 0: as many as the expert needs. Otherwise each gets this many, rounded up to blocks
};

namespace detail {

MOEBAL_FN inline Index round_up(Index n, Index block) { return (n + block - 1) / block * block; }

struct AlignedSize {
  Alignment alignment;
  Index experts;
  Index const* kept;
  Index* sizes; // [E + 1]
  Index* new_kept;
  Index const* loads;
  Index* new_loads;
  MOEBAL_FN void operator()(Index e) const {
    if (e == experts) {
      sizes[e] = 0;
      return;
    }
    Index const wanted = alignment.slots_per_expert > 0 ? alignment.slots_per_expert : kept[e];
    sizes[e] = round_up(wanted, alignment.block);
    new_kept[e] = kept[e] < sizes[e] ? kept[e] : sizes[e];
    new_loads[e] = loads[e];
  }
};

struct ClearPair {
  Flat<Index> slot_of;
  MOEBAL_FN void operator()(Index pair) const { slot_of[pair] = no_slot; }
};

/// Fills one block of slots. Blocks past the last expert get no_expert and no_slot.
template <class Memory> struct FillBlock {
  Index block;
  Index experts;
  PlanView<Memory> tight;
  Index const* offsets; // [E + 1] of the aligned plan
  Index* order;
  Index order_size;
  Flat<Index> slot_of;
  ExpertId* block_experts; // or null
  MOEBAL_FN void operator()(Index b) const { fill(b, 0, 1); }
  template <class Warp> MOEBAL_FN void warp(Warp, Index b) const { fill(b, Warp::lane(), warp_size); }

private:
  // Slots `lane`, lane + lanes, ... of block b.
  MOEBAL_FN void fill(Index b, Index lane, Index lanes) const {
    Index const first = b * block;
    Index low = 0, high = experts; // the last expert that starts at or before `first`; empty experts are passed over
    while (high - low > 1) {
      Index const middle = low + (high - low) / 2;
      (offsets[middle] <= first ? low : high) = middle;
    }
    bool const used = first < offsets[experts];
    if (block_experts && lane == 0) block_experts[b] = used ? ExpertId(low) : no_expert;
    Index const size = tight.kept[low];
    Index const end = first + block < order_size ? first + block : order_size;
    for (Index slot = first + lane; slot < end; slot += lanes) {
      Index const rank = slot - offsets[low];
      Index const pair = used && rank < size ? tight.order[tight.offsets[low] + rank] : no_slot;
      order[slot] = pair;
      if (pair != no_slot) slot_of[pair] = slot;
    }
  }
};

} // namespace detail

/// Slots that an aligned plan can need: the size of its `order`. A multiple of the block, so blocks = slots / block.
inline Index aligned_slots(Alignment alignment, Index pairs, Index experts) {
  require_at_least("block of an alignment", 1, alignment.block);
  Index const block = alignment.block;
  if (alignment.slots_per_expert > 0) return experts * detail::round_up(alignment.slots_per_expert, block);
  // Every expert that has a pair wastes block - 1 slots at most.
  return (pairs + std::min(pairs, experts) * (block - 1)) / block * block;
}

/// Copies a tight plan into one whose experts start at multiples of the block.
/// @param plan           a tight plan (plan_into), in other memory than `aligned`
/// @param aligned        out; aligned.order [aligned_slots(...)] or more, fillers and the tail are no_slot
/// @param block_experts  out, [aligned.order.size() / block] expert of each block, no_expert past the end; may be empty
/// With slots_per_expert below an expert's kept pairs the last of them lose their slot (aligned.kept says so).
/// Cost: O(T K + slots + blocks log E); four launches. Allocates nothing, reads nothing back.
/// @throws ShapeError
template <execution Exec>
void align_into(Exec const& exec, Alignment alignment, PlanView<typename Exec::memory> plan,
                PlanTarget<typename Exec::memory> aligned,
                VectorView<ExpertId, typename Exec::memory> block_experts = {}) {
  using namespace detail;
  Index const experts = plan.experts(), pairs = plan.tokens() * plan.top_k();
  require_at_least("experts of a plan", 1, experts);
  require_plan_shape(aligned, plan.tokens(), plan.top_k(), experts);
  require_at_least("size of the aligned plan.order", aligned_slots(alignment, pairs, experts), aligned.order.size());
  Index const blocks = (aligned.order.size() + alignment.block - 1) / alignment.block;
  if (!block_experts.empty()) require_equal("size of block_experts [order / block]", blocks, block_experts.size());

  auto const slot_of = Flat<Index>::of(aligned.slot_of);
  exec.for_each(experts + 1, AlignedSize{alignment, experts, plan.kept.data(), aligned.offsets.data(),
                                         aligned.kept.data(), plan.loads.data(), aligned.loads.data()});
  exec.exclusive_scan(aligned.offsets);
  exec.for_each(pairs, ClearPair{slot_of});
  exec.for_each(blocks, FillBlock<typename Exec::memory>{alignment.block, experts, plan, aligned.offsets.data(),
                                                         aligned.order.data(), aligned.order.size(), slot_of,
                                                         block_experts.data()});
}

} // namespace moebal
