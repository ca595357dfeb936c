// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One strategy trains the text model of train_moe_lm; what its choices mean for the ways between ranks is counted.

#include "machine.hpp"
#include "result.hpp"
#include "strategies.hpp"

#include "../train_moe_lm/data.hpp"
#include "../train_moe_lm/launch.hpp"
#include "../train_moe_lm/options.hpp"
#include "../train_moe_lm/validation.hpp"

#include <optional>

namespace locality {

struct Setting {
  train::Settings model; // sizes, steps, seeds, capacity
  train::Validation validation;
  Index ranks_per_node = 2;
  double share = 0; // of a rank's micro-batches that are of its node's own domains
  double locality = default_locality;
  std::optional<moebal::cost::Machine> machine; // this one, as it was measured
};

/// Trains and counts. The same arguments give the same numbers, whatever the ranks are. Whole on the process of rank 0.
Result run(train::Processes& processes, Strategy const& strategy, std::vector<train::Domain> const& domains,
           Setting const& setting, std::uint64_t seed);

} // namespace locality
