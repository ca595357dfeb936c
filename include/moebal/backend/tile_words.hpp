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
  /// The ids of the K <= 2 best of at most 16 columns, without words.
  template <int K> static void best_two_ids(F const* columns, Index experts, std::int32_t (*ids)[W]) {
    I best = M::set(int(0x80000000u)), second = best, best_id = M::set(0), second_id = best_id; // below the key of -inf
    for (Index e = 0; e < experts; ++e) {
      I const key = signed_key(columns[e]), id = M::set(int(e));
      auto const first = M::greater(key, best);
      if constexpr (K == 2) {
        auto const next = M::greater(key, second);
        second = M::select(first, best, M::select(next, key, second));
        second_id = M::select(first, best_id, M::select(next, id, second_id));
      }
      best = M::select(first, key, best);
      best_id = M::select(first, id, best_id);
    }
    M::store(ids[0], best_id);
    if constexpr (K == 2) M::store(ids[1], second_id);
  }
};

} // namespace moebal
