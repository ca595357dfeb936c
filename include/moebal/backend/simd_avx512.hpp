// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The 512-bit registers of x86 as the tile (backend/tile.hpp) sees them: what one register can, and what rows and columns
// take several for. A machine is a type with these members.

#include "simd_avx512_lanes.hpp"

#if defined(MOEBAL_AVX512)

MOEBAL_BEGIN_AVX512

namespace moebal {

struct Avx512 : Avx512Lanes {
  /// f(), compiled for this machine with all that it calls.
  template <class Work> MOEBAL_COMPILED_APART static void run(Work const& f) { f(); }

  /// Bit i: row[i] >= bound, for n <= 64 elements.
  static std::uint64_t reach(float const* row, Index n, F bound) {
    std::uint64_t mask = 0;
    if (n == 64) {
      for (int c = 0; c < 4; ++c) mask |= std::uint64_t(bits(at_least(load(row + 16 * c), bound))) << (16 * c);
    } else {
      for (Index c = 0; c < n; c += 16) {
        Mask const here = head(n - c);
        mask |=
            std::uint64_t(bits(_mm512_mask_cmp_ps_mask(here, _mm512_maskz_loadu_ps(here, row + c), bound, _CMP_GE_OQ)))
            << c;
      }
    }
    return mask;
  }
  /// The first 16 set bits of the mask, as numbers from `first` on. Writes 16 elements.
  static void append(std::uint64_t mask, std::int32_t first, std::int32_t* found) {
    store(found, add(set_bits(mask), set(first)));
  }
  /// The same where bits 16 p to 16 p + 15 count from first[p] on.
  static void append_parts(std::uint64_t mask, std::int32_t const (&first)[4], std::int32_t* found) {
    I const bit = set_bits(mask);
    I const from = _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<__m128i const*>(first)));
    store(found, add(both(bit, set(15)), _mm512_permutexvar_epi32(right<4>(bit), from)));
  }

  /// Registers of 4 lanes-quarters: quarter q of r[i] becomes elements q * 4 + i of r[0 .. 3]: a 4 x 4 transposition in
  /// each quarter.
  static void transpose_quarters(F* r) {
    F const a = _mm512_unpacklo_ps(r[0], r[1]), b = _mm512_unpackhi_ps(r[0], r[1]);
    F const c = _mm512_unpacklo_ps(r[2], r[3]), d = _mm512_unpackhi_ps(r[2], r[3]);
    r[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(a), pd(c)));
    r[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(a), pd(c)));
    r[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(b), pd(d)));
    r[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(b), pd(d)));
  }
  /// 16 x 16 elements: row r, element c <-> row c, element r.
  static void transpose(F (&r)[16]) {
    for (int i = 0; i < 16; i += 4) transpose_quarters(r + i);
    F t[16];
    for (int i = 0; i < 16; ++i) t[i] = r[i];
    for (int i = 0; i < 4; ++i) {
      F const a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88), b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
      F const c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88), d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
      r[i] = _mm512_shuffle_f32x4(a, c, 0x88);
      r[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
      r[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
      r[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
  }
  /// 16 rows of n <= 8 elements, `stride` apart, as 8 columns: element r of columns[c] is row r, element c, or -inf.
  static void few_columns(float const* rows, Index stride, Index n, F* columns) {
    F t[8];
    if (n == 8) {
      for (int i = 0; i < 8; ++i)
        t[i] = _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(rows + i * stride)),
                                  _mm256_loadu_ps(rows + (i + 8) * stride), 1);
      return transpose_halves(t, columns);
    }
    __mmask8 const head = __mmask8((1u << n) - 1);
    __m256 const none = _mm256_set1_ps(-__builtin_inff());
    for (int i = 0; i < 8; ++i)
      t[i] = _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_mask_loadu_ps(none, head, rows + i * stride)),
                                _mm256_mask_loadu_ps(none, head, rows + (i + 8) * stride), 1);
    transpose_halves(t, columns);
  }
  /// n <= 4 columns to 16 rows of at least n elements, `stride` apart.
  static void store_columns(F* columns, int n, float* rows, Index stride) {
    transpose_quarters(columns);
    for (int i = 0; i < 4; ++i) {
      store_quarter<0>(columns[i], n, rows + i * stride);
      store_quarter<1>(columns[i], n, rows + (4 + i) * stride);
      store_quarter<2>(columns[i], n, rows + (8 + i) * stride);
      store_quarter<3>(columns[i], n, rows + (12 + i) * stride);
    }
  }

  /// counts[id - first] += 1 for the n ids in each live row that are among the `size` from `first` on, at most 8. A row's
  /// ids differ, so that a counter of a byte suffices: eight of them are one word, a word a row and choice.
  static void count_eight(std::int32_t const (*ids)[16], Index n, unsigned live, Index first, Index size,
                          std::int64_t* counts) {
    __m512i const one = _mm512_set1_epi64(1);
    __m512i low = _mm512_maskz_mov_epi64(__mmask8(live), one), high = _mm512_maskz_mov_epi64(__mmask8(live >> 8), one);
    __m512i words = _mm512_setzero_si512();
    for (Index k = 0; k < n; ++k) {
      I const shift = left<3>(subtract(load(ids[k]), set(int(first)))); // 64 and more, also as unsigned: nothing is left
      words = _mm512_add_epi64(
          words, _mm512_add_epi64(_mm512_sllv_epi64(low, _mm512_cvtepi32_epi64(_mm512_castsi512_si256(shift))),
                                  _mm512_sllv_epi64(high, _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(shift, 1)))));
    }
    std::uint64_t const total = std::uint64_t(_mm512_reduce_add_epi64(words));
    __mmask8 const some = size >= 8 ? __mmask8(-1) : __mmask8((1u << size) - 1);
    __m512i const added = _mm512_cvtepu8_epi64(_mm_cvtsi64_si128(std::int64_t(total)));
    _mm512_mask_storeu_epi64(counts, some, _mm512_add_epi64(_mm512_maskz_loadu_epi64(some, counts), added));
  }

  /// sums[e] += the sum of values[e], for the first n of 8.
  static void add_sums(Pack<std::int64_t, 8> const (&values)[8], Index n, std::int64_t* sums) {
    I a[4], b[2];
    for (int i = 0; i < 4; ++i) {
      __m512i const x = __m512i(values[2 * i].v), y = __m512i(values[2 * i + 1].v);
      a[i] = _mm512_add_epi64(_mm512_unpacklo_epi64(x, y), _mm512_unpackhi_epi64(x, y));
    }
    for (int i = 0; i < 2; ++i) b[i] = sum_halves(a[2 * i], a[2 * i + 1]);
    __mmask8 const some = n >= 8 ? __mmask8(-1) : __mmask8((1u << n) - 1);
    _mm512_mask_storeu_epi64(sums, some, _mm512_add_epi64(_mm512_maskz_loadu_epi64(some, sums), sum_halves(b[0], b[1])));
  }

  /// a0 b0 a1 b1 ... to 32 elements.
  static void store_pairs(F a, F b, float* p) {
    __m512i const first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    store(p, _mm512_permutex2var_ps(a, first, b));
    store(p + 16, _mm512_permutex2var_ps(a, _mm512_add_epi32(first, set(8)), b));
  }

  /// A step of across() (backend/register.hpp).
  template <int step> static F pairs(F a, F b) {
    if constexpr (step == 0) return _mm512_shuffle_f32x4(a, b, 0x44);
    if constexpr (step == 1) return _mm512_shuffle_f32x4(a, b, 0xee);
    if constexpr (step == 2) return _mm512_shuffle_f32x4(a, b, 0x88);
    if constexpr (step == 3) return _mm512_shuffle_f32x4(a, b, 0xdd);
    if constexpr (step == 4) return _mm512_castpd_ps(_mm512_unpacklo_pd(pd(a), pd(b)));
    if constexpr (step == 5) return _mm512_castpd_ps(_mm512_unpackhi_pd(pd(a), pd(b)));
    if constexpr (step == 6) return _mm512_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0));
    if constexpr (step == 7) return _mm512_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1));
    // Lanes now hold rows 0 2 1 3, 8 10 9 11, 4 6 5 7, 12 14 13 15.
    if constexpr (step == 8)
      return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15), a);
  }

private:
  static I sum_halves(I x, I y) {
    return _mm512_add_epi64(_mm512_shuffle_i64x2(x, y, 0x88), _mm512_shuffle_i64x2(x, y, 0xdd));
  }
  // t[i] has rows i and i + 8.
  static void transpose_halves(F (&t)[8], F* columns) {
    transpose_quarters(t);     // quarters: columns 0-3 of rows 0-3, 4-7 of 0-3, 0-3 of 8-11, 4-7 of 8-11
    transpose_quarters(t + 4); // the same of rows 4-7 and 12-15
    __m512i const even = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13),
                  odd = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    for (int i = 0; i < 4; ++i) {
      columns[i] = _mm512_castpd_ps(_mm512_permutex2var_pd(pd(t[i]), even, pd(t[i + 4])));
      columns[i + 4] = _mm512_castpd_ps(_mm512_permutex2var_pd(pd(t[i]), odd, pd(t[i + 4])));
    }
  }
  static I set_bits(std::uint64_t mask) {
#if MOEBAL_AVX512 == 2 || defined(__AVX512VBMI2__)
    static constexpr struct Bytes {
      alignas(64) unsigned char v[64];
      constexpr Bytes() : v{} {
        for (int i = 0; i < 64; ++i) v[i] = static_cast<unsigned char>(i);
      }
    } positions;
    __m512i const packed = _mm512_maskz_compress_epi8(mask, _mm512_load_si512(positions.v));
    return _mm512_cvtepu8_epi32(_mm512_castsi512_si128(packed));
#else
    alignas(64) std::int32_t bit[16];
    for (int i = 0; i < 16; ++i, mask &= mask - 1) bit[i] = std::int32_t(mask != 0 ? __builtin_ctzll(mask) : 0);
    return load(bit);
#endif
  }
  template <int q> static void store_quarter(F x, int n, float* p) {
    __m128 const part = _mm512_extractf32x4_ps(x, q);
    if (n == 4)
      _mm_storeu_ps(p, part);
    else
      _mm_mask_storeu_ps(p, __mmask8((1u << n) - 1), part);
  }
};

} // namespace moebal

MOEBAL_END_MACHINE

#endif
