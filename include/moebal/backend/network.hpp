// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Sorting networks over registers: element i of every register belongs to row i, so a network sorts all rows at once and never
// branches. Comparators are generated when compiling, so that the registers of a network have constant names.

#include "pack.hpp"

#include <array>
#include <utility>

#if defined(__AVX512F__)

// g++ 12 warns of the undefined operand inside its own intrinsics.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace moebal::network {

inline void exchange(__m512& high, __m512& low) {
  __m512 const least = _mm512_min_ps(high, low);
  high = _mm512_max_ps(high, low);
  low = least;
}
inline void exchange(__m512i& high, __m512i& low) { // 64-bit rank words
  __m512i const least = _mm512_min_epu64(high, low);
  high = _mm512_max_epu64(high, low);
  low = least;
}
inline __m512 larger(__m512 a, __m512 b) { return _mm512_max_ps(a, b); }
inline __m512i larger(__m512i a, __m512i b) { return _mm512_max_epu64(a, b); }

struct Comparator {
  int high, low;
};

/// Comparators of Batcher's odd-even merge sort of N = 2^m elements, largest first.
template <int N> constexpr auto sorting() {
  constexpr auto walk = [](auto visit) {
    for (int p = 1; p < N; p *= 2)
      for (int k = p; k >= 1; k /= 2)
        for (int j = k % p; j + k < N; j += 2 * k)
          for (int i = 0; i < k && i + j + k < N; ++i)
            if ((i + j) / (2 * p) == (i + j + k) / (2 * p)) visit(Comparator{i + j, i + j + k});
  };
  constexpr int count = [walk] {
    int n = 0;
    walk([&n](Comparator) { ++n; });
    return n;
  }();
  std::array<Comparator, std::size_t(count)> list{};
  std::size_t at = 0;
  walk([&](Comparator c) { list[at++] = c; });
  return list;
}
/// Comparators that sort a bitonic sequence of N = 2^m elements, largest first.
template <int N> constexpr auto merging() {
  constexpr int levels = [] {
    int n = 0;
    for (int s = N; s > 1; s /= 2) ++n;
    return n;
  }();
  std::array<Comparator, std::size_t(levels * N / 2)> list{};
  std::size_t at = 0;
  for (int s = N / 2; s >= 1; s /= 2)
    for (int i = 0; i < N; ++i)
      if ((i & s) == 0) list[at++] = {i, i + s};
  return list;
}

template <auto list, int first, class R> [[gnu::always_inline]] inline void apply(R* a) {
  [a]<std::size_t... I>(std::index_sequence<I...>) __attribute__((always_inline)) {
    (exchange(a[first + list[I].high], a[first + list[I].low]), ...);
  }(std::make_index_sequence<list.size()>{});
}

/// The K largest of 16 elements to the front, largest first; the rest is left in disorder.
template <int K, class R> [[gnu::always_inline]] inline void best_first(R* a) {
  constexpr int block = K <= 1 ? 1 : K <= 2 ? 2 : K <= 4 ? 4 : K <= 8 ? 8 : 16;
  [a]<int... B>(std::integer_sequence<int, B...>) __attribute__((always_inline)) {
    if constexpr (block > 1) (apply<sorting<block>(), B * block>(a), ...);
    // Of two sorted blocks, the larger of i from the front and i from the back are the best of both, and bitonic.
    auto const merge = [a]<int other>(std::integral_constant<int, other>) __attribute__((always_inline)) {
      if constexpr (other > 0) {
        [a]<std::size_t... I>(std::index_sequence<I...>) __attribute__((always_inline)) {
          ((a[I] = larger(a[I], a[other * block + block - 1 - int(I)])), ...);
        }(std::make_index_sequence<block>{});
        if constexpr (block > 1) apply<merging<block>(), 0>(a);
      }
    };
    (merge(std::integral_constant<int, B>{}), ...);
  }(std::make_integer_sequence<int, 16 / block>{});
}

/// The two largest of some numbers, in each lane.
struct BestTwo {
  __m512 first, second;
};
inline BestTwo better_of(BestTwo a, BestTwo b) {
  return {_mm512_max_ps(a.first, b.first),
          _mm512_max_ps(_mm512_min_ps(a.first, b.first), _mm512_max_ps(a.second, b.second))};
}
/// The two largest of the 16 lanes of each row: lane r of the result is row r. Each level halves the lanes of a row by putting two
/// rows side by side, so that the transposition costs nothing.
inline BestTwo across(BestTwo (&rows)[16]) {
  auto const level = [](BestTwo a, BestTwo b, auto left, auto right) {
    return better_of({left(a.first, b.first), left(a.second, b.second)}, {right(a.first, b.first), right(a.second, b.second)});
  };
  BestTwo eight[8], four[4], two[2];
  for (int r = 0; r < 8; ++r)
    eight[r] = level(
        rows[r], rows[r + 8], [](__m512 a, __m512 b) { return _mm512_shuffle_f32x4(a, b, 0x44); },
        [](__m512 a, __m512 b) { return _mm512_shuffle_f32x4(a, b, 0xee); });
  for (int r = 0; r < 4; ++r)
    four[r] = level(
        eight[r], eight[r + 4], [](__m512 a, __m512 b) { return _mm512_shuffle_f32x4(a, b, 0x88); },
        [](__m512 a, __m512 b) { return _mm512_shuffle_f32x4(a, b, 0xdd); });
  auto const pd = [](__m512 x) { return _mm512_castps_pd(x); };
  for (int r = 0; r < 2; ++r)
    two[r] = level(
        four[r], four[r + 2], [pd](__m512 a, __m512 b) { return _mm512_castpd_ps(_mm512_unpacklo_pd(pd(a), pd(b))); },
        [pd](__m512 a, __m512 b) { return _mm512_castpd_ps(_mm512_unpackhi_pd(pd(a), pd(b))); });
  BestTwo const one = level(
      two[0], two[1], [](__m512 a, __m512 b) { return _mm512_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0)); },
      [](__m512 a, __m512 b) { return _mm512_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1)); });
  // Lanes now hold rows 0 2 1 3, 8 10 9 11, 4 6 5 7, 12 14 13 15.
  __m512i const order = _mm512_setr_epi32(0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15);
  return {_mm512_permutexvar_ps(order, one.first), _mm512_permutexvar_ps(order, one.second)};
}

/// 16 x 16 elements of 32 bits: row r, element c <-> row c, element r.
inline void transpose(__m512 (&r)[16]) {
  __m512 t[16];
  for (int i = 0; i < 16; i += 4) { // 4 x 4 blocks within the quarters of four registers
    __m512 const a = _mm512_unpacklo_ps(r[i], r[i + 1]), b = _mm512_unpackhi_ps(r[i], r[i + 1]);
    __m512 const c = _mm512_unpacklo_ps(r[i + 2], r[i + 3]), d = _mm512_unpackhi_ps(r[i + 2], r[i + 3]);
    auto const pd = [](__m512 x) { return _mm512_castps_pd(x); };
    t[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(a), pd(c)));
    t[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(a), pd(c)));
    t[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(b), pd(d)));
    t[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(b), pd(d)));
  }
  for (int i = 0; i < 4; ++i) { // then the quarters
    __m512 const a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88), b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
    __m512 const c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88), d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
    r[i] = _mm512_shuffle_f32x4(a, c, 0x88);
    r[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
    r[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
    r[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}
inline void transpose(__m512i (&r)[16]) {
  __m512 f[16];
  for (int i = 0; i < 16; ++i) f[i] = _mm512_castsi512_ps(r[i]);
  transpose(f);
  for (int i = 0; i < 16; ++i) r[i] = _mm512_castps_si512(f[i]);
}

} // namespace moebal::network

#pragma GCC diagnostic pop

#endif
