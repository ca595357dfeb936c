// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Keys and ids of a tile's rows as words that sort.

#include "../core/ids.hpp"
#include "network.hpp"

#include <cstdint>

namespace moebal {

template <class M> struct TileWords {
  using F = typename M::F;
  using I = typename M::I;
  using D = typename M::D;
  static constexpr int W = M::width;
  static constexpr int id_bits = 20;

  /// Rank words of one candidate of every row, in two registers.
  struct Pair {
    D low, high;
  };

  /// Signed integer that orders like the key: -0 equals +0. For keys that are no NaN.
  static I signed_key(F key) {
    I const raw = M::as_int(key);
    I const bits = M::select(M::equal(raw, M::set(int(0x80000000u))), M::set(0), raw);
    return M::differ(bits, M::both(M::signs(bits), M::set(0x7fffffff)));
  }
  /// Rank words: 1, the key in 32 bits, then the id in 20, the lower the better. As numbers these are normal whatever
  /// the key, so they compare like the integers, and faster. Rows outside `valid` get 0, below every candidate.
  static Pair of(typename M::Mask valid, F key, I id) {
    I const ordered = M::differ(signed_key(key), M::set(int(0x80000000u)));
    I const low = M::either(M::template left<id_bits>(ordered), M::subtract(M::set((1 << id_bits) - 1), id));
    I const high = M::either(M::template right<32 - id_bits>(ordered), M::set(1 << id_bits));
    I const none = M::set(0);
    I const l = M::select(valid, low, none), h = M::select(valid, high, none);
    return {M::words_low(l, h), M::words_high(l, h)};
  }
  template <int K> static void best_ids(Pair const (&words)[16], std::int32_t (*ids)[W]) {
    D best[2][K];
    for (int half = 0; half < 2; ++half) {
      D column[16];
      for (int j = 0; j < 16; ++j) column[j] = half == 0 ? words[j].low : words[j].high;
      network::best_first<M, K>(column);
      for (int k = 0; k < K; ++k) best[half][k] = column[k];
    }
    for (int k = 0; k < K; ++k) {
      I const most = M::set((1 << id_bits) - 1);
      M::store(ids[k], M::subtract(most, M::both(M::low_halves(best[0][k], best[1][k]), most)));
    }
  }
  /// The K <= 2 best of n columns without a NaN: ids and, where `taken` is not null, keys.
  template <int K, int n> static void best_two(F const (&columns)[n], std::int32_t (*ids)[W], float (*taken)[W]) {
    auto const swap = M::greater(columns[1], columns[0]);
    I const zero = M::set(0), one = M::set(1);
    // Of equal operands minimum and maximum give the second: the sign of a zero stays with its id.
    F best = M::max(columns[1], columns[0]), second = M::min(columns[0], columns[1]);
    I best_id = M::select(swap, one, zero), second_id = M::select(swap, zero, one);
    for (int e = 2; e < n; ++e) {
      F const x = columns[e];
      I const id = M::set(e);
      auto const first = M::greater(x, best);
      if constexpr (K == 2) {
        second_id = M::select(first, best_id, M::select(M::greater(x, second), id, second_id));
        second = M::max(M::min(best, x), second);
      }
      best_id = M::select(first, id, best_id);
      best = M::max(x, best);
    }
    M::store(ids[0], best_id);
    if constexpr (K == 2) M::store(ids[1], second_id);
    if (taken == nullptr) return;
    M::store(taken[0], best);
    if constexpr (K == 2) M::store(taken[1], second);
  }
};

} // namespace moebal
