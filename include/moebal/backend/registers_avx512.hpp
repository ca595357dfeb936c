// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "pack.hpp"

#include <utility>

#if defined(MOEBAL_AVX512)

#include <immintrin.h>

MOEBAL_BEGIN_AVX512

namespace moebal {

// Masked forms, because g++ 12 warns of the undefined operand inside the plain ones.
template <> struct Registers<16> {
  using V = Pack<float, 16>;

  static V splat(float x) { return V(V::native(_mm512_set1_ps(x))); }
  static V fma(V a, V b, V c) { return V(V::native(_mm512_fmadd_ps(__m512(a.v), __m512(b.v), __m512(c.v)))); }
  static V min(V a, V b) { return V(V::native(_mm512_maskz_min_ps(__mmask16(-1), __m512(a.v), __m512(b.v)))); }
  static V max(V a, V b) { return V(V::native(_mm512_maskz_max_ps(__mmask16(-1), __m512(a.v), __m512(b.v)))); }
  static V reciprocal(V x) { return V(V::native(_mm512_maskz_rcp14_ps(__mmask16(-1), __m512(x.v)))); }
  static V sqrt(V x) { return V(V::native(_mm512_maskz_sqrt_ps(__mmask16(-1), __m512(x.v)))); }
  static bool any(Mask<16> m) { return _mm512_test_epi32_mask(__m512i(m.v), __m512i(m.v)) != 0; }
  template <class To> static Twin<To, 16> widen(V x) // g++ 12 converts in quarters
    requires std::is_same_v<To, double>
  {
    using Wide = typename Pack<double, 8>::native;
    __m256 parts[2]; // a cast to the lower half warns as above
    __builtin_memcpy(parts, &x.v, sizeof(parts));
    return {Wide(_mm512_maskz_cvtps_pd(__mmask8(-1), parts[0])), Wide(_mm512_maskz_cvtps_pd(__mmask8(-1), parts[1]))};
  }
  static Twin<std::int64_t, 16> nearest(V x) {
    using Wide = typename Pack<std::int64_t, 8>::native;
    __m256 parts[2];
    __builtin_memcpy(parts, &x.v, sizeof(parts));
    return {Wide(_mm512_maskz_cvtps_epi64(__mmask8(-1), parts[0])), Wide(_mm512_maskz_cvtps_epi64(__mmask8(-1), parts[1]))};
  }
  template <class T, class Part> static void load_head(T const* p, int count, Part& value) {
    if constexpr (sizeof(T) == 4)
      value = __builtin_bit_cast(Part, _mm512_maskz_loadu_epi32(__mmask16((1u << count) - 1), p));
    else
      value = __builtin_bit_cast(Part, _mm512_maskz_loadu_epi64(__mmask8((1u << count) - 1), p));
  }
  template <class T, class Part> static void store_head(T* p, Part const& value, int count) {
    if constexpr (sizeof(T) == 4)
      _mm512_mask_storeu_epi32(p, __mmask16((1u << count) - 1), __builtin_bit_cast(__m512i, value));
    else
      _mm512_mask_storeu_epi64(p, __mmask8((1u << count) - 1), __builtin_bit_cast(__m512i, value));
  }

  /// The `count` <= 16 largest of n words, the largest first, to out [32]: words are distinct or 0. False, and nothing is found, where
  /// more than 16 reach the bound that the maxima of 16 columns give (backend/tile.hpp).
  static bool largest(std::uint64_t const* words, Index n, Index count, std::uint64_t* out) {
    __m512i low = _mm512_setzero_si512(), high = low;
    Index e = 0;
    for (; e + 16 <= n; e += 16) {
      low = _mm512_max_epu64(low, _mm512_loadu_si512(words + e));
      high = _mm512_max_epu64(high, _mm512_loadu_si512(words + e + 8));
    }
    Index const left = n - e;
    __mmask8 const low_left = first_of(left), high_left = first_of(left - 8);
    low = _mm512_max_epu64(low, _mm512_maskz_loadu_epi64(low_left, words + e));
    high = _mm512_max_epu64(high, _mm512_maskz_loadu_epi64(high_left, words + e + 8));
    __m512i const last = _mm512_set1_epi64(count - 1);
    __m512i of_low, of_high;
    ranks(low, high, of_low, of_high);
    __m512i const bound = _mm512_broadcastq_epi64(_mm512_castsi512_si128(
        _mm512_or_si512(_mm512_maskz_compress_epi64(_mm512_cmpeq_epi64_mask(of_low, last), low),
                        _mm512_maskz_compress_epi64(_mm512_cmpeq_epi64_mask(of_high, last), high))));

    alignas(64) std::uint64_t found[24];
    Index reached = 0;
    auto const keep = [&](__mmask8 here, __m512i x) {
      __mmask8 const reach = _mm512_mask_cmpge_epu64_mask(here, x, bound);
      _mm512_storeu_si512(found + reached, _mm512_maskz_compress_epi64(reach, x));
      reached += __builtin_popcount(reach);
      return reached <= 16;
    };
    for (e = 0; e + 8 <= n; e += 8)
      if (!keep(__mmask8(-1), _mm512_loadu_si512(words + e))) return false;
    if (e < n && !keep(first_of(n - e), _mm512_maskz_loadu_epi64(first_of(n - e), words + e))) return false;

    low = _mm512_maskz_loadu_epi64(first_of(reached), found);
    high = _mm512_maskz_loadu_epi64(first_of(reached - 8), found + 8);
    ranks(low, high, of_low, of_high);
    alignas(64) std::uint64_t word[16], rank[16];
    _mm512_store_si512(word, low);
    _mm512_store_si512(word + 8, high);
    _mm512_store_si512(rank, of_low);
    _mm512_store_si512(rank + 8, of_high);
    for (int i = 0; i < 16; ++i) out[i] = 0;
    for (int i = 0; i < 16; ++i) out[rank[i]] = word[i]; // zeros come after all others
    return true;
  }

private:
  static __mmask8 first_of(Index n) { return n >= 8 ? __mmask8(-1) : __mmask8((1u << (n > 0 ? n : 0)) - 1); }
  // For each of 16 words, how many are larger.
  static void ranks(__m512i low, __m512i high, __m512i& of_low, __m512i& of_high) {
    of_low = of_high = _mm512_setzero_si512();
    __m512i const one = _mm512_set1_epi64(1);
    auto const count = [one](__m512i& rank, __m512i other, __m512i own) {
      rank = _mm512_mask_add_epi64(rank, _mm512_cmpgt_epu64_mask(other, own), rank, one);
    };
    [&]<int... s>(std::integer_sequence<int, s...>) {
      (
          [&] {
            __m512i const l = _mm512_alignr_epi64(low, low, s), h = _mm512_alignr_epi64(high, high, s);
            count(of_low, h, low);
            count(of_high, l, high);
            if constexpr (s > 0) {
              count(of_low, l, low);
              count(of_high, h, high);
            }
          }(),
          ...);
    }(std::make_integer_sequence<int, 8>());
  }
};

} // namespace moebal

MOEBAL_END_MACHINE

#endif
