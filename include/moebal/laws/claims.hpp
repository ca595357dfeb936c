// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a policy may leave open. Everything is claimed unless the policy's author says otherwise, and what is claimed is
// tested:
//   template <> struct moebal::laws::Claims<MyHashSelection> : moebal::laws::Everything {
//     static constexpr bool experts_alike = false;
//   };
// Whether a selection is causal it says itself (Selection::causal).

#include "../balance/by_token_class.hpp"
#include "../balance/communication_loss.hpp"
#include "../balance/device_loss.hpp"
#include "../balance/factored.hpp"
#include "../balance/locality_loss.hpp"
#include "../balance/per_class.hpp"
#include "../balance/zero_expert_bias.hpp"
#include "../balance/zero_expert_device_loss.hpp"
#include "../gate/raw_balance.hpp"
#include "../select/auction.hpp"
#include "../select/bip.hpp"
#include "../select/group_limited_top_k.hpp"
#include "../select/hash.hpp"
#include "../select/laser.hpp"
#include "../select/momentum_quantile.hpp"
#include "../select/no_token_left_behind.hpp"
#include "../select/overflow.hpp"
#include "../select/second_expert.hpp"
#include "../select/sinkhorn.hpp"
#include "../select/threshold.hpp"
#include "../select/top_p.hpp"
#include "../select/topology_capped.hpp"
#include "../select/two_level.hpp"

namespace moebal::laws {

struct Everything {
  /// No expert is known by its id: renaming the experts renames the answer.
  static constexpr bool experts_alike = true;
  /// No token is known by its place: permuting the tokens permutes the answer.
  static constexpr bool tokens_alike = true;
  /// Gate: a constant added to the logits changes no weight. Selection: one added to the keys changes no choice.
  static constexpr bool shift_invariant = true;
  /// Selection: choices come in the order of their keys, equal keys the lower id first.
  static constexpr bool best_first = true;
  /// Loss rule: slopes are the derivatives of the value; else up to a number that all experts share, which no logit
  /// feels where scores sum to 1.
  static constexpr bool exact_slopes = true;
  /// Bias rule that reads counts: equal counts move nothing, and the bias of an overloaded expert never grows.
  static constexpr bool evens_counts = true;
};

template <class Policy> struct Claims : Everything {};

// Gates.
template <elementwise_gate Gate> struct Claims<Gate> : Everything {
  static constexpr bool shift_invariant = false;
};
template <class Gate> struct Claims<RawBalance<Gate>> : Claims<Gate> {};

// Selections by row.
struct ByAbsoluteScore : Everything {
  static constexpr bool shift_invariant = false;
};
template <int K> struct Claims<Threshold<K>> : ByAbsoluteScore {};
template <int K> struct Claims<TopP<K>> : ByAbsoluteScore {};
template <> struct Claims<SecondExpert> : ByAbsoluteScore {
  static constexpr bool tokens_alike = false; // a draw for each place
};
struct ByExpertId : Everything {
  static constexpr bool experts_alike = false;
};
template <int K> struct Claims<GroupLimitedTopK<K>> : ByExpertId {};
template <int K, class Memory> struct Claims<Laser<K, Memory>> : ByAbsoluteScore {
  static constexpr bool experts_alike = false; // each has a load
};
template <class Inner, class Memory> struct Claims<TwoLevel<Inner, Memory>> : Claims<Inner> {
  static constexpr bool experts_alike = false;
};
template <int K, class Memory> struct Claims<HashLayer<K, Memory>> : ByExpertId {
  static constexpr bool best_first = false; // the order of the table
};

// Selections by batch.
struct InTurn : Everything {
  static constexpr bool tokens_alike = false; // the first come finds room
};
template <> struct Claims<NoTokenLeftBehind> : InTurn {};
template <int K, class Move> struct Claims<select::TopKWithMoves<K, Move>> : InTurn {
  static constexpr bool experts_alike = false; // the next one around the circle, or a draw among those with room
};
template <> struct Claims<Auction> : InTurn {
  static constexpr bool experts_alike = false; // nearly optimal ones, found in the order of bids
  static constexpr bool best_first = false;    // one choice; ties are the auction's
};
template <int K> struct Claims<TopologyCapped<K>> : ByExpertId {};
struct ByOtherKeys : Everything {
  static constexpr bool shift_invariant = false;
  static constexpr bool best_first = false; // the order of keys that the batch has moved
};
template <int K> struct Claims<Bip<K>> : ByOtherKeys {
  static constexpr bool experts_alike = false; // prices make experts equal, and the lower id gains by it
};
template <int K> struct Claims<Sinkhorn<K>> : ByOtherKeys {
  static constexpr bool shift_invariant = true;
};
template <int K> struct Claims<MomentumQuantile<K>> : ByOtherKeys {
  static constexpr bool tokens_alike = false; // a token counts for those after it
};

// Rules.
template <class Devices> struct Claims<DeviceLoss<Devices>> : ByExpertId {};
template <class Devices> struct Claims<CommunicationLoss<Devices>> : ByExpertId {};
template <Index devices> struct Claims<ZeroExpertDeviceLoss<devices>> : ByExpertId {};
template <class Rule, class Classes> struct Claims<PerClass<Rule, Classes>> : Claims<Rule> {
  static constexpr bool experts_alike = false;
};
template <> struct Claims<LocalityLoss> : ByExpertId {
  static constexpr bool exact_slopes = false;
};
template <> struct Claims<ZeroExpertBias> : ByExpertId {
  static constexpr bool evens_counts = false; // computing experts have a target of their own
};
template <class Rule, class Schedule> struct Claims<Factored<Rule, Schedule>> : Claims<Rule> {};
template <int classes, class Rule> struct Claims<ByTokenClass<classes, Rule>> : Claims<Rule> {};

} // namespace moebal::laws
