// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Who keeps a slot where the pairs of all ranks compete for one capacity: as one rank with the whole batch would
// decide, from counts alone.

#include "../core/communication.hpp"
#include "capacity.hpp"
#include "drop.hpp"

#include <algorithm>
#include <vector>

namespace moebal::detail {

/// Runs of pairs whose order among ranks is that of the ranks: one, or one for each choice.
template <class Drop> struct OrderAcrossRanks { static constexpr bool known = false; };
template <> struct OrderAcrossRanks<DropNone> {
  static constexpr bool known = true;
  static Index runs(Index) { return 1; }
};
template <ChoiceOrder order> struct OrderAcrossRanks<DropByPosition<order>> {
  static constexpr bool known = true;
  static Index runs(Index top_k) { return order == ChoiceOrder::Equal ? 1 : top_k; }
};

class Competition {
public:
  /// Learns how many pairs of each rank chose each expert. Collective: one all_gather of runs * E + 1 integers.
  template <communicator Comm, class Drop>
  void gather(Comm const& comm, Drop, MatrixView<ExpertId const> ids, Index experts) {
    static_assert(OrderAcrossRanks<Drop>::known, "moebal: a GroupCapacity is decided from counts: drop by position "
                                                 "(DropByPosition), for weights are not compared across ranks");
    ranks_ = comm.size();
    experts_ = experts;
    top_k_ = ids.cols();
    runs_ = OrderAcrossRanks<Drop>::runs(top_k_);
    limited_ = Drop::limited;
    mine_.assign(std::size_t(runs_ * experts + 1), 0);
    for (Index t = 0; t < ids.rows(); ++t)
      for (Index k = 0; k < top_k_; ++k)
        if (ids(t, k) >= 0 && ids(t, k) < experts) ++mine_[std::size_t((runs_ > 1 ? k : 0) * experts + ids(t, k))];
    mine_.back() = ids.rows();
    all_.resize(std::size_t(ranks_) * mine_.size());
    comm.all_gather(VectorView<Index const>(mine_), VectorView<Index>(all_));
  }
  /// Runs in order, ranks in order inside a run: each takes what is left.
  void decide(Capacity const& capacity) {
    kept_.assign(std::size_t(ranks_ * experts_), 0);
    Index tokens = 0, largest = 0;
    for (Index q = 0; q < ranks_; ++q) tokens += at(q, runs_ * experts_);
    for (Index e = 0; e < experts_; ++e) {
      Index load = 0;
      for (Index i = 0; i < runs_ * ranks_; ++i) load += at(i % ranks_, i / ranks_ * experts_ + e);
      largest = std::max(largest, load);
    }
    Index const slots = limited_ ? capacity.slots({.tokens = tokens, .top_k = top_k_, .experts = experts_}, largest)
                                 : Capacity::unlimited;
    for (Index e = 0; e < experts_; ++e) {
      Index left = slots;
      for (Index i = 0; i < runs_ * ranks_; ++i) {
        Index const taken = std::min(left, at(i % ranks_, i / ranks_ * experts_ + e));
        kept_[std::size_t(i % ranks_ * experts_ + e)] += taken;
        left -= taken;
      }
    }
  }
  /// Pairs of a rank that an expert keeps: the first ones in the order of the drop policy.
  Index kept(Index rank, Index expert) const { return kept_[std::size_t(rank * experts_ + expert)]; }

private:
  Index at(Index rank, Index i) const { return all_[std::size_t(rank * (runs_ * experts_ + 1) + i)]; }

  Index ranks_ = 0, experts_ = 0, top_k_ = 0, runs_ = 1;
  bool limited_ = true;
  std::vector<Index> mine_, all_, kept_; // [runs E + 1], [R, runs E + 1], [R, E]
};

} // namespace moebal::detail
