// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The 256-bit registers of x86 as the tile (backend/tile.hpp) sees them: 8 lanes of 32 bits. The members mean what those of
// backend/simd_avx512.hpp mean.

#include "pack.hpp"
#include "register.hpp"

#if defined(MOEBAL_AVX2)

MOEBAL_BEGIN_AVX2

namespace moebal {

struct Avx2 {
  static constexpr int width = 8;
  using F = Register<__m256>;
  using I = Register<__m256i>;
  using D = Register<__m256d>;
  struct Mask {
    I v;
  };

  /// f(), compiled for this machine with all that it calls.
  template <class Work> MOEBAL_COMPILED_APART static void run(Work const& f) { f(); }

  static F set(float x) { return _mm256_set1_ps(x); }
  static I set(std::int32_t x) { return _mm256_set1_epi32(x); }
  static D zero_words() { return _mm256_setzero_pd(); }
  static I numbers() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
  static F load(float const* p) { return _mm256_loadu_ps(p); }
  static I load(std::int32_t const* p) { return _mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)); }
  static void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  static void store(std::int32_t* p, I x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
  static F load_head(float const* p, Index n, F rest) {
    if (n >= 8) return load(p);
    I const live = Registers<8>::head_words(int(n));
    return _mm256_blendv_ps(rest, _mm256_maskload_ps(p, live), as_float(live));
  }
  static F gather(float const* p, I at, Mask live) {
    return _mm256_mask_i32gather_ps(_mm256_setzero_ps(), p, at, as_float(live.v), 4);
  }

  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static D max(D a, D b) { return _mm256_max_pd(a, b); }
  static D min(D a, D b) { return _mm256_min_pd(a, b); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F subtract(F a, F b) { return _mm256_sub_ps(a, b); }
  static F multiply(F a, F b) { return _mm256_mul_ps(a, b); }
  static I add(I a, I b) { return _mm256_add_epi32(a, b); }
  static I subtract(I a, I b) { return _mm256_sub_epi32(a, b); }
  static I multiply(I a, I b) { return _mm256_mullo_epi32(a, b); }
  static I both(I a, I b) { return _mm256_and_si256(a, b); }
  static I either(I a, I b) { return _mm256_or_si256(a, b); }
  static I differ(I a, I b) { return _mm256_xor_si256(a, b); }
  template <int n> static I left(I a) { return _mm256_slli_epi32(a, n); }
  template <int n> static I right(I a) { return _mm256_srli_epi32(a, n); }
  static I signs(I a) { return _mm256_srai_epi32(a, 31); }

  static Mask at_least(F a, F b) { return {as_int(_mm256_cmp_ps(a, b, _CMP_GE_OQ))}; }
  static Mask equal(F a, F b) { return {as_int(_mm256_cmp_ps(a, b, _CMP_EQ_OQ))}; }
  static Mask greater(F a, F b) { return {as_int(_mm256_cmp_ps(a, b, _CMP_GT_OQ))}; }
  static Mask unordered(F a, F b) { return {as_int(_mm256_cmp_ps(a, b, _CMP_UNORD_Q))}; }
  static Mask nan(F a) { return {as_int(_mm256_cmp_ps(a, a, _CMP_UNORD_Q))}; }
  static Mask greater(I a, I b) { return {_mm256_cmpgt_epi32(a, b)}; }
  static Mask equal(I a, I b) { return {_mm256_cmpeq_epi32(a, b)}; }
  static Mask all() { return {_mm256_set1_epi32(-1)}; }
  static unsigned bits(Mask m) { return unsigned(_mm256_movemask_ps(as_float(m.v))); }
  static F select(Mask m, F yes, F no) { return _mm256_blendv_ps(no, yes, as_float(m.v)); }
  static I select(Mask m, I yes, I no) { return _mm256_blendv_epi8(no, yes, m.v); }

  static I as_int(F a) { return _mm256_castps_si256(a); }
  static F as_float(I a) { return _mm256_castsi256_ps(a); }
  /// Lanes 0 1 4 5 and lanes 2 3 6 7.
  static D words_low(I low, I high) { return _mm256_castsi256_pd(_mm256_unpacklo_epi32(low, high)); }
  static D words_high(I low, I high) { return _mm256_castsi256_pd(_mm256_unpackhi_epi32(low, high)); }
  static I low_halves(D a, D b) {
    return as_int(_mm256_shuffle_ps(_mm256_castpd_ps(a), _mm256_castpd_ps(b), _MM_SHUFFLE(2, 0, 2, 0)));
  }

  static std::uint64_t reach(float const* row, Index n, F bound) {
    std::uint64_t mask = 0;
    if (n == 64) {
      for (int c = 0; c < 8; ++c) mask |= std::uint64_t(bits(at_least(load(row + 8 * c), bound))) << (8 * c);
    } else {
      F const none = _mm256_cmp_ps(bound, bound, _CMP_TRUE_UQ); // a NaN
      for (Index c = 0; c < n; c += 8)
        mask |= std::uint64_t(bits(at_least(load_head(row + c, n - c, none), bound))) << c;
    }
    return mask;
  }
  // Eight are nearly always enough, and a loop that stops at the last bit would be mispredicted once a row.
  static void append(std::uint64_t mask, std::int32_t first, std::int32_t* found) {
    for (int i = 0; i < 8; ++i, mask &= mask - 1) found[i] = first + std::int32_t(_tzcnt_u64(mask));
    if (mask != 0)
      for (int i = 8; i < 16; ++i, mask &= mask - 1) found[i] = first + std::int32_t(_tzcnt_u64(mask));
  }
  static void append_parts(std::uint64_t mask, std::int32_t const (&first)[4], std::int32_t* found) {
    for (int i = 0; i < 8; ++i, mask &= mask - 1) found[i] = in_parts(mask, first);
    if (mask != 0)
      for (int i = 8; i < 16; ++i, mask &= mask - 1) found[i] = in_parts(mask, first);
  }

  /// 8 x 8 elements: row r, element c <-> row c, element r.
  static void transpose(F (&r)[8]) {
    transpose_quarters(r);
    transpose_quarters(r + 4);
    for (int i = 0; i < 4; ++i) {
      F const a = r[i], b = r[i + 4];
      r[i] = _mm256_permute2f128_ps(a, b, 0x20);
      r[i + 4] = _mm256_permute2f128_ps(a, b, 0x31);
    }
  }
  static void few_columns(float const* rows, Index stride, Index n, F* columns) {
    F block[8];
    for (int r = 0; r < 8; ++r) block[r] = load_head(rows + r * stride, n, set(-__builtin_inff()));
    transpose(block);
    for (int c = 0; c < 8; ++c) columns[c] = block[c];
  }
  static void store_columns(F* columns, int n, float* rows, Index stride) {
    transpose_quarters(columns);
    __m128i const live = _mm_cmpgt_epi32(_mm_set1_epi32(n), _mm_setr_epi32(0, 1, 2, 3));
    for (int i = 0; i < 4; ++i) {
      __m128 const low = _mm256_castps256_ps128(columns[i]), high = _mm256_extractf128_ps(columns[i], 1);
      if (n == 4) {
        _mm_storeu_ps(rows + i * stride, low);
        _mm_storeu_ps(rows + (4 + i) * stride, high);
      } else {
        _mm_maskstore_ps(rows + i * stride, live, low);
        _mm_maskstore_ps(rows + (4 + i) * stride, live, high);
      }
    }
  }
  static void count_eight(std::int32_t const (*ids)[8], Index n, unsigned live, Index first, Index size,
                          std::int64_t* counts) {
    I const row = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128), lives = set(std::int32_t(live));
    I const one = _mm256_and_si256(_mm256_cmpeq_epi32(_mm256_and_si256(lives, row), row), _mm256_set1_epi32(1));
    __m256i const low = _mm256_cvtepu32_epi64(_mm256_castsi256_si128(one)),
                  high = _mm256_cvtepu32_epi64(_mm256_extracti128_si256(one, 1));
    __m256i words = _mm256_setzero_si256();
    for (Index k = 0; k < n; ++k) {
      I const shift = left<3>(subtract(load(ids[k]), set(int(first))));
      words = _mm256_add_epi64(words, _mm256_sllv_epi64(low, _mm256_cvtepi32_epi64(_mm256_castsi256_si128(shift))));
      words = _mm256_add_epi64(words, _mm256_sllv_epi64(high, _mm256_cvtepi32_epi64(_mm256_extracti128_si256(shift, 1))));
    }
    std::uint64_t word[4];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(word), words);
    std::uint64_t const total = word[0] + word[1] + word[2] + word[3];
    for (Index e = 0; e < size && e < 8; ++e) counts[e] += std::int64_t(total >> (8 * e) & 255);
  }
  static void store_pairs(F a, F b, float* p) {
    F const low = _mm256_unpacklo_ps(a, b), high = _mm256_unpackhi_ps(a, b);
    store(p, _mm256_permute2f128_ps(low, high, 0x20));
    store(p + 8, _mm256_permute2f128_ps(low, high, 0x31));
  }

  /// A step of across() (backend/register.hpp).
  template <int step> static F pairs(F a, F b) {
    if constexpr (step == 0) return _mm256_permute2f128_ps(a, b, 0x20);
    if constexpr (step == 1) return _mm256_permute2f128_ps(a, b, 0x31);
    if constexpr (step == 2) return _mm256_castpd_ps(_mm256_unpacklo_pd(pd(a), pd(b)));
    if constexpr (step == 3) return _mm256_castpd_ps(_mm256_unpackhi_pd(pd(a), pd(b)));
    if constexpr (step == 4) return _mm256_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0));
    if constexpr (step == 5) return _mm256_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1));
    if constexpr (step == 6) return _mm256_permute_ps(a, _MM_SHUFFLE(3, 1, 2, 0)); // lanes held rows 0 2 1 3, 4 6 5 7
  }

private:
  static std::int32_t in_parts(std::uint64_t mask, std::int32_t const (&first)[4]) {
    unsigned const bit = unsigned(_tzcnt_u64(mask)); // 64 past the last: any part will do
    return first[bit >> 4 & 3] + std::int32_t(bit & 15);
  }
  static void transpose_quarters(F* r) {
    F const a = _mm256_unpacklo_ps(r[0], r[1]), b = _mm256_unpackhi_ps(r[0], r[1]);
    F const c = _mm256_unpacklo_ps(r[2], r[3]), d = _mm256_unpackhi_ps(r[2], r[3]);
    r[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(pd(a), pd(c)));
    r[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(pd(a), pd(c)));
    r[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(pd(b), pd(d)));
    r[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(pd(b), pd(d)));
  }
  static __m256d pd(F x) { return _mm256_castps_pd(x); }
};

} // namespace moebal

MOEBAL_END_MACHINE

#endif
