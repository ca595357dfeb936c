// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Sorting networks over registers: element i of every register belongs to row i, so a network sorts all rows at once
// and never branches. Comparators are generated when compiling, so that the registers of a network have constant names.
// M is a machine, as backend/simd_avx512.hpp.

#include <array>
#include <utility>

namespace moebal::network {

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

template <class M, class R> [[gnu::always_inline]] inline void exchange(R& high, R& low) {
  R const least = M::min(high, low);
  high = M::max(high, low);
  low = least;
}
template <class M, auto list, int first, class R> [[gnu::always_inline]] inline void apply(R* a) {
  [a]<std::size_t... I>(std::index_sequence<I...>) __attribute__((always_inline)) {
    (exchange<M>(a[first + list[I].high], a[first + list[I].low]), ...);
  }(std::make_index_sequence<list.size()>{});
}

/// The K largest of 16 elements to the front, largest first; the rest is left in disorder.
template <class M, int K, class R> [[gnu::always_inline]] inline void best_first(R* a) {
  constexpr int block = K <= 1 ? 1 : K <= 2 ? 2 : K <= 4 ? 4 : K <= 8 ? 8 : 16;
  [a]<int... B>(std::integer_sequence<int, B...>) __attribute__((always_inline)) {
    if constexpr (block > 1) (apply<M, sorting<block>(), B * block>(a), ...);
    // Of two sorted blocks, the larger of i from the front and i from the back are the best of both, and bitonic.
    auto const merge = [a]<int other>(std::integral_constant<int, other>) __attribute__((always_inline)) {
      if constexpr (other > 0) {
        [a]<std::size_t... I>(std::index_sequence<I...>) __attribute__((always_inline)) {
          ((a[I] = M::max(a[I], a[other * block + block - 1 - int(I)])), ...);
        }(std::make_index_sequence<block>{});
        if constexpr (block > 1) apply<M, merging<block>(), 0>(a);
      }
    };
    (merge(std::integral_constant<int, B>{}), ...);
  }(std::make_integer_sequence<int, 16 / block>{});
}

} // namespace moebal::network
