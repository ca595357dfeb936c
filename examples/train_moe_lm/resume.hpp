// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a saved state and a command line together say.

#include "state.hpp"

#include <algorithm>

namespace train {

/// The settings of a saved state. Who does what may be another than it was: ranks, micro-batches of each, where experts
/// are and how balancers send. For the rest the command line must agree, or there is a sentence. started: ranks that a
/// launcher has started, or 0.
inline void adopt_settings(Options& options, State const& state, Index started) {
  nlohmann::json const saved = state.settings, wanted = options.settings;
  auto const given = [&](std::string_view name) {
    return std::find(options.given.begin(), options.given.end(), name) != options.given.end();
  };
  for (std::string const& name : options.given) {
    std::string key = name.substr(name.find_first_not_of('-'));
    std::replace(key.begin(), key.end(), '-', '_');
    if (key == "ranks" || key == "micro_batches" || key == "balancer_messages" || key == "experts_parallel") continue;
    if (saved.contains(key) && saved.at(key) != wanted.at(key))
      throw StateError("the state in " + options.state_folder + " was made with other settings: " + name + " was " +
                       saved.at(key).dump() + ", is now " + wanted.at(key).dump() + " (leave it away to resume)");
  }
  Settings s = state.settings;
  if (given("--balancer-messages")) s.balancer_messages = options.settings.balancer_messages;
  if (given("--experts-parallel")) s.experts_parallel = options.settings.experts_parallel;
  Index const all = s.ranks * s.micro_batches;
  s.ranks = started > 0 ? started : given("--ranks") ? options.settings.ranks : s.ranks;
  if (given("--micro-batches"))
    s.micro_batches = options.settings.micro_batches;
  else if (all % s.ranks == 0)
    s.micro_batches = all / s.ranks;
  else
    throw StateError("the state in " + options.state_folder + " has " + std::to_string(all) +
                     " micro-batches a step, which " + std::to_string(s.ranks) +
                     " ranks cannot share evenly: needed --micro-batches too, had none");
  options.settings = s;
}

} // namespace train
