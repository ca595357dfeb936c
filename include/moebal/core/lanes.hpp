// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A row is one job, and a lane group does it together: SIMD lanes, a warp, a team, or one plain loop. A row body is written
// once over this interface:
//   lanes.each(n, f)      f(e) for every index in [0, n); e is an Index, or a backend's pack of consecutive indices; the
//                         results are visible to the whole group afterwards
//   lanes.each_one(n, f)  the same, always with an Index
//   lanes.once(f)         f() by one lane
//   lanes.add(p, e, value)  p[e] += value on integers that others may add to at the same time, where the execution shares them
//   lanes.sum<Real>(n, f) the sum of f(e) in the library's canonical order
//   lanes.dot<Real>(n, f, g)   the sum of f(e) * g(e), likewise, each product fused into its add
//   lanes.max<T>(n, f, least)  the maximum of f(e) and `least`
//   lanes.any(n, f)       whether some f(e) holds
// and reads and writes memory by load(pointer, e) and store(pointer, e, value). Whatever comes back is known to every lane.

#include "half.hpp"
#include "rank.hpp"

#include <concepts>

namespace moebal {

template <class T> MOEBAL_FN inline T load(T const* p, Index e) { return p[e]; }
MOEBAL_FN inline float load(BFloat16 const* p, Index e) { return widen(p[e]); }
MOEBAL_FN inline float load(Half const* p, Index e) { return widen(p[e]); }
template <class T> MOEBAL_FN inline void store(T* p, Index e, T value) { p[e] = value; }

/// The canonical order of a row sum: partial j adds elements j, j + 32, j + 64, ..., then the upper half of the partials is
/// added to the lower half until one is left. A SIMD register, a warp and a loop can all follow it.
inline constexpr int partial_sums = 32;

template <class Real> MOEBAL_FN inline Real fold_partials(Real* partial) {
  for (int half = partial_sums / 2; half > 0; half /= 2)
    for (int j = 0; j < half; ++j) partial[j] = partial[j] + partial[j + half];
  return partial[0];
}

/// A number of the row beside its element e. An execution that takes rows together has an overload that finds the row in e.
template <class Real, class E> MOEBAL_FN inline Real number_at(Real of_row, E) { return of_row; }

/// One lane: the plain loop, and the oracle of every other lane group.
struct SerialLanes {
  static constexpr int width = 1;

  template <class F> MOEBAL_FN void each(Index n, F f) const {
    for (Index e = 0; e < n; ++e) f(e);
  }
  template <class F> MOEBAL_FN void each_one(Index n, F f) const { each(n, f); }
  template <class F> MOEBAL_FN void once(F f) const { f(); }
  MOEBAL_FN void add(std::int64_t* p, Index e, std::int64_t value) const { p[e] += value; }

  template <class Real, class F> MOEBAL_FN Real sum(Index n, F f) const {
    Real partial[partial_sums] = {};
    for (Index e = 0; e < n; ++e) partial[e % partial_sums] = partial[e % partial_sums] + f(e);
    return fold_partials(partial);
  }
  template <class Real, class F, class G> MOEBAL_FN Real dot(Index n, F f, G g) const {
    Real partial[partial_sums] = {};
    for (Index e = 0; e < n; ++e) partial[e % partial_sums] = math::fma(Real(f(e)), Real(g(e)), partial[e % partial_sums]);
    return fold_partials(partial);
  }
  template <class T, class F> MOEBAL_FN T max(Index n, F f, T least) const {
    for (Index e = 0; e < n; ++e) {
      T const value = f(e);
      least = value > least ? value : least;
    }
    return least;
  }
  template <class F> MOEBAL_FN bool any(Index n, F f) const {
    for (Index e = 0; e < n; ++e)
      if (f(e)) return true;
    return false;
  }
};

namespace detail {
struct AnyRow {
  MOEBAL_FN void operator()(Index) const {}
};
struct AnyValue {
  MOEBAL_FN float operator()(Index) const { return 0; }
};
struct AnyTest {
  MOEBAL_FN bool operator()(Index) const { return false; }
};
struct AnyAct {
  MOEBAL_FN void operator()() const {}
};
} // namespace detail

template <class L>
concept lane_group = requires(L const& lanes, Index n, std::int64_t* sums) {
  { L::width } -> std::convertible_to<int>;
  lanes.each(n, detail::AnyRow{});
  lanes.each_one(n, detail::AnyRow{});
  lanes.once(detail::AnyAct{});
  lanes.add(sums, n, std::int64_t{});
  { lanes.template sum<float>(n, detail::AnyValue{}) } -> std::same_as<float>;
  { lanes.template dot<float>(n, detail::AnyValue{}, detail::AnyValue{}) } -> std::same_as<float>;
  { lanes.template max<float>(n, detail::AnyValue{}, 0.0f) } -> std::same_as<float>;
  { lanes.any(n, detail::AnyTest{}) } -> std::same_as<bool>;
};
static_assert(lane_group<SerialLanes>);

} // namespace moebal
