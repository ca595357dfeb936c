// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/ids.hpp"
#include "network.hpp"
#include "register.hpp"

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
    BestTwo<M> const best = across<M>(rows_of, [](auto a, auto b) { return BestTwo<M>::better_of(a, b); });
    sum = summed == 2 ? M::add(best.first, best.second) : best.first;
    least = summed == 2 ? best.second : best.first;
    return total;
  }

  /// A key of each row that K keys of its groups reach, a bit each: the K-th largest of their 16 column maxima.
  template <int K>
  static F column_bound(float const* keys, Index stride, Index size, std::int32_t const* groups) {
    F const none = M::set(-__builtin_inff());
    constexpr int parts = 16 / W;
    F maxima[parts][W], columns[16];
    for (int r = 0; r < W; ++r) {
      for (int p = 0; p < parts; ++p) maxima[p][r] = none;
      for (unsigned left = unsigned(groups[r]); left != 0; left &= left - 1) {
        float const* const group = keys + r * stride + Index(__builtin_ctz(left)) * size;
        for (Index e = 0, p = 0; e < size; e += W, p = (p + 1) % parts)
          maxima[p][r] = M::max(M::load_head(group + e, size - e, none), maxima[p][r]);
      }
    }
    for (int p = 0; p < parts; ++p) {
      M::transpose(maxima[p]);
      for (int c = 0; c < W; ++c) columns[p * W + c] = maxima[p][c];
    }
    network::best_first<M, K>(columns);
    return columns[K - 1];
  }
};

} // namespace moebal
