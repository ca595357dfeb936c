// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A plan from ranks that the router counted: the slot of a pair is its expert's first slot plus its rank. On a host.

#include "../backend/pair_slots.hpp"
#include "../core/routing.hpp"
#include "counting_sort.hpp"
#include "plan.hpp"

namespace moebal::detail {

/// Places the pairs of a run of tokens.
struct PlaceRanked {
  Cut tokens;
  MatrixView<ExpertId const> ids;
  MatrixView<std::int32_t const> ranks;
  MatrixView<Index> slot_of;
  PairSlots to;

  void operator()(Index c) const {
    Index const first = tokens.first(c), last = tokens.first(c + 1), top_k = ids.cols();
    if (ids.row_stride() == top_k && ranks.row_stride() == top_k && slot_of.row_stride() == top_k)
      return to.place(first * top_k, (last - first) * top_k, ids.row(first), ranks.row(first), slot_of.row(first));
    for (Index t = first; t < last; ++t) to.place(t * top_k, top_k, ids.row(t), ranks.row(t), slot_of.row(t));
  }
};

/// The tight plan of pairs whose ranks and loads are known, at most `limit` for each expert: the first ones. Ids and ranks
/// that no router wrote stay inside the buffers. Cost: one pass over ids and ranks; one launch.
template <class Exec>
void place_ranked(Exec const& exec, Index limit, MatrixView<ExpertId const> ids, MatrixView<std::int32_t const> ranks,
                  VectorView<Index const> loads, PlanTarget<> plan) {
  Index const experts = loads.size();
  Index slots = 0; // one loop: less than the launches that it would take
  for (Index e = 0; e < experts; ++e) {
    Index const chose = loads[e], kept = chose < limit ? chose : limit;
    plan.loads[e] = chose;
    plan.kept[e] = kept;
    plan.offsets[e] = slots;
    slots += kept;
  }
  plan.offsets[experts] = slots;
  require_within("sum of loads [E] of a routing with ranks", 0, plan.order.size(), slots);
  Cut const tokens{ids.rows(), sort_chunks(exec, ids.rows() * ids.cols())};
  exec.for_each(tokens.chunks, PlaceRanked{tokens, ids, ranks, plan.slot_of,
                                           {plan.offsets.data(), experts, limit, plan.order.data()}});
}

} // namespace moebal::detail
