// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The 512-bit registers of x86: 16 lanes of 32 bits, one or two of them in, one out.

#include "pack.hpp"
#include "register.hpp"

#if defined(MOEBAL_AVX512)

MOEBAL_BEGIN_AVX512

namespace moebal {

/// One register at a time.
struct Avx512Lanes {
  static constexpr int width = 16;
  using F = Register<__m512>;
  using I = Register<__m512i>;
  using D = Register<__m512d>; // rank words, which compare as numbers
  using Mask = __mmask16;

  static F set(float x) { return _mm512_set1_ps(x); }
  static I set(std::int32_t x) { return _mm512_set1_epi32(x); }
  static D zero_words() { return _mm512_setzero_pd(); }
  static I numbers() { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
  static F load(float const* p) { return _mm512_loadu_ps(p); }
  static I load(std::int32_t const* p) { return _mm512_loadu_si512(p); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static void store(std::int32_t* p, I x) { _mm512_storeu_si512(p, x); }
  /// The first n elements of p, and `rest` after them.
  static F load_head(float const* p, Index n, F rest) { return _mm512_mask_loadu_ps(rest, head(n), p); }
  static F gather(float const* p, I at, Mask live) {
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), live, at, p, 4);
  }

  // Of two operands that are equal, or of which one is a NaN, the second.
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static D max(D a, D b) { return _mm512_max_pd(a, b); }
  static D min(D a, D b) { return _mm512_min_pd(a, b); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F subtract(F a, F b) { return _mm512_sub_ps(a, b); }
  static F multiply(F a, F b) { return _mm512_mul_ps(a, b); }
  static I add(I a, I b) { return _mm512_add_epi32(a, b); }
  static I subtract(I a, I b) { return _mm512_sub_epi32(a, b); }
  static I multiply(I a, I b) { return _mm512_mullo_epi32(a, b); }
  static I both(I a, I b) { return _mm512_and_si512(a, b); }
  static I either(I a, I b) { return _mm512_or_si512(a, b); }
  static I differ(I a, I b) { return _mm512_xor_si512(a, b); }
  template <int n> static I left(I a) { return _mm512_slli_epi32(a, n); }
  template <int n> static I right(I a) { return _mm512_srli_epi32(a, n); }
  static I signs(I a) { return _mm512_srai_epi32(a, 31); }

  static Mask at_least(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
  static Mask equal(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
  static Mask greater(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
  static Mask unordered(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q); }
  static Mask nan(F a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
  static Mask greater(I a, I b) { return _mm512_cmpgt_epi32_mask(a, b); }
  static Mask equal(I a, I b) { return _mm512_cmpeq_epi32_mask(a, b); }
  static Mask all() { return 0xffff; }
  static unsigned bits(Mask m) {
    unsigned b = m;
    asm("" : "+r"(b)); // g++ 12 may otherwise store two bytes of a mask to memory and load four
    return b;
  }
  static F select(Mask m, F yes, F no) { return _mm512_mask_mov_ps(no, m, yes); }
  static I select(Mask m, I yes, I no) { return _mm512_mask_mov_epi32(no, m, yes); }

  /// The elements of a, one after the other, in the lanes of m; 0 elsewhere.
  static I expand(Mask m, I a) { return _mm512_maskz_expand_epi32(m, a); }

  static I as_int(F a) { return _mm512_castps_si512(a); }
  static F as_float(I a) { return _mm512_castsi512_ps(a); }
  /// Words of 64 bits with these halves: lanes 0 1 4 5 8 9 ... and lanes 2 3 6 7 10 11 ...
  static D words_low(I low, I high) { return _mm512_castsi512_pd(_mm512_unpacklo_epi32(low, high)); }
  static D words_high(I low, I high) { return _mm512_castsi512_pd(_mm512_unpackhi_epi32(low, high)); }
  /// The lower halves of such words, one a lane again.
  static I low_halves(D a, D b) {
    return _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castpd_ps(a), _mm512_castpd_ps(b), _MM_SHUFFLE(2, 0, 2, 0)));
  }

protected:
  static __m512d pd(F x) { return _mm512_castps_pd(x); }
  static Mask head(Index n) { return n >= 16 ? Mask(0xffff) : Mask((1u << n) - 1); }
};

} // namespace moebal

MOEBAL_END_MACHINE

#endif
