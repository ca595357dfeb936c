// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How long ranks talk: latency and bandwidth by level (inside a rank, inside a node, between nodes), from a traffic
// matrix and a topology. Plain arithmetic on the host: nothing is sent.

#include "../core/errors.hpp"
#include "../core/ids.hpp"
#include "../core/topology.hpp"
#include "../core/views.hpp"
#include "dispatch_path.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace moebal::cost {

/// A way from one rank to another. Messages that are under way together wait for the latency together; each of them
/// and each byte takes its turn (LogGP: A. Alexandrov, M. Ionescu, K. Schauser, C. Scheiman, SPAA 1995; their L, o, 1 / G).
struct Link {
  double latency = 0;                                         // seconds until the first byte is there
  double message = 0;                                         // seconds of work for each message
  double bandwidth = std::numeric_limits<double>::infinity(); // bytes a second, each direction
  double busy(double messages, double bytes) const { return messages * message + bytes / bandwidth; }
  /// One message by itself.
  double seconds(double bytes) const { return latency + busy(1, bytes); }
};

/// Who has a way out of a node.
enum class Uplink {
  OfRank, // each rank its own: a network port a device
  OfNode, // the ranks of a node share one
};
/// What the levels of one rank do while an exchange runs.
enum class Levels {
  Together, // each has an engine of its own; the slowest counts
  InTurn,   // one processor moves all bytes: work adds up, of both directions too (a link's time of a message or byte
            // is then for one each way); latencies pass together
};

/// The machine as a network.
struct Network {
  Link rank{};    // memory of a rank to itself
  Link node{};    // between two ranks of a node
  Link between{}; // between two nodes
  Uplink uplink = Uplink::OfRank;
  Levels levels = Levels::Together;
};

namespace detail {

inline void check(Link const& link, std::string const& place) {
  if (!(link.latency >= 0 && link.latency < std::numeric_limits<double>::infinity()))
    moebal::detail::refuse<ShapeError>("latency " + place, "a finite number of seconds of at least 0",
                                       std::to_string(link.latency));
  if (!(link.message >= 0))
    moebal::detail::refuse<ShapeError>("time of a message " + place, "at least 0 seconds", std::to_string(link.message));
  if (!(link.bandwidth > 0))
    moebal::detail::refuse<ShapeError>("bandwidth " + place, "more than 0 bytes a second",
                                       std::to_string(link.bandwidth));
}
inline void check(Network const& network) {
  check(network.rank, "inside a rank");
  check(network.node, "inside a node");
  check(network.between, "between nodes");
}

/// What a rank has to do at one level.
struct Work {
  double messages_out = 0, messages_in = 0, bytes_out = 0, bytes_in = 0;
  bool any() const { return messages_out + messages_in > 0; }
  double latency(Link const& link) const { return any() ? link.latency : 0; }
  double busy(Link const& link, Levels levels) const {
    return levels == Levels::Together ? link.busy(std::max(messages_out, messages_in), std::max(bytes_out, bytes_in))
                                      : link.busy((messages_out + messages_in) / 2, (bytes_out + bytes_in) / 2);
  }
};

/// Where ranks share the way out of their node, all its bytes are in the way of each of them.
inline void share_uplink(VectorView<Index const> node_of, Index nodes, std::vector<std::array<Work, 3>>& work) {
  std::vector<Work> of_node(static_cast<std::size_t>(nodes));
  for (Index r = 0; r < node_of.size(); ++r) {
    Work const& mine = work[std::size_t(r)][2];
    of_node[std::size_t(node_of[r])].bytes_out += mine.bytes_out;
    of_node[std::size_t(node_of[r])].bytes_in += mine.bytes_in;
  }
  for (Index r = 0; r < node_of.size(); ++r) {
    Work& mine = work[std::size_t(r)][2];
    if (!mine.any()) continue;
    mine.bytes_out = of_node[std::size_t(node_of[r])].bytes_out;
    mine.bytes_in = of_node[std::size_t(node_of[r])].bytes_in;
  }
}

/// The slowest rank of an exchange without stopovers. bytes(from, to).
template <class Bytes> double straight_seconds(Network const& network, Topology const& topology, Bytes const& bytes) {
  Index const ranks = topology.ranks();
  VectorView<Index const> const node_of = topology.node_of_rank();
  std::vector<std::array<Work, 3>> work(static_cast<std::size_t>(ranks)); // inside the rank, the node, between nodes
  for (Index from = 0; from < ranks; ++from)
    for (Index to = 0; to < ranks; ++to) {
      double const n = bytes(from, to);
      if (!(n > 0)) continue;
      std::size_t const level = from == to ? 0 : node_of[from] == node_of[to] ? 1 : 2;
      Work& out = work[std::size_t(from)][level];
      out.messages_out += 1, out.bytes_out += n;
      Work& in = work[std::size_t(to)][level];
      in.messages_in += 1, in.bytes_in += n;
    }
  if (network.uplink == Uplink::OfNode) share_uplink(node_of, topology.nodes(), work);
  double slowest = 0;
  std::array<Link, 3> const links{network.rank, network.node, network.between};
  for (auto const& levels : work) {
    double together = 0, latency = 0, busy = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      double const waits = levels[i].latency(links[i]), works = levels[i].busy(links[i], network.levels);
      together = std::max(together, waits + works);
      latency = std::max(latency, waits);
      busy += works;
    }
    slowest = std::max(slowest, network.levels == Levels::Together ? together : latency + busy);
  }
  return slowest;
}

} // namespace detail

/// Seconds of one all-to-all: the time of its busiest rank. Of a rank, at each level, the larger of what it sends and
/// what it receives goes over the link (Levels::InTurn: the mean), and each partner with rows is a message; all are
/// under way together.
/// @param rows       [R, R] rows from a rank (row) to a rank (column), as a traffic matrix counts them
/// @param row_bytes  bytes of a row
/// @param path       the way of the rows (dispatch_path.hpp); hops follow each other
/// The same for the way back, from columns to rows over the hops in reverse: links are alike in both directions.
/// Cost: O(R^2). Throws ShapeError for shapes that differ, negative rows, or a link that cannot be.
template <dispatch_path Path = path::Flat>
double exchange_seconds(Network const& network, Topology const& topology, MatrixView<std::int64_t const> rows,
                        double row_bytes, Path = {}) {
  detail::check(network);
  Index const ranks = topology.ranks();
  require_equal("traffic [R, R], rows", ranks, rows.rows());
  require_equal("traffic [R, R], columns", ranks, rows.cols());
  for (Index from = 0; from < ranks; ++from)
    for (Index to = 0; to < ranks; ++to) require_at_least("rows of traffic", 0, rows(from, to));
  auto const seconds = [&](auto const& rows_of) {
    return detail::straight_seconds(network, topology,
                                    [&](Index from, Index to) { return row_bytes * double(rows_of(from, to)); });
  };
  if constexpr (Path::hops == 1) {
    return seconds(rows);
  } else {
    NodeRanks const nodes(topology);
    std::vector<std::int64_t> before(std::size_t(ranks * ranks), 0), after(before);
    MatrixView<std::int64_t> const first(before.data(), ranks, ranks), second(after.data(), ranks, ranks);
    for (Index from = 0; from < ranks; ++from)
      for (Index to = 0; to < ranks; ++to) {
        Index const over = Path::relay(nodes, from, to);
        first(from, over) += rows(from, to);
        if (over != to) second(over, to) += rows(from, to);
      }
    return seconds(first) + seconds(second);
  }
}

/// How ranks add up a vector.
enum class AllReduce {
  RecursiveDoubling, // ceil(log2 P) steps inside the node, ceil(log2 N) between nodes, all bytes in each: for short ones
  Ring,              // 2 (R - 1) steps of bytes / R over the slowest link: for long ones
};

/// R ranks on nodes of equal size, where no table of them is wanted (R = 16384 is nothing to a formula).
struct Ranks {
  Index ranks = 1;
  Index per_node = 1; // P, divides R
};

/// Seconds of an all-reduce of `bytes` on each of R ranks; the additions themselves are not counted; 0 for one rank.
/// Formulas: R. Thakur, R. Rabenseifner, W. Gropp, Int. J. High Performance Computing Applications 19, 2005 (recursive
/// doubling: log2 R (alpha + n beta)); P. Patarasuk, X. Yuan, J. Parallel and Distributed Computing 69, 2009 (ring).
inline double all_reduce_seconds(Network const& network, Ranks shape, double bytes,
                                 AllReduce algorithm = AllReduce::RecursiveDoubling) {
  detail::check(network);
  require_at_least("ranks of an all-reduce", 1, shape.ranks);
  require_within("ranks a node", 1, shape.ranks, shape.per_node);
  require_equal("ranks of an all-reduce modulo ranks a node", 0, shape.ranks % shape.per_node);
  Index const nodes = shape.ranks / shape.per_node;
  if (algorithm == AllReduce::RecursiveDoubling) {
    auto const steps = [](Index n) { return std::ceil(std::log2(double(n))); };
    double const at_once = network.uplink == Uplink::OfNode ? double(shape.per_node) : 1; // on one wire
    return steps(shape.per_node) * network.node.seconds(bytes) +
           steps(nodes) * network.between.seconds(at_once * bytes);
  }
  double const chunk = bytes / double(shape.ranks);
  double slowest = 0;
  if (shape.per_node > 1) slowest = network.node.seconds(chunk);
  if (nodes > 1) slowest = std::max(slowest, network.between.seconds(chunk));
  return 2 * double(shape.ranks - 1) * slowest;
}

} // namespace moebal::cost
