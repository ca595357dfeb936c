// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a balancing rule may read: sums over tokens, kept as 64-bit integers, so that threads, atomics, micro-batches
// and ranks can add them in any order and get the same bits. A statistic is a type with
//   slots(E)                    how many integers it takes for E experts
//   add(lanes, facts, sums)     adds what one routed row tells (router/row_facts.hpp) to its integers
//   most_tokens<Real>           where a row of the statistic could leave 63 bits before 2^40 tokens: how many it may
//   hold
// A rule names the ones it needs in a list, and the router collects exactly these.

#include "../core/lanes.hpp"
#include "../core/views.hpp"

#include <algorithm>
#include <concepts>
#include <type_traits>

namespace moebal {

namespace stats {

inline constexpr Index most_countable = Index(1) << 40;
namespace detail {
template <class S, class Real> constexpr Index most_tokens_of() {
  if constexpr (requires { S::template most_tokens<Real>; }) return S::template most_tokens<Real>;
  return most_countable;
}
} // namespace detail

/// A set of statistics and their layout in one row of int64: first the header, then each in the order of the list.
template <class... Statistic> struct List {
  static constexpr Index tokens_slot = 0;   // rows that are not padding
  static constexpr Index bad_rows_slot = 1; // rows with a NaN logit or a weight that is not finite
  static constexpr Index header = 2;

  template <class S> static constexpr bool has = (std::same_as<S, Statistic> || ...);

  /// int64 slots of one row for E experts.
  MOEBAL_FN static constexpr Index slots([[maybe_unused]] Index experts) {
    return (header + ... + Statistic::slots(experts));
  }

  /// First slot of S.
  template <class S>
    requires has<S>
  MOEBAL_FN static constexpr Index offset(Index experts) {
    Index at = header;
    bool found = false;
    ((found = found || std::same_as<S, Statistic>, at += found ? 0 : Statistic::slots(experts)), ...);
    return at;
  }

  /// Tokens that one row may hold before a sum could leave 63 bits.
  template <class Real>
  static constexpr Index most_tokens = std::min({most_countable, detail::most_tokens_of<Statistic, Real>()...});

  /// Adds one row to every statistic of the list. sums: the row of integers that belongs to its sequence.
  template <class Lanes, class Facts> MOEBAL_FN static void add(Lanes lanes, Facts const& facts, std::int64_t* sums) {
    bool const bad = facts.bad(lanes);
    lanes.once([=] {
      lanes.add(sums, tokens_slot, 1);
      if (bad) lanes.add(sums, bad_rows_slot, 1);
    });
    (Statistic::add(lanes, facts, sums + offset<Statistic>(facts.experts())), ...);
  }
  /// The same for rows that a CPU routed together (router/route_tile.hpp), none of which is bad. each_row(f) calls
  /// f(facts, token) for one row after the other, for statistics that know only single rows.
  template <class Lanes, class Facts, class EachRow>
  static void add_tile(Lanes lanes, Facts& facts, EachRow each_row, std::int64_t* sums) {
    sums[tokens_slot] += facts.live_rows();
    [[maybe_unused]] auto const add_one = [&]<class S>(std::type_identity<S>, std::int64_t* own) {
      if constexpr (requires { S::add_tile(lanes, facts, own); })
        S::add_tile(lanes, facts, own);
      else
        each_row([=](auto const& row, Index) { S::add(lanes, row, own); });
    };
    (add_one(std::type_identity<Statistic>{}, sums + offset<Statistic>(facts.experts())), ...);
  }
};
using None = List<>;

namespace detail {
template <class A, class B> struct Merge;
template <class... A> struct Merge<List<A...>, List<>> {
  using type = List<A...>;
};
template <class... A, class B, class... Rest> struct Merge<List<A...>, List<B, Rest...>> {
  using type =
      typename Merge<std::conditional_t<List<A...>::template has<B>, List<A...>, List<A..., B>>, List<Rest...>>::type;
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
