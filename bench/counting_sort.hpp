// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "ours.hpp"

#include <vector>

namespace bench {

/// Stable grouping by expert: count, scan, scatter.
struct CountingSort {
  explicit CountingSort(Model const& m) : experts(m.experts) {}
  void operator()(ExpertId const* ids, Index pairs) {
    offsets.assign(std::size_t(experts) + 1, 0);
    order.resize(std::size_t(pairs));
    slot_of.resize(std::size_t(pairs));
    for (Index i = 0; i < pairs; ++i) ++offsets[std::size_t(ids[i]) + 1];
    for (Index e = 0; e < experts; ++e) offsets[std::size_t(e) + 1] += offsets[std::size_t(e)];
    next.assign(offsets.begin(), offsets.end() - 1);
    for (Index i = 0; i < pairs; ++i) {
      Index const slot = next[std::size_t(ids[i])]++;
      order[std::size_t(slot)] = i;
      slot_of[std::size_t(i)] = slot;
    }
  }
  Index experts;
  std::vector<Index> offsets, order, slot_of, next;
};

/// The work of sorting the ids that ours has routed.
inline auto sorted_ids(Model const& m) {
  return [sort = CountingSort(m)](Ours& o, Index first) mutable {
    sort(o.routing.expert_ids().row(first), o.tokens * o.model.top_k);
  };
}

} // namespace bench
