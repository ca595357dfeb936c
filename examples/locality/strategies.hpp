// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The routers that are compared: all choose one expert a token, under one capacity rule.

#include <moebal/core/topology.hpp>
#include <moebal/select/hash_table.hpp>

#include <memory>
#include <string>
#include <vector>

namespace train {
struct Contestant;
}

namespace locality {

using moebal::Index;

/// What a strategy is told beside lab::Make.
struct Given {
  moebal::Topology topology;
  double locality = 0;                                 // coefficient of the locality loss
  std::shared_ptr<moebal::HashTable const> byte_pairs; // [65536, 1]: two bytes -> expert, balanced by frequency
};

struct Strategy {
  char const* name;
  char const* title;
  char const* about;
  train::Contestant (*contestant)(Given const& given);
};

/// In the order of the table; the first is what the others are compared with.
std::vector<Strategy> const& strategies();

/// Throws std::invalid_argument for a name that no strategy has.
Strategy const& find_strategy(std::string const& name);

} // namespace locality
