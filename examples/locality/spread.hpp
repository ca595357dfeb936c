// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <moebal/core/topology.hpp>

#include <vector>

namespace locality {

/// Where the E experts live: expert e on rank e R / E. With more ranks than experts some own none.
inline moebal::Topology spread(moebal::Index experts, moebal::Index ranks, moebal::Index ranks_per_node) {
  std::vector<moebal::Index> owner, node;
  for (moebal::Index e = 0; e < experts; ++e) owner.push_back(e * ranks / experts);
  for (moebal::Index r = 0; r < ranks; ++r) node.push_back(r / ranks_per_node);
  return moebal::Topology(owner, node);
}

} // namespace locality
