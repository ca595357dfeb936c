// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "migrate_layer.hpp"

namespace moebal {

/// How rebalance_from weighs moves.
struct Migration {
  /// What one moved copy must save: this share of the mean load of a rank, off the load of the fullest rank. 0: the
  /// best balance that is found, at any price. The weights of an expert cross a link once, the saving comes every step
  /// until the next call, so the right number falls with the time between calls; nobody publishes one. Default: a
  /// thousandth, with which moving all 256 experts of a layer has to save a quarter of a mean load.
  double cost = 1e-3;
  Index most_steps = 1000; // of the search, a layer
};

/// Copies of `next` that are not on the same rank in `old`: what has to be sent.
inline Index moved_copies(Placement const& old, Placement const& next, Index layer, Index ranks) {
  require_equal("experts of the placement to move from", next.experts(), old.experts());
  require_equal("replicas of the placement to move from", next.replicas(), old.replicas());
  require_at_least("ranks of a placement", 1, ranks);
  require_equal("replicas of a placement modulo ranks", 0, old.replicas() % ranks);
  require_within("layer of a placement", 0, std::min(old.layers(), next.layers()) - 1, layer);
  detail::Held const from(old.expert_of().row(layer), old.replicas(), old.experts(), ranks);
  detail::Held const to(next.expert_of().row(layer), next.replicas(), next.experts(), ranks);
  return to.beyond(from);
}

/// Moves an existing placement towards the loads [L, E] of now, where that pays. Of the placements on its way, each
/// layer gets the one with the smallest
///   load of the fullest rank / mean load of a rank + cost * moved copies.
/// The way: from the old placement, swaps of two slots and replacements of a spare copy by a copy of a loaded expert,
/// each time the one that lowers the fullest rank at the best price, as long as any lowers it; and, as a last
/// candidate, a placement from scratch (rebalance), with its nodes and ranks renumbered to fit the old ones. So cost 0
/// is never worse than rebalance, and a large cost changes nothing. What stays on its rank stays in its slot. Where the
/// nodes divide the groups, experts stay on their node but for the last candidate. (Migration is what users of EPLB
/// ask for, deepseek-ai/EPLB issue 13; the search is this library's.)
/// Cost: a step tries P^2 / R swaps and P C / R copies of R additions each, for C spare copies; the steps of a layer
/// are about as many as it moves. Everybody who calls it gets the same result. Throws ShapeError.
inline Placement rebalance_from(Placement const& old, MatrixView<float const> loads, PlacementShape shape,
                                Migration migration = {}) {
  Index const layers = loads.rows(), experts = loads.cols(), slots = shape.replicas;
  shape.check(experts);
  require_equal("layers of the placement to move from", layers, old.layers());
  require_equal("experts of the placement to move from", experts, old.experts());
  require_equal("replicas of the placement to move from", slots, old.replicas());
  require_at_least("steps of a migration", 0, migration.most_steps);
  if (!(migration.cost >= 0))
    detail::refuse<ShapeError>("cost of a moved copy", "at least 0", std::to_string(migration.cost));
  Placement const fresh = rebalance(loads, shape);
  std::vector<ExpertId> expert_of;
  for (Index l = 0; l < layers; ++l) {
    VectorView<float const> const layer(loads.row(l), experts);
    detail::require_loads(layer);
    detail::LayerMigrator walk(layer, old.expert_of().row(l), shape, migration.cost);
    walk.walk(migration.most_steps);
    walk.offer(fresh.expert_of().row(l));
    auto const best = walk.result();
    expert_of.insert(expert_of.end(), best.begin(), best.end());
  }
  return {experts, {expert_of.data(), layers, slots}};
}

} // namespace moebal
