// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "pack.hpp"

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
  template <class To> static Twin<To, 16> widen(V x) // g++ 12 converts in quarters
    requires std::is_same_v<To, double>
  {
    using Wide = typename Pack<double, 8>::native;
    __m256 parts[2]; // a cast to the lower half warns as above
    __builtin_memcpy(parts, &x.v, sizeof(parts));
    return {Wide(_mm512_maskz_cvtps_pd(__mmask8(-1), parts[0])), Wide(_mm512_maskz_cvtps_pd(__mmask8(-1), parts[1]))};
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
};

} // namespace moebal

MOEBAL_END_MACHINE

#endif
