// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a trainer is given: what balances, and who watches.

#include "../compare_strategies/method.hpp"
#include "model.hpp"
#include "state.hpp"

#include <functional>

namespace train {

/// What balances: each rank makes its own.
struct Contestant {
  std::string name;
  std::function<std::unique_ptr<lab::Method>(lab::Make const&, lab::Comm)> make;
};

/// Watches a run.
struct Observer {
  /// After each step, on rank 0. Returns whether to stop here.
  std::function<bool(Record const&)> stepped = [](Record const&) { return false; };
  /// When a state is due (every so many steps, or 0: every few seconds; and when stopped), on rank 0.
  std::function<void(Midway)> save = [](Midway) {};
  Index save_every = 0;
  /// On every rank, when a layer has routed a micro-batch and (with a capacity: kept_ids) its pairs were kept or dropped:
  /// step, what is known of it, the weights of the logit map.
  std::function<void(Index, LayerActivations<float> const&, lab::Weights, lab::Method&)> routed{};
  /// On every rank and for every layer, after the last step.
  std::function<void(lab::Method const&)> ended{};
};

} // namespace train
