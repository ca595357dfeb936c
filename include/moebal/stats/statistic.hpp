// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a balancing rule may read: sums over tokens, kept as 64-bit integers, so that threads, atomics, micro-batches and
// ranks can add them in any order and get the same bits. A statistic is a type; a rule names the ones it needs in a list,
// and the router collects exactly these.

#include "../core/views.hpp"

#include <concepts>

namespace moebal {

/// Which of a token's K choices are counted.
enum class Choices { All, First };
/// Whose choices are counted: those that were routed, or the plain top-K of the scores without bias and groups.
enum class CountSource { Routed, Unbiased };

namespace stats {

/// Tokens that chose each expert, [E].
template <Choices choices, CountSource source> struct CountsOf {
  MOEBAL_FN static constexpr Index slots(Index experts) { return experts; }
};
using Counts = CountsOf<Choices::All, CountSource::Routed>;
using FirstChoiceCounts = CountsOf<Choices::First, CountSource::Routed>;
using UnbiasedCounts = CountsOf<Choices::All, CountSource::Unbiased>;
using UnbiasedFirstChoiceCounts = CountsOf<Choices::First, CountSource::Unbiased>;

/// Sum over tokens of the row-normalised scores, [E], in units of 1 / score_one<Real>. A normalised score is in [0, 1], so
/// the sum is exact to half a unit a token and cannot overflow below max_tokens<Real>. A NaN score counts as 0.
struct ScoreSums {
  MOEBAL_FN static constexpr Index slots(Index experts) { return experts; }
};

/// Sum over tokens of logsumexp(logits)^2: whole units, then the fractions in units of 1 / square_one. Squares above
/// square_limit (and NaN, as 0) are clamped to it.
struct LogSumExpSquares {
  MOEBAL_FN static constexpr Index slots(Index) { return 2; }
};

template <class Real> inline constexpr double score_one = 0x1p32;
template <> inline constexpr double score_one<double> = 0x1p42;
/// Tokens that one window may hold before a sum of scores could overflow.
template <class Real> inline constexpr Index max_tokens = Index(1) << 30;
template <> inline constexpr Index max_tokens<double> = Index(1) << 20;
inline constexpr double square_one = 0x1p40;
inline constexpr double square_limit = 0x1p40;

/// A set of statistics and their layout in one row of int64: first the header, then each in the order of the list.
template <class... Statistic> struct List {
  static constexpr Index tokens_slot = 0;   // rows that are not padding
  static constexpr Index bad_rows_slot = 1; // rows with a NaN logit or a weight that is not finite
  static constexpr Index header = 2;

  template <class S> static constexpr bool has = (std::same_as<S, Statistic> || ...);

  /// int64 slots of one row for E experts.
  MOEBAL_FN static constexpr Index slots([[maybe_unused]] Index experts) { return (header + ... + Statistic::slots(experts)); }

  /// First slot of S.
  template <class S>
    requires has<S>
  MOEBAL_FN static constexpr Index offset(Index experts) {
    Index at = header;
    bool found = false;
    ((found = found || std::same_as<S, Statistic>, at += found ? 0 : Statistic::slots(experts)), ...);
    return at;
  }
};
using None = List<>;

namespace detail {
template <class A, class B> struct Merge;
template <class... A> struct Merge<List<A...>, List<>> {
  using type = List<A...>;
};
template <class... A, class B, class... Rest> struct Merge<List<A...>, List<B, Rest...>> {
  using type = typename Merge<std::conditional_t<List<A...>::template has<B>, List<A...>, List<A..., B>>, List<Rest...>>::type;
};
} // namespace detail

/// The union of two lists: those of A, then those of B that A lacks.
template <class A, class B> using merge_t = typename detail::Merge<A, B>::type;

} // namespace stats

template <class L>
concept statistic_list = requires(Index e) {
  { L::slots(e) } -> std::same_as<Index>;
  { L::header } -> std::convertible_to<Index>;
};
static_assert(statistic_list<stats::None>);

} // namespace moebal
