// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The strategies by name. What they do is in strategies.hpp.

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace train {

enum class GateKind { Softmax, Sigmoid };
enum class RuleKind { None, Loss, Bias };
/// Over which tokens the counts are summed before the rule reads them.
enum class Pool {
  None,
  MicroBatch,   // one micro-batch of one rank
  Ranks,        // the micro-batches that all ranks work on at the same time
  Running,      // of all ranks, the micro-batches of this step so far
  Global,       // all micro-batches of the step
  RandomSubset, // as many tokens as a micro-batch has, drawn from the whole step
};
enum class ByDefault { Yes, No };

struct StrategyInfo {
  std::string_view name;
  GateKind gate;
  RuleKind rule;
  Pool pool;
  ByDefault by_default;
  std::string_view about;
};

inline constexpr std::array catalogue{
    StrategyInfo{"none-softmax", GateKind::Softmax, RuleKind::None, Pool::None, ByDefault::Yes, "no balancing"},
    StrategyInfo{"loss-micro", GateKind::Softmax, RuleKind::Loss, Pool::MicroBatch, ByDefault::Yes,
                 "balancing loss, counts of the micro-batch itself"},
    StrategyInfo{"loss-ranks", GateKind::Softmax, RuleKind::Loss, Pool::Ranks, ByDefault::No,
                 "balancing loss, counts of the micro-batches of all ranks, without accumulation"},
    StrategyInfo{"loss-running", GateKind::Softmax, RuleKind::Loss, Pool::Running, ByDefault::Yes,
                 "balancing loss, counts of all ranks accumulated within the step (the published buffer)"},
    StrategyInfo{"loss-global", GateKind::Softmax, RuleKind::Loss, Pool::Global, ByDefault::Yes,
                 "balancing loss, counts of the whole step (exact, two passes)"},
    StrategyInfo{"loss-subset", GateKind::Softmax, RuleKind::Loss, Pool::RandomSubset, ByDefault::Yes,
                 "balancing loss, counts of as many random tokens of the step as a micro-batch has"},
    StrategyInfo{"bias-micro-softmax", GateKind::Softmax, RuleKind::Bias, Pool::MicroBatch, ByDefault::Yes,
                 "loss-free bias, counts of one micro-batch of one rank"},
    StrategyInfo{"bias-global-softmax", GateKind::Softmax, RuleKind::Bias, Pool::Global, ByDefault::Yes,
                 "loss-free bias, counts of the whole step"},
    StrategyInfo{"none-sigmoid", GateKind::Sigmoid, RuleKind::None, Pool::None, ByDefault::Yes, "no balancing"},
    StrategyInfo{"loss-micro-sigmoid", GateKind::Sigmoid, RuleKind::Loss, Pool::MicroBatch, ByDefault::No,
                 "as loss-micro, with the sigmoid gate"},
    StrategyInfo{"loss-global-sigmoid", GateKind::Sigmoid, RuleKind::Loss, Pool::Global, ByDefault::No,
                 "as loss-global, with the sigmoid gate"},
    StrategyInfo{"bias-micro-sigmoid", GateKind::Sigmoid, RuleKind::Bias, Pool::MicroBatch, ByDefault::Yes,
                 "loss-free bias, counts of one micro-batch of one rank"},
    StrategyInfo{"bias-global-sigmoid", GateKind::Sigmoid, RuleKind::Bias, Pool::Global, ByDefault::Yes,
                 "loss-free bias, counts of the whole step"},
};

/// The row that paired differences are taken against.
inline constexpr std::string_view reference_strategy = "loss-global";

inline std::string_view to_text(GateKind gate) { return gate == GateKind::Softmax ? "softmax" : "sigmoid"; }
inline std::string_view to_text(RuleKind rule) {
  return rule == RuleKind::None ? "none" : rule == RuleKind::Loss ? "loss" : "loss-free bias";
}
inline std::string_view to_text(Pool pool) {
  switch (pool) {
  case Pool::None:
    return "-";
  case Pool::MicroBatch:
    return "micro-batch";
  case Pool::Ranks:
    return "ranks";
  case Pool::Running:
    return "global, running";
  case Pool::Global:
    return "global";
  case Pool::RandomSubset:
    return "random subset";
  }
  return "";
}

inline StrategyInfo const* find_strategy(std::string_view name) {
  auto const found = std::find_if(catalogue.begin(), catalogue.end(), [&](auto const& s) { return s.name == name; });
  return found == catalogue.end() ? nullptr : &*found;
}
inline std::vector<std::string> default_strategies() {
  std::vector<std::string> names;
  for (StrategyInfo const& s : catalogue)
    if (s.by_default == ByDefault::Yes) names.emplace_back(s.name);
  return names;
}
/// For the argument parser: empty when the name is known, else what is wrong.
inline std::string known_strategy(std::string const& name) {
  return find_strategy(name) ? std::string() : "there is no strategy '" + name + "': --list names them";
}

} // namespace train
