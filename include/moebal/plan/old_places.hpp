// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A new placement in the places of an old one: what a rank holds already is not to be sent.

#include "../core/ids.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace moebal::detail {

/// How many copies of each expert each rank holds: [R, E].
class Held {
public:
  Held(ExpertId const* expert_of, Index slots, Index experts, Index ranks)
      : experts_(experts), table_(std::size_t(ranks * experts), 0) {
    for (Index p = 0; p < slots; ++p) ++at(p / (slots / ranks), expert_of[p]);
  }
  Index& at(Index rank, Index e) { return table_[std::size_t(rank * experts_ + e)]; }
  Index at(Index rank, Index e) const { return table_[std::size_t(rank * experts_ + e)]; }
  /// Copies that are here and not there.
  Index beyond(Held const& other) const {
    Index n = 0;
    for (std::size_t i = 0; i < table_.size(); ++i) n += std::max<Index>(table_[i] - other.table_[i], 0);
    return n;
  }
  /// Copies that two rows have in common.
  Index common(Index rank, Held const& other, Index other_rank) const {
    Index n = 0;
    for (Index e = 0; e < experts_; ++e) n += std::min(at(rank, e), other.at(other_rank, e));
    return n;
  }

private:
  Index experts_;
  std::vector<Index> table_;
};

/// Pairs rows with columns of [n, n], those that have most in common first; equal: the lower row, then the lower
/// column.
template <class Common> std::vector<Index> most_in_common(Index n, Common const& common) {
  std::vector<std::pair<Index, Index>> order; // (-common, row * n + column)
  for (Index i = 0; i < n * n; ++i) order.emplace_back(-common(i / n, i % n), i);
  std::sort(order.begin(), order.end());
  std::vector<Index> column_of(std::size_t(n), -1);
  std::vector<bool> taken(std::size_t(n), false);
  for (auto const& [_, i] : order)
    if (column_of[std::size_t(i / n)] < 0 && !taken[std::size_t(i % n)]) {
      column_of[std::size_t(i / n)] = i % n;
      taken[std::size_t(i % n)] = true;
    }
  return column_of;
}

/// The placement `next` [P] with its nodes, and its ranks within nodes, named after those of the old one that they
/// resemble.
inline std::vector<ExpertId> renumbered(ExpertId const* next, std::vector<ExpertId> const& old, Index experts,
                                        Index ranks, Index nodes) {
  Index const slots = Index(old.size()), each = slots / ranks, per_node = ranks / nodes;
  Held const next_nodes(next, slots, experts, nodes), old_nodes(old.data(), slots, experts, nodes);
  Held const next_ranks(next, slots, experts, ranks), old_ranks(old.data(), slots, experts, ranks);
  std::vector<ExpertId> result(old.size(), no_expert);
  auto const node = most_in_common(nodes, [&](Index n, Index o) { return next_nodes.common(n, old_nodes, o); });
  for (Index n = 0; n < nodes; ++n) {
    Index const from = n * per_node, to = node[std::size_t(n)] * per_node;
    auto const rank =
        most_in_common(per_node, [&](Index r, Index o) { return next_ranks.common(from + r, old_ranks, to + o); });
    for (Index r = 0; r < per_node; ++r)
      std::copy_n(next + (from + r) * each, each, result.begin() + (to + rank[std::size_t(r)]) * each);
  }
  return result;
}

/// The same ranks: what stays on its rank goes back to its old slot, the rest fills the gaps in order.
inline std::vector<ExpertId> in_old_slots(std::vector<ExpertId> const& placed, std::vector<ExpertId> const& old,
                                          Index ranks) {
  Index const each = Index(old.size()) / ranks;
  std::vector<ExpertId> result(old.size(), no_expert);
  for (Index r = 0; r < ranks; ++r) {
    std::vector<ExpertId> here(placed.begin() + r * each, placed.begin() + (r + 1) * each);
    for (Index p = r * each; p < (r + 1) * each; ++p)
      if (auto const at = std::find(here.begin(), here.end(), old[std::size_t(p)]); at != here.end()) {
        result[std::size_t(p)] = *at;
        here.erase(at);
      }
    auto next = here.begin();
    for (Index p = r * each; p < (r + 1) * each; ++p)
      if (result[std::size_t(p)] < 0) result[std::size_t(p)] = *next++;
  }
  return result;
}

} // namespace moebal::detail
