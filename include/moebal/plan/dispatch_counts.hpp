// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How ranks come to know how many rows they get from each other.

#include "../core/communication.hpp"
#include "../core/errors.hpp"
#include "capacity.hpp"
#include "dispatch_path.hpp"
#include "expert_order.hpp"

#include <vector>

namespace moebal {

/// As many rows as there are pairs. One collective before the rows: an all_to_all_v of E counts (8 bytes each), or on a
/// path of two hops an all_gather of them.
struct ExactCounts {};

/// The same number of rows from each rank for each expert, whatever was routed, so that nothing is waited for before
/// the rows are sent: GShard and Switch (arXiv 2006.16668, 2101.03961). Rows that hold no token are sent but neither
/// computed nor handed out; how many hold one travels beside the rows. All ranks name the same number:
///   FixedCapacity{.slots = capacities::gshard(1.25).slots({T, K, E})}
struct FixedCapacity {
  Index slots = 0; // of one expert, for the pairs of one rank
};

/// The capacity of an expert is that of all ranks' tokens, and all their pairs compete for it: those of lower ranks
/// first, or first choices first, as DropByPosition says. Kept is what one rank with the whole batch would keep, so
/// tokens that chose an expert less on one rank leave room for those of another (MiniMax-01, arXiv 2501.08313). Sizes
/// are exact. One collective before the rows: an all_gather of E counts (K E for ChoiceOrder::FirstBeforeSecond) and T.
struct GroupCapacity {
  Capacity capacity{};
};

template <class C>
concept dispatch_counts =
    std::same_as<C, ExactCounts> || std::same_as<C, FixedCapacity> || std::same_as<C, GroupCapacity>;

namespace detail {

/// Which counts a rank learns: of the rows that come to it, or all, as ranks need that pass rows on.
enum class CountsOf { Arriving, Everybody };

/// The rows that each rank has for each expert, by column (plan/expert_order.hpp): all of them, or those that start or
/// end at this rank.
class CountTable {
public:
  CountTable(ExpertOrder const& order, Index ranks, Index rank)
      : ranks_(ranks), rank_(rank), here_(order.columns(rank)), mine_(std::size_t(order.experts())) {
    for (Index r = 0; r < ranks; ++r) {
      sent_.push_back(order.columns(r).size());
      received_.push_back(here_.size());
    }
  }

  /// What this rank has for each expert.
  void count(ExpertOrder const& order, Plan const& plan) {
    for (Index c = 0; c < order.experts(); ++c) mine_[std::size_t(c)] = plan.kept()[order.place(c)];
  }
  Index operator()(Index q, Index column) const {
    if (q == rank_) return mine_[std::size_t(column)];
    if (has_all_) return table_[std::size_t(q * Index(mine_.size()) + column)];
    return table_[std::size_t(q * here_.size() + column - here_.first)];
  }

  /// Each rank learns what it gets, or everything.
  template <communicator Comm> typename Comm::Request start(Comm const& comm, CountsOf whose) {
    has_all_ = whose == CountsOf::Everybody;
    if (has_all_) {
      table_.resize(std::size_t(ranks_) * mine_.size());
      return comm.start_all_gather(VectorView<Index const>(mine_), VectorView<Index>(table_));
    }
    table_.resize(std::size_t(ranks_ * here_.size()));
    return comm.start_all_to_all_v(MatrixView<Index const>(mine_.data(), Index(mine_.size()), 1), sent_,
                                   MatrixView<Index>(table_.data(), Index(table_.size()), 1), received_);
  }

private:
  Index ranks_, rank_;
  ExpertOrder::Range here_;
  std::vector<Index> mine_;            // [E]
  std::vector<Index> table_;           // [R, E] or [R, experts of this rank]
  std::vector<Index> sent_, received_; // [R] counts
  bool has_all_ = false;
};

} // namespace detail
} // namespace moebal
