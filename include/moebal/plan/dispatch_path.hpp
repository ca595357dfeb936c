// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The ways that a row can take from the rank of its token to the rank of its expert.

#include "../core/topology.hpp"

#include <vector>

namespace moebal {

/// The ranks of each node, lower rank first.
class NodeRanks {
public:
  explicit NodeRanks(Topology const& topology)
      : node_of_(topology.node_of_rank().begin(), topology.node_of_rank().end()),
        ranks_(std::size_t(topology.nodes())) {
    for (Index r = 0; r < topology.ranks(); ++r) {
      auto& here = ranks_[std::size_t(node_of_[std::size_t(r)])];
      place_.push_back(Index(here.size()));
      here.push_back(r);
    }
  }
  Index node_of(Index rank) const { return node_of_[std::size_t(rank)]; }
  /// The rank in `node` with the same place as `rank` has in its own, as far as the node has so many.
  Index peer(Index node, Index rank) const {
    auto const& there = ranks_[std::size_t(node)];
    return there[std::size_t(place_[std::size_t(rank)]) % there.size()];
  }

private:
  std::vector<Index> node_of_, place_; // [R]
  std::vector<std::vector<Index>> ranks_;
};

/// The rank over which rows go from `source` to `destination`.
template <class P>
concept dispatch_path = std::is_trivially_copyable_v<P> && requires(NodeRanks const& nodes, Index rank) {
  { P::hops } -> std::convertible_to<int>;
  { P::relay(nodes, rank, rank) } -> std::same_as<Index>;
};

namespace path {

/// Straight: one exchange among all ranks.
struct Flat {
  static constexpr int hops = 1;
  static Index relay(NodeRanks const&, Index, Index destination) { return destination; }
};
/// First to the rank of one's own node that has the place of the destination, then straight across: a rank sends to one
/// rank of each other node, what all ranks of its node have for it in one message.
struct InsideFirst {
  static constexpr int hops = 2;
  static Index relay(NodeRanks const& nodes, Index source, Index destination) {
    return nodes.peer(nodes.node_of(source), destination);
  }
};
/// First straight across to the rank of the other node that has one's own place, then inside that node. As many
/// messages as InsideFirst, and the only way on which a token with several experts on a node crosses to it once
/// (Dispatcher::send_tokens).
struct BetweenFirst {
  static constexpr int hops = 2;
  static Index relay(NodeRanks const& nodes, Index source, Index destination) {
    return nodes.peer(nodes.node_of(destination), source);
  }
};
static_assert(dispatch_path<Flat> && dispatch_path<InsideFirst> && dispatch_path<BetweenFirst>);

} // namespace path
} // namespace moebal
