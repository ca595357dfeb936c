// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Who sends how many rows to whom: of a routing, before anything is sent. Host memory.

#include "dispatch_path.hpp"
#include "validate.hpp"

#include <string>
#include <vector>

namespace moebal {

/// What counts as a row.
enum class TrafficRows {
  Pairs,  // each (token, choice) pair: gather and Dispatcher::send
  Tokens, // on the first hop a token once for each stop, then each pair: Dispatcher::send_tokens
};

/// Rows, or bytes, by the way that they go.
struct TrafficSums {
  std::int64_t inside_rank = 0; // a copy
  std::int64_t inside_node = 0; // between two ranks of a node
  std::int64_t between_nodes = 0;

  std::int64_t total() const { return inside_rank + inside_node + between_nodes; }
  friend TrafficSums operator*(TrafficSums rows, Index row_bytes) {
    return {rows.inside_rank * row_bytes, rows.inside_node * row_bytes, rows.between_nodes * row_bytes};
  }
  friend bool operator==(TrafficSums const&, TrafficSums const&) = default;
};

/// A matrix rank x rank of the rows that routings send one way; back it is the transpose, with TrafficRows::Pairs. On a
/// path of two hops a row counts once for each hop, from the rank that it leaves to the rank that it reaches.
class Traffic {
public:
  explicit Traffic(Topology topology)
      : topology_(std::move(topology)), nodes_(topology_), rows_(std::size_t(topology_.ranks() * topology_.ranks()), 0),
        seen_(std::size_t(topology_.ranks()), -1) {}

  Topology const& topology() const { return topology_; }

  /// Adds the pairs of tokens that lie on `rank`. O(T K).
  /// @param ids  [T, K] distinct ids in [0, E) or no_expert
  /// @throws ShapeError naming token and id
  template <dispatch_path Path = path::Flat>
  void add(Index rank, MatrixView<ExpertId const> ids, Path path = {}, TrafficRows what = TrafficRows::Pairs) {
    add_if(rank, ids, path, what, [](Index, Index) { return true; });
  }
  /// Those of them that the plan keeps.
  template <dispatch_path Path = path::Flat>
  void add(Index rank, PlanView<> plan, MatrixView<ExpertId const> ids, Path path = {},
           TrafficRows what = TrafficRows::Pairs) {
    require_equal("rows of ids [T, K] beside a plan", plan.tokens(), ids.rows());
    require_equal("columns of ids [T, K] beside a plan", plan.top_k(), ids.cols());
    add_if(rank, ids, path, what, [&](Index t, Index k) { return plan.slot_of(t, k) != no_slot; });
  }
  /// Each rank ends with the sum over all. One all-reduce of R R integers; collective.
  template <communicator Comm> void all_reduce_sum(Comm const& comm) {
    require_equal("ranks of a traffic matrix (as of its communicator)", comm.size(), topology_.ranks());
    comm.all_reduce_sum(rows_);
  }
  void clear() { rows_.assign(rows_.size(), 0); }

  /// [R, R] from the rank of the row to the rank of the column.
  MatrixView<std::int64_t const> rows() const { return {rows_.data(), topology_.ranks(), topology_.ranks()}; }
  /// Sums of rows; times the bytes of a row: bytes.
  TrafficSums sums() const {
    TrafficSums sums;
    for (Index from = 0; from < topology_.ranks(); ++from)
      for (Index to = 0; to < topology_.ranks(); ++to)
        (from == to                                   ? sums.inside_rank
         : nodes_.node_of(from) == nodes_.node_of(to) ? sums.inside_node
                                                      : sums.between_nodes) += rows()(from, to);
    return sums;
  }

private:
  template <dispatch_path Path, class Keep>
  void add_if(Index rank, MatrixView<ExpertId const> ids, Path, TrafficRows what, Keep const& keep) {
    require_within("rank of the tokens of a traffic matrix", 0, topology_.ranks() - 1, rank);
    validate_ids(ids, topology_.experts());
    seen_.assign(seen_.size(), -1);
    for (Index t = 0; t < ids.rows(); ++t)
      for (Index k = 0; k < ids.cols(); ++k) {
        if (ids(t, k) == no_expert || !keep(t, k)) continue;
        Index const to = topology_.rank_of(ids(t, k)), stop = Path::relay(nodes_, rank, to);
        Index& last = seen_[std::size_t(stop)]; // token that had a row for it
        if (what == TrafficRows::Pairs || last != t) ++at(rank, stop);
        last = t;
        if constexpr (Path::hops > 1) ++at(stop, to);
      }
  }
  std::int64_t& at(Index from, Index to) { return rows_[std::size_t(from * topology_.ranks() + to)]; }

  Topology topology_;
  NodeRanks nodes_;
  std::vector<std::int64_t> rows_; // [R, R]
  std::vector<Index> seen_;        // [R]
};

} // namespace moebal
