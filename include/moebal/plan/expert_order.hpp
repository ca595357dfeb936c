// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The order of the experts in the plan of a rank that sends: by slice, then by the rank that its rows go to first, then
// by the rank that holds the expert. What leaves together then lies together, and no row is packed for sending.

#include "../core/topology.hpp"
#include "dispatch_path.hpp"
#include "group.hpp"

#include <algorithm>
#include <tuple>
#include <vector>

namespace moebal::detail {

/// Experts in three numberings: their ids; columns, by rank and then by id; places, in the order above.
class ExpertOrder {
public:
  struct Range {
    Index first = 0, end = 0;
    Index size() const { return end - first; }
  };

  template <dispatch_path Path>
  ExpertOrder(Path, Topology const& topology, NodeRanks const& nodes, Index rank, Index slices)
      : slices_(slices), first_(1) {
    Index const ranks = topology.ranks(), experts = topology.experts();
    for (Index r = 0; r < ranks; ++r) {
      auto const here = topology.experts_of(r);
      expert_.insert(expert_.end(), here.begin(), here.end());
      first_.push_back(Index(expert_.size()));
    }
    std::vector<Index> order(static_cast<std::size_t>(ranks));
    for (Index r = 0; r < ranks; ++r) order[std::size_t(r)] = r;
    std::sort(order.begin(), order.end(), [&](Index a, Index b) {
      return std::tuple(Path::relay(nodes, rank, a), a) < std::tuple(Path::relay(nodes, rank, b), b);
    });
    place_.resize(std::size_t(experts));
    map_.resize(std::size_t(experts));
    Index next = 0;
    for (Index s = 0; s < slices; ++s)
      for (Index const r : order)
        for (Index c = columns(r, s).first; c < columns(r, s).end; ++c) {
          place_[std::size_t(c)] = next;
          map_[std::size_t(expert(c))] = ExpertId(next++);
        }
    in_order_ = std::is_sorted(map_.begin(), map_.end());
  }

  Index slices() const { return slices_; }
  Index experts() const { return Index(place_.size()); }
  /// Columns of the experts of a rank; of those in slice s.
  Range columns(Index rank) const { return {first_[std::size_t(rank)], first_[std::size_t(rank) + 1]}; }
  Range columns(Index rank, Index s) const {
    Range const all = columns(rank);
    return {all.first + all.size() * s / slices_, all.first + all.size() * (s + 1) / slices_};
  }
  ExpertId expert(Index column) const { return expert_[std::size_t(column)]; }
  Index place(Index column) const { return place_[std::size_t(column)]; }
  Index place_of(ExpertId expert) const { return map_[std::size_t(expert)]; }
  /// The place of each expert id, for plan_into; empty where places are ids.
  ExpertMap<> map() const { return in_order_ ? ExpertMap<>{} : ExpertMap<>{map_, experts()}; }

private:
  Index slices_;
  std::vector<Index> first_;     // [R + 1] first column of each rank
  std::vector<ExpertId> expert_; // [E] of each column
  std::vector<Index> place_;     // [E] of each column
  std::vector<ExpertId> map_;    // [E] place of each id
  bool in_order_ = true;
};

} // namespace moebal::detail
