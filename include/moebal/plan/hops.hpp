// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Who sends how many rows to whom, and where they lie afterwards: all that an exchange needs, from a table of counts.

#include "expert_order.hpp"
#include "row_runs.hpp"

#include <array>

namespace moebal::detail {

/// One exchange, and the order that its rows are brought into afterwards: that of the next hop, or of the experts.
struct Hop {
  std::vector<Index> send, receive; // [R] rows to and from each rank
  Index sent = 0, arrived = 0;      // their sums
  std::vector<RowRun> runs;
  bool in_place = false;

  void clear(Index ranks) {
    send.assign(std::size_t(ranks), 0);
    receive.assign(std::size_t(ranks), 0);
    sent = arrived = 0;
  }
  void add_sent(Index to, Index rows) { send[std::size_t(to)] += rows, sent += rows; }
  void add_received(Index from, Index rows) { receive[std::size_t(from)] += rows, arrived += rows; }
};

/// Plans the hops of one rank. Rows arrive sorted by the rank that they come from, inside that by the rank that they
/// started from (then, at a relay, by the rank that they go to), then by expert, then by token.
template <dispatch_path Path> class HopPlanner {
public:
  static constexpr int hops = Path::hops;
  using Hops = std::array<Hop, std::size_t(hops)>;

  HopPlanner(Topology const& topology, NodeRanks const& nodes, Index rank) : ranks_(topology.ranks()), rank_(rank) {
    for (Index q = 0; q < ranks_; ++q) {
      first_to_.push_back(Path::relay(nodes, rank, q));
      last_from_.push_back(hops == 1 ? q : Path::relay(nodes, q, rank));
      arriving_.push_back(q);
      if constexpr (hops > 1)
        for (Index d = 0; d < ranks_; ++d)
          if (Path::relay(nodes, q, d) == rank) relayed_.push_back({q, d});
    }
    std::stable_sort(arriving_.begin(), arriving_.end(),
                     [&](Index a, Index b) { return last_from_[std::size_t(a)] < last_from_[std::size_t(b)]; });
    for (std::size_t i = 0; i < relayed_.size(); ++i) by_destination_.push_back(i);
    std::stable_sort(by_destination_.begin(), by_destination_.end(),
                     [&](std::size_t a, std::size_t b) { return relayed_[a].to < relayed_[b].to; });
  }

  /// @param sizes    room(q, c), rows that rank q sends to the expert of column c, for what this rank sends, passes on
  ///                 and receives; and kept(q, c), those of them that are no fillers, for what it receives
  /// @param offsets  [experts of this rank in the slice + 1] out: first row of each expert, from `first` on
  template <class Sizes>
  void plan(ExpertOrder const& order, Index slice, Sizes const& sizes, Index first, Hops& plan,
            VectorView<Index> offsets) const {
    for (Hop& hop : plan) hop.clear(ranks_);
    for (Index d = 0; d < ranks_; ++d) plan.front().add_sent(to(d), sum(order, slice, sizes, rank_, d));
    if constexpr (hops > 1) plan_relay(order, slice, sizes, plan);
    plan_arrival(order, slice, sizes, first, plan.back(), offsets);
    for (Hop& hop : plan) hop.in_place = stay_in_place(hop.runs);
  }

private:
  struct Pair {
    Index from, to;
  };
  Index to(Index d) const { return first_to_[std::size_t(d)]; }

  template <class Sizes>
  static Index sum(ExpertOrder const& order, Index slice, Sizes const& sizes, Index from, Index to) {
    Index rows = 0;
    auto const columns = order.columns(to, slice);
    for (Index c = columns.first; c < columns.end; ++c) rows += sizes.room(from, c);
    return rows;
  }
  // From (source, destination) to (destination, source).
  template <class Sizes> void plan_relay(ExpertOrder const& order, Index slice, Sizes const& sizes, Hops& plan) const {
    Hop &in = plan.front(), &out = plan.back();
    in.runs.resize(relayed_.size());
    for (std::size_t i = 0; i < relayed_.size(); ++i) {
      Index const rows = sum(order, slice, sizes, relayed_[i].from, relayed_[i].to);
      in.runs[i] = {.from = in.arrived, .to = 0, .rows = rows, .room = rows};
      in.add_received(relayed_[i].from, rows);
    }
    for (std::size_t const i : by_destination_) {
      in.runs[i].to = out.sent;
      out.add_sent(relayed_[i].to, in.runs[i].rows);
    }
  }
  // From (source, expert) to (expert, source).
  template <class Sizes>
  void plan_arrival(ExpertOrder const& order, Index slice, Sizes const& sizes, Index first, Hop& last,
                    VectorView<Index> offsets) const {
    auto const columns = order.columns(rank_, slice);
    Index const experts = columns.size();
    last.runs.resize(std::size_t(ranks_ * experts)); // by expert, then by source
    auto const run = [&](Index q, Index e) -> RowRun& { return last.runs[std::size_t(e * ranks_ + q)]; };
    for (Index const q : arriving_)
      for (Index e = 0; e < experts; ++e) {
        Index const rows = sizes.room(q, columns.first + e);
        run(q, e) = {.from = last.arrived, .to = 0, .rows = sizes.kept(q, columns.first + e), .room = rows};
        last.add_received(last_from_[std::size_t(q)], rows);
      }
    Index next = 0;
    for (Index e = 0; e < experts; ++e) {
      offsets[e] = first + next;
      for (Index q = 0; q < ranks_; ++q) {
        run(q, e).to = next;
        next += run(q, e).rows;
      }
    }
    offsets[experts] = first + next;
  }

  Index ranks_, rank_;
  std::vector<Index> first_to_;             // [R] first stop on the way to a rank
  std::vector<Index> last_from_;            // [R] last stop on the way from a rank
  std::vector<Index> arriving_;             // [R] sources in the order in which their rows arrive
  std::vector<Pair> relayed_;               // whose rows pass through here, by source
  std::vector<std::size_t> by_destination_; // the same, by destination
};

} // namespace moebal::detail
