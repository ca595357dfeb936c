// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Which rank holds which expert, and which node holds which rank: read by dispatch, by placement and by every rule or
// gate that knows near from far.

#include "communication.hpp"
#include "errors.hpp"
#include "ids.hpp"
#include "views.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace moebal {

/// A uniform layout: rank r holds the experts [r E/R, (r + 1) E/R), node n the ranks [n P, (n + 1) P) for P ranks a
/// node.
struct TopologyShape {
  Index experts = 1;        // E
  Index ranks = 1;          // R, divides E
  Index ranks_per_node = 0; // P, divides R; 0: all ranks share one node
};

/// E experts on R ranks on N nodes. Each expert has one owner; a rank may own none.
///
/// Cost: tables of E, E, R and R entries, built once, O(E + R); look-ups are O(1) and check their argument
/// (ShapeError).
class Topology {
public:
  /// One rank, one node, one expert.
  Topology() : Topology(TopologyShape{}) {}

  /// The uniform layout. Throws ShapeError where E or R does not divide: name the owners then.
  explicit Topology(TopologyShape shape) {
    require_at_least("experts of a topology", 1, shape.experts);
    require_at_least("ranks of a topology", 1, shape.ranks);
    require_within("ranks per node", 0, shape.ranks, shape.ranks_per_node);
    Index const per_node = shape.ranks_per_node == 0 ? shape.ranks : shape.ranks_per_node;
    require_multiple("experts of a uniform topology (else pass the owner of each)", shape.experts, shape.ranks);
    require_multiple("ranks of a uniform topology (else pass the node of each)", shape.ranks, per_node);
    for (Index e = 0; e < shape.experts; ++e) rank_of_expert_.push_back(e / (shape.experts / shape.ranks));
    for (Index r = 0; r < shape.ranks; ++r) node_of_rank_.push_back(r / per_node);
    finish();
  }

  /// Any layout: `rank_of_expert` [E] in [0, R), `node_of_rank` [R] in [0, N), where each node has a rank. Both are
  /// copied.
  Topology(VectorView<Index const> rank_of_expert, VectorView<Index const> node_of_rank)
      : rank_of_expert_(rank_of_expert.begin(), rank_of_expert.end()),
        node_of_rank_(node_of_rank.begin(), node_of_rank.end()) {
    require_at_least("experts of a topology", 1, rank_of_expert.size());
    require_at_least("ranks of a topology", 1, node_of_rank.size());
    finish();
  }

  Index experts() const { return Index(rank_of_expert_.size()); }
  Index ranks() const { return Index(node_of_rank_.size()); }
  Index nodes() const { return nodes_; }

  /// The rank that holds an expert.
  Index rank_of(ExpertId expert) const {
    require_within("expert", 0, experts() - 1, expert);
    return rank_of_expert_[std::size_t(expert)];
  }
  Index node_of_rank(Index rank) const {
    require_within("rank", 0, ranks() - 1, rank);
    return node_of_rank_[std::size_t(rank)];
  }
  /// The node that holds an expert.
  Index node_of(ExpertId expert) const { return node_of_rank(rank_of(expert)); }

  /// The experts that a rank holds, lower id first.
  VectorView<ExpertId const> experts_of(Index rank) const {
    require_within("rank", 0, ranks() - 1, rank);
    Index const first = first_[std::size_t(rank)];
    return {by_rank_.data() + first, first_[std::size_t(rank) + 1] - first};
  }

  /// The tables behind the look-ups, for loops that check once: [E] and [R].
  VectorView<Index const> rank_of_expert() const { return rank_of_expert_; }
  VectorView<Index const> node_of_rank() const { return node_of_rank_; }

  friend bool operator==(Topology const&, Topology const&) = default;

private:
  static void require_multiple(std::string_view what, Index value, Index of) {
    if (value % of != 0)
      detail::refuse<ShapeError>(what, "a multiple of " + std::to_string(of), std::to_string(value));
  }

  // Checks the two tables and sorts the experts by rank, stably.
  void finish() {
    for (Index const rank : rank_of_expert_) require_within("rank that holds an expert", 0, ranks() - 1, rank);
    std::vector<bool> inhabited;
    for (Index const node : node_of_rank_) {
      require_within("node of a rank (nodes are numbered from 0, each with a rank)", 0, ranks() - 1, node);
      if (node >= Index(inhabited.size())) inhabited.resize(std::size_t(node) + 1);
      inhabited[std::size_t(node)] = true;
    }
    nodes_ = Index(inhabited.size());
    for (Index n = 0; n < nodes_; ++n)
      if (!inhabited[std::size_t(n)])
        detail::refuse<ShapeError>("ranks of node " + std::to_string(n), "at least 1 (nodes are numbered from 0)", "0");

    first_.assign(std::size_t(ranks()) + 1, 0);
    for (Index const rank : rank_of_expert_) ++first_[std::size_t(rank) + 1];
    for (std::size_t r = 1; r < first_.size(); ++r) first_[r] += first_[r - 1];
    by_rank_.resize(rank_of_expert_.size());
    std::vector<Index> next(first_);
    for (std::size_t e = 0; e < rank_of_expert_.size(); ++e)
      by_rank_[std::size_t(next[std::size_t(rank_of_expert_[e])]++)] = ExpertId(e);
  }

  std::vector<Index> rank_of_expert_; // [E]
  std::vector<Index> node_of_rank_;   // [R]
  std::vector<ExpertId> by_rank_;     // [E], grouped by rank
  std::vector<Index> first_;          // [R + 1], where each group starts
  Index nodes_ = 0;
};

/// E experts in equal blocks over the ranks of `comm`, with the nodes that it knows. Throws ShapeError unless R divides
/// E.
template <communicator C> Topology topology_of(C const& comm, Index experts) {
  Topology const uniform(TopologyShape{.experts = experts, .ranks = comm.size()});
  std::vector<Index> nodes;
  for (Index r = 0; r < comm.size(); ++r) nodes.push_back(comm.node_of(r));
  return Topology(uniform.rank_of_expert(), nodes);
}

} // namespace moebal
