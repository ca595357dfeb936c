// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The moves of a dispatcher: rows over the planned hops, there and back, slice by slice.

#include "../core/communication.hpp"
#include "hops.hpp"

#include <utility>
#include <vector>

namespace moebal::detail {

/// Whether the rows that arrive may hold fillers, which are left behind.
enum class Fillers { None, Some };

/// Memory between the hops, and what is under way in it.
template <communicator Comm> class RowsUnderWay {
public:
  /// Before the first start of a move; nothing is under way.
  void prepare(Index rows, Index row_bytes, std::size_t slices) {
    row_bytes_ = row_bytes;
    memory_.reserve(std::size_t(rows * row_bytes));
    requests_.clear();
    requests_.reserve(slices);
  }
  ByteRows rows(Index first, Index count) {
    return {WorkspaceView<>(memory_).take<std::byte>(0) + first * row_bytes_, count, row_bytes_};
  }
  void add(typename Comm::Request request) { requests_.push_back(std::move(request)); }
  void wait(Index i) { requests_[std::size_t(i)].wait(); }

private:
  Workspace memory_;
  Index row_bytes_ = 0;
  std::vector<typename Comm::Request> requests_;
};

template <communicator Comm, dispatch_path Path, Fillers fillers> class RowExchange {
  static constexpr int last = Path::hops - 1;

public:
  RowExchange(HopPlanner<Path> planner, Index slices) : planner_(std::move(planner)), slices_(std::size_t(slices)) {}

  /// See HopPlanner::plan.
  /// @param offsets  [experts of this rank + 1] out
  template <class Sizes>
  void plan(ExpertOrder const& order, Index rank, Sizes const& sizes, VectorView<Index> offsets) {
    Index sent = 0, received = 0, first_expert = 0;
    staged_ = 0;
    for (std::size_t s = 0; s < slices_.size(); ++s) {
      Slice& slice = slices_[s];
      Index const experts = order.columns(rank, Index(s)).size();
      planner_.plan(order, Index(s), sizes, received, slice.hops, offsets.part(first_expert, experts + 1));
      if (fillers == Fillers::Some) slice.hops[last].in_place = false;
      slice.sent = {sent, slice.hops[0].sent};
      slice.received = {received, offsets[first_expert + experts] - received};
      sent += slice.sent.count;
      received += slice.received.count;
      first_expert += experts;
      for (int h = 0; h <= last; ++h) {
        Hop const& hop = slice.hops[std::size_t(h)];
        slice.arriving[std::size_t(h)] = staged(hop.in_place ? 0 : hop.arrived);
        slice.leaving[std::size_t(h)] = staged(h == last ? 0 : hop.arrived);
      }
    }
  }

  void prepare_there(Index row_bytes) { there_.prepare(staged_, row_bytes, slices_.size()); }
  void start_there(Comm const& comm, Index s, ConstByteRows slots, ByteRows received) {
    Slice const& slice = at(s);
    Hop const& hop = slice.hops[0];
    there_.add(comm.start_all_to_all_v(part(slots, slice.sent), hop.send, arrival(slice, 0, received), hop.receive));
  }
  template <class Exec> void finish_there(Exec const& exec, Comm const& comm, Index s, ByteRows received) {
    Slice const& slice = at(s);
    there_.wait(s);
    if (!slice.hops[0].in_place)
      move_runs(exec, slice.hops[0].runs, arrival(slice, 0, received), ordered(slice, 0, received));
    continue_there(exec, comm, s, received);
  }
  /// The hops after the first.
  template <class Exec> void continue_there(Exec const& exec, Comm const& comm, Index s, ByteRows received) {
    Slice const& slice = at(s);
    for (int h = 1; h <= last; ++h) {
      Hop const& hop = slice.hops[std::size_t(h)];
      ByteRows const arrived = arrival(slice, h, received);
      comm.all_to_all_v(ordered(slice, h - 1, received), hop.send, arrived, hop.receive);
      if (!hop.in_place) move_runs(exec, hop.runs, arrived, ordered(slice, h, received));
    }
  }
  Hop const& first_hop(Index s) const { return at(s).hops[0]; }
  Index first_slot(Index s) const { return at(s).sent.first; }
  /// Where the rows of the first hop are to lie in the order of the next.
  ByteRows after_first_hop(Index s, ByteRows received) { return ordered(at(s), 0, received); }

  void prepare_back(Index row_bytes) { back_.prepare(staged_, row_bytes, slices_.size()); }
  /// The last hop is under way when this returns.
  template <class Exec>
  void start_back(Exec const& exec, Comm const& comm, Index s, ConstByteRows outputs, ByteRows slots) {
    Slice const& slice = at(s);
    for (int h = last; h >= 0; --h) {
      Hop const& hop = slice.hops[std::size_t(h)];
      ConstByteRows leaving =
          h == last ? part(outputs, slice.received) : ConstByteRows(rows(back_, slice.leaving[std::size_t(h)]));
      if (!hop.in_place) {
        ByteRows const unsorted = rows(back_, slice.arriving[std::size_t(h)]);
        move_runs_back(exec, hop.runs, leaving, unsorted);
        leaving = unsorted;
      }
      if (h > 0)
        comm.all_to_all_v(leaving, hop.receive, rows(back_, slice.leaving[std::size_t(h - 1)]), hop.send);
      else
        back_.add(comm.start_all_to_all_v(leaving, hop.receive, part(slots, slice.sent), hop.send));
    }
  }
  void finish_back(Index s) { back_.wait(s); }

private:
  struct Rows {
    Index first = 0, count = 0;
  };
  struct Slice {
    typename HopPlanner<Path>::Hops hops;
    Rows sent, received; // of all slots, of all rows received
    std::array<Rows, std::size_t(Path::hops)> arriving,
        leaving; // staged: as they arrive, and as the next hop sends them
  };

  Slice const& at(Index s) const { return slices_[std::size_t(s)]; }
  Rows staged(Index count) { return {std::exchange(staged_, staged_ + count), count}; }
  static ByteRows rows(RowsUnderWay<Comm>& memory, Rows which) { return memory.rows(which.first, which.count); }
  template <class B> static MatrixView<B> part(MatrixView<B> all, Rows which) {
    return {all.row(which.first), which.count, all.cols(), all.row_stride()};
  }
  ByteRows ordered(Slice const& slice, int h, ByteRows received) {
    return h == last ? part(received, slice.received) : rows(there_, slice.leaving[std::size_t(h)]);
  }
  ByteRows arrival(Slice const& slice, int h, ByteRows received) {
    return slice.hops[std::size_t(h)].in_place ? ordered(slice, h, received)
                                               : rows(there_, slice.arriving[std::size_t(h)]);
  }

  HopPlanner<Path> planner_;
  std::vector<Slice> slices_;
  Index staged_ = 0; // rows
  RowsUnderWay<Comm> there_, back_;
};

} // namespace moebal::detail
