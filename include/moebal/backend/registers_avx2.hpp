// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "pack.hpp"

#if defined(MOEBAL_AVX2)

#include <immintrin.h>

MOEBAL_BEGIN_AVX2

namespace moebal {

template <> struct Registers<8> {
  using V = Pack<float, 8>;

  static V splat(float x) { return V(V::native(_mm256_set1_ps(x))); }
  static V fma(V a, V b, V c) { return V(V::native(_mm256_fmadd_ps(__m256(a.v), __m256(b.v), __m256(c.v)))); }
  static V min(V a, V b) { return V(V::native(_mm256_min_ps(__m256(a.v), __m256(b.v)))); }
  static V max(V a, V b) { return V(V::native(_mm256_max_ps(__m256(a.v), __m256(b.v)))); }
  static V reciprocal(V x) { return V(V::native(_mm256_rcp_ps(__m256(x.v)))); }
  static V sqrt(V x) { return V(V::native(_mm256_sqrt_ps(__m256(x.v)))); }
  template <class T, class Part> static void load_head(T const* p, int count, Part& value) {
    if constexpr (sizeof(T) == 4)
      value = __builtin_bit_cast(Part, _mm256_maskload_epi32(reinterpret_cast<int const*>(p), head_words(count)));
    else
      value = __builtin_bit_cast(Part, _mm256_maskload_epi64(reinterpret_cast<long long const*>(p), head_pairs(count)));
  }
  template <class T, class Part> static void store_head(T* p, Part const& value, int count) {
    if constexpr (sizeof(T) == 4)
      _mm256_maskstore_epi32(reinterpret_cast<int*>(p), head_words(count), __builtin_bit_cast(__m256i, value));
    else
      _mm256_maskstore_epi64(reinterpret_cast<long long*>(p), head_pairs(count), __builtin_bit_cast(__m256i, value));
  }
  /// The first `count` of 8 elements.
  static __m256i head_words(int count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }

private:
  static __m256i head_pairs(int count) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
  }
};

} // namespace moebal

MOEBAL_END_MACHINE

#endif
