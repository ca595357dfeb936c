// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The choices on which published gates differ, each with a name.

#include "../core/config.hpp"

namespace moebal {

/// What the combine weights of a token are divided by.
enum class Normalise {
  None,       // the scores as they are
  OverChosen, // by the sum of the chosen scores
};
/// The weight of a token with K = 1 under Normalise::OverChosen.
enum class SingleChoice {
  Raw,        // the score itself, so that the router keeps its gradient (Megatron, Switch)
  Normalised, // 1, and no gradient reaches the router (Mixtral, torchtitan, DeepSeek-V3 in Hugging Face)
};
/// How a small constant enters the normalising sum.
enum class EpsilonRule {
  Add,     // sum + epsilon
  AtLeast, // max(sum, epsilon)
};

} // namespace moebal
