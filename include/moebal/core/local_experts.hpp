// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "topology.hpp"

namespace moebal {

/// Experts [first, first + count): those of one node, for gates and rules that know near from far. Trivially copyable,
/// so that device code can hold it.
struct LocalExperts {
  Index first = 0;
  Index count = 0;
  MOEBAL_FN bool operator()(Index e) const { return e >= first && e < first + count; }
};

/// The experts that live on the node of a rank. Throws ShapeError where their ids are not consecutive.
inline LocalExperts local_experts(Topology const& topology, Index rank) {
  Index const node = topology.node_of_rank(rank);
  LocalExperts local;
  for (Index e = 0; e < topology.experts(); ++e) {
    if (topology.node_of(ExpertId(e)) != node) continue;
    if (local.count == 0) local.first = e;
    require_equal("next expert of node " + std::to_string(node) + " (they must be consecutive)",
                  local.first + local.count, e);
    ++local.count;
  }
  return local;
}

} // namespace moebal
