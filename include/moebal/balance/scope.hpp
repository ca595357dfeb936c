// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A scope says how far to sum before a rule reads. The papers agree that it matters more than the rule (2501.11873
// Table 1).

#include "../core/errors.hpp"
#include "../core/ids.hpp"

#include <concepts>
#include <string>

namespace moebal {

/// What the load window holds of the micro-batches of one optimizer step.
enum class Accumulate {
  None,    // the micro-batch itself
  Running, // what was observed so far in this step (2501.11873 Algorithm 1): early micro-batches see less
  TwoPass  // all of the step: exact, but the gradient is known only after all micro-batches were observed
};

/// Each sequence for itself; with accumulation sequence s of a micro-batch continues sequence s of the one before.
/// The loss is the mean over the sequences of a micro-batch, empty ones included, which add 0.
template <Accumulate a = Accumulate::None> struct Sequence {
  static constexpr Accumulate accumulate = a;
  static constexpr bool per_sequence = true, over_ranks = false;
  static constexpr char const* name = "sequence";
};
/// The sequences of a micro-batch of one rank.
template <Accumulate a = Accumulate::None> struct MicroBatch {
  static constexpr Accumulate accumulate = a;
  static constexpr bool per_sequence = false, over_ranks = false;
  static constexpr char const* name = "micro_batch";
};
/// The micro-batches that all ranks work on at the same time; with accumulation, those of the whole step.
template <Accumulate a = Accumulate::None> struct GlobalBatch {
  static constexpr Accumulate accumulate = a;
  static constexpr bool per_sequence = false, over_ranks = true;
  static constexpr char const* name = "global_batch";
};

template <class S>
concept balance_scope = requires {
  { S::accumulate } -> std::convertible_to<Accumulate>;
  { S::per_sequence } -> std::convertible_to<bool>;
  { S::over_ranks } -> std::convertible_to<bool>;
  { S::name } -> std::convertible_to<char const*>;
};
static_assert(balance_scope<Sequence<>> && balance_scope<MicroBatch<>> && balance_scope<GlobalBatch<>>);

/// "global_batch,two_pass": for messages and saved states.
template <balance_scope S> std::string scope_text() {
  std::string text(S::name);
  if (S::accumulate != Accumulate::None) text.append(S::accumulate == Accumulate::Running ? ",running" : ",two_pass");
  return text;
}

/// What the user does with the gradients of the ranks. Both give the gradient of the same global loss.
enum class Reduction { MeanOverRanks, Sum };

/// Sizes that a balancer is made for.
struct BalancerShape {
  Index experts = 0; // E
  Index top_k = 0;   // K
  Reduction reduction = Reduction::MeanOverRanks;
};
namespace detail {
inline BalancerShape checked(BalancerShape shape) {
  require_at_least("experts of the balancer", 1, shape.experts);
  require_within("top_k of the balancer", 1, shape.experts, shape.top_k);
  return shape;
}
} // namespace detail

} // namespace moebal
