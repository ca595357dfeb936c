// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/ids.hpp"

namespace moebal {

/// The two largest of some numbers, in each lane.
template <class M> struct BestTwo {
  typename M::F first, second;

  static BestTwo better_of(BestTwo a, BestTwo b) {
    return {M::max(a.first, b.first), M::max(M::min(a.first, b.first), M::max(a.second, b.second))};
  }
  template <int step> static BestTwo pairs(BestTwo a, BestTwo b) {
    return {M::template pairs<step>(a.first, b.first), M::template pairs<step>(a.second, b.second)};
  }
};

template <class M> struct TileGroups {
  using F = typename M::F;
  static constexpr int W = M::width;

  /// Of one group in each row: the sum of its `summed` best members, and the least of these. NaN members count as -inf.
  /// Returns sums of the members, for finite().
  static F scores(float const* keys, Index stride, Index size, Index summed, F& sum, F& least) {
    F const none = M::set(-__builtin_inff());
    F total = M::set(0.0f);
    BestTwo<M> rows_of[W];
    for (int r = 0; r < W; ++r) {
      float const* const row = keys + r * stride;
      BestTwo<M> two{none, none};
      F row_sum = M::set(0.0f);
      for (Index e = 0; e < size; e += W) {
        F x = M::load_head(row + e, size - e, none);
        row_sum = M::add(row_sum, size - e >= W ? x : M::load_head(row + e, size - e, M::set(0.0f)));
        x = M::max(x, none);
        two = {M::max(x, two.first), M::max(M::min(x, two.first), two.second)};
      }
      rows_of[r] = two;
      total = M::add(total, row_sum);
    }
    BestTwo<M> const best = M::across(rows_of, [](auto a, auto b) { return BestTwo<M>::better_of(a, b); });
    sum = summed == 2 ? M::add(best.first, best.second) : best.first;
    least = summed == 2 ? best.second : best.first;
    return total;
  }
};

} // namespace moebal
