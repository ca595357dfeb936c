// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The K best of E keys for 16 rows at once, one row a lane, without a branch that depends on the keys. The plan of attack:
//   fold     each row to its 16 column maxima
//   bound    sort the 16 columns, one row a lane: the K-th largest column maximum cannot exceed the K-th largest key
//   filter   compare each row with its bound and keep the indices of the survivors, some K to 2K of them
//   sort     the survivors' rank words in a network, one row a lane
// A row with more than 16 survivors, or with NaN among its K best, is reported and left to the row form (select/rounds.hpp), which is
// also the oracle: both give the same ids for all keys. Costs and dead ends: docs/performance.md.

#include "network.hpp"
#include "pack.hpp"
#include "tile_lanes.hpp"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)

// g++ 12 warns of the undefined operand inside its own intrinsics.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace moebal {

struct Tile16 {
  static constexpr Index rows = 16;
  static constexpr int most_k = 16;
  static constexpr Index most_stride = 0x7fffffff / 16; // elements between rows: offsets within a tile have 32 bits
  using lanes = PackLanes<16>;
  using row_lanes = TileLanes;
  using pack = Pack<float, 16>;

  /// ids[k][row] = the id of the row's (k + 1)-th best key, for the rows whose bit in the result is 0.
  ///   keys [16, E], rows `stride` elements apart;  ids [K][16], out
  template <int K> static unsigned top_k(float const* keys, Index stride, Index experts, std::int32_t (*ids)[16]) {
    static_assert(K <= most_k);
    __m512i words[16][2];
    unsigned const missed = experts <= 16 ? all_words(keys, stride, experts, words) : survivors<K>(keys, stride, experts, words);
    best_ids<K>(words, ids);
    return missed;
  }

  /// The same within the `kept` best of `groups` groups of consecutive keys. A group ranks by the sum of its `summed` best members, 1 or
  /// 2 of them; equal groups: the lower one. Serves groups <= 16 and kept * summed >= K, where the smallest summed member of the kept
  /// groups is a bound: at least K keys reach it. All rows are left to the row form otherwise.
  template <int K>
  static unsigned group_limited_top_k(float const* keys, Index stride, Index experts, Index groups, Index kept, Index summed,
                                      std::int32_t (*ids)[16]) {
    static_assert(K <= most_k);
    if (groups > 16 || summed > 2 || kept * summed < K) return 0xffff;
    Index const size = experts / groups;
    __m512 sum[16], least[16]; // of each group, one row a lane
    for (Index g = 0; g < groups; ++g) group_scores(keys + g * size, stride, size, summed, sum[g], least[g]);

    __m512i better[16]; // groups that rank before g
    for (Index g = 0; g < groups; ++g) better[g] = _mm512_setzero_si512();
    __m512i const one = _mm512_set1_epi32(1);
    for (Index h = 0; h < groups; ++h)
      for (Index g = h + 1; g < groups; ++g) {
        __mmask16 const before = _mm512_cmp_ps_mask(sum[h], sum[g], _CMP_GE_OQ);
        better[g] = _mm512_mask_add_epi32(better[g], before, better[g], one);
        better[h] = _mm512_mask_add_epi32(better[h], __mmask16(~before), better[h], one);
      }
    unsigned missed = 0;
    __m512 bound = _mm512_set1_ps(__builtin_inff());
    __m512i chosen = _mm512_setzero_si512(); // a bit for each kept group
    __m512 const lowest = _mm512_set1_ps(-__builtin_inff());
    for (Index g = 0; g < groups; ++g) {
      __mmask16 const keep = _mm512_cmplt_epi32_mask(better[g], _mm512_set1_epi32(int(kept)));
      // Sums of -inf are told apart by NaN among the members, and a NaN sum comes of infinities: both are rare.
      missed |= _mm512_cmp_ps_mask(sum[g], sum[g], _CMP_UNORD_Q) | _mm512_mask_cmp_ps_mask(keep, sum[g], lowest, _CMP_EQ_OQ);
      bound = _mm512_mask_min_ps(bound, keep, least[g], bound);
      chosen = _mm512_mask_or_epi32(chosen, keep, chosen, _mm512_set1_epi32(1 << g));
    }
    alignas(64) float bounds[16];
    alignas(64) std::uint32_t kept_groups[16];
    _mm512_store_ps(bounds, bound);
    _mm512_store_si512(kept_groups, chosen);
    Found found;
    for (int r = 0; r < 16; ++r) {
      std::int32_t count = 0;
      if (!(missed >> r & 1))
        for (std::uint32_t left = kept_groups[r]; left != 0; left &= left - 1) {
          Index const first = Index(__builtin_ctz(left)) * size;
          count = filter(keys + r * stride, first, first + size, bounds[r], found.indices[r], count);
        }
      found.counts[r] = count;
    }
    __m512i words[16][2];
    missed |= found_words<K>(keys, stride, found, words);
    best_ids<K>(words, ids);
    return missed;
  }

  /// One element of each row.
  static pack gather(float const* rows_of, Index stride, std::int32_t const (&column)[16]) {
    __m512i const at = _mm512_add_epi32(row_offsets(stride), _mm512_loadu_si512(column));
    return pack(typename pack::native(_mm512_i32gather_ps(at, rows_of, 4)));
  }

private:
  /// Survivors of each row: how many there are, and the indices of the first 16.
  struct Found {
    alignas(64) std::int32_t indices[16][32]; // appending writes 16 past the 16th
    alignas(64) std::int32_t counts[16];
  };

  template <int K> static void best_ids(__m512i const (&words)[16][2], std::int32_t (*ids)[16]) {
    __m512i best[2][K];
    for (int half = 0; half < 2; ++half) {
      __m512i column[16];
      for (int j = 0; j < 16; ++j) column[j] = words[j][half];
      network::best_first<K>(column);
      for (int k = 0; k < K; ++k) best[half][k] = column[k];
    }
    for (int k = 0; k < K; ++k) {
      // The low half of a word is 0x7fffffff - id; even elements of both halves are the 16 rows in order again.
      auto const low = _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castsi512_ps(best[0][k]), _mm512_castsi512_ps(best[1][k]),
                                                             _MM_SHUFFLE(2, 0, 2, 0)));
      _mm512_storeu_si512(ids[k], _mm512_sub_epi32(_mm512_set1_epi32(0x7fffffff), low));
    }
  }

  static __m512i row_offsets(Index stride) {
    return _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32(int(stride)));
  }
  /// Rank words of one candidate of each row; rows outside `valid` get 0, below every candidate.
  static void to_words(__mmask16 valid, __m512 key, __m512i low, __m512i (&words)[2]) {
    __m512i const raw = _mm512_castps_si512(key);
    __m512i const bits = _mm512_maskz_mov_epi32(_mm512_cmpneq_epi32_mask(raw, _mm512_set1_epi32(int(0x80000000u))), raw); // no -0
    __m512i const sign = _mm512_srai_epi32(bits, 31);
    // bits ^ (sign | 0x80000000): order_key of a number
    __m512i const high = _mm512_maskz_ternarylogic_epi32(valid, bits, sign, _mm512_set1_epi32(int(0x80000000u)), 0x1e);
    low = _mm512_maskz_mov_epi32(valid, low);
    words[0] = _mm512_unpacklo_epi32(low, high);
    words[1] = _mm512_unpackhi_epi32(low, high);
  }

  /// At most 16 experts: every one is a candidate. NaN ranks as order_key says.
  static unsigned all_words(float const* keys, Index stride, Index experts, __m512i (&words)[16][2]) {
    __m512i const offsets = row_offsets(stride);
    for (Index j = 0; j < 16; ++j) {
      if (j >= experts) {
        words[j][0] = words[j][1] = _mm512_setzero_si512();
        continue;
      }
      __m512 const key = _mm512_i32gather_ps(offsets, keys + j, 4);
      __m512i const low = _mm512_set1_epi32(int(0x7fffffff - j));
      to_words(0xffff, key, low, words[j]);
      __mmask16 const nan = _mm512_cmp_ps_mask(key, key, _CMP_UNORD_Q);
      if (nan != 0) { // key 0, whatever the payload
        __m512i const high = _mm512_setzero_si512();
        words[j][0] = _mm512_mask_mov_epi64(words[j][0], by_pairs(nan, 0), _mm512_unpacklo_epi32(low, high));
        words[j][1] = _mm512_mask_mov_epi64(words[j][1], by_pairs(nan, 1), _mm512_unpackhi_epi32(low, high));
      }
    }
    return 0;
  }
  /// The rows of a mask that unpacklo (half 0) or unpackhi (half 1) puts into its 8 elements.
  static __mmask8 by_pairs(unsigned mask, int half) {
    unsigned out = 0;
    for (int block = 0; block < 4; ++block) out |= ((mask >> (4 * block + 2 * half)) & 3u) << (2 * block);
    return __mmask8(out);
  }

  template <int K> static unsigned survivors(float const* keys, Index stride, Index experts, __m512i (&words)[16][2]) {
    __m512 columns[16];
    for (int r = 0; r < 16; ++r) columns[r] = fold(keys + r * stride, experts);
    network::transpose(columns);
    network::best_first<K>(columns);
    alignas(64) float bounds[16];
    _mm512_store_ps(bounds, columns[K - 1]);

    Found found;
    for (int r = 0; r < 16; ++r) found.counts[r] = filter(keys + r * stride, 0, experts, bounds[r], found.indices[r], 0);
    return found_words<K>(keys, stride, found, words);
  }

  /// Rank words of the survivors. Returns the rows that have more of them than words, or fewer than K.
  template <int K>
  static unsigned found_words(float const* keys, Index stride, Found const& found, __m512i (&words)[16][2]) {
    __m512i const count = _mm512_load_si512(found.counts);
    __m512i indices[16];
    for (int r = 0; r < 16; ++r) indices[r] = _mm512_load_si512(found.indices[r]);
    network::transpose(indices);
    __m512i const offsets = row_offsets(stride);
    for (int j = 0; j < 16; ++j) {
      __mmask16 const valid = _mm512_cmpgt_epi32_mask(count, _mm512_set1_epi32(j));
      __m512 const key = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), valid, _mm512_add_epi32(offsets, indices[j]), keys, 4);
      to_words(valid, key, _mm512_sub_epi32(_mm512_set1_epi32(0x7fffffff), indices[j]), words[j]);
    }
    return _mm512_cmpgt_epi32_mask(count, _mm512_set1_epi32(16)) | _mm512_cmplt_epi32_mask(count, _mm512_set1_epi32(K));
  }

  /// Of one group in each row: the sum of its `summed` best members, and the least of these. NaN members count as -inf.
  static void group_scores(float const* keys, Index stride, Index size, Index summed, __m512& sum, __m512& least) {
    network::BestTwo rows_of[16];
    for (int r = 0; r < 16; ++r) {
      float const* const row = keys + r * stride;
      __m512 const none = _mm512_set1_ps(-__builtin_inff());
      network::BestTwo two{none, none};
      for (Index e = 0; e < size; e += 16) {
        __m512 x = _mm512_mask_loadu_ps(none, tail(size - e), row + e);
        x = _mm512_max_ps(x, none); // a NaN first operand gives the second
        two = {_mm512_max_ps(x, two.first), _mm512_max_ps(_mm512_min_ps(x, two.first), two.second)};
      }
      rows_of[r] = two;
    }
    network::BestTwo const best = network::across(rows_of);
    sum = summed == 2 ? _mm512_add_ps(best.first, best.second) : best.first;
    least = summed == 2 ? best.second : best.first;
  }

  /// Maxima of the 16 columns of a row; NaN is passed over (max_ps gives its second operand then).
  static __m512 fold(float const* row, Index experts) {
    __m512 const least = _mm512_set1_ps(-__builtin_inff());
    __m512 a = least, b = least;
    Index e = 0;
    for (; e + 32 <= experts; e += 32) {
      a = _mm512_max_ps(_mm512_loadu_ps(row + e), a);
      b = _mm512_max_ps(_mm512_loadu_ps(row + e + 16), b);
    }
    for (; e < experts; e += 16)
      a = _mm512_max_ps(_mm512_mask_loadu_ps(least, tail(experts - e), row + e), a);
    return _mm512_max_ps(a, b);
  }
  static __mmask16 tail(Index left) { return left >= 16 ? __mmask16(0xffff) : __mmask16((1u << left) - 1); }

  /// Appends the indices in [first, last) whose keys reach the bound to `count` found ones, of which 16 are kept. Returns the new count.
  static std::int32_t filter(float const* row, Index first, Index last, float bound, std::int32_t* found, std::int32_t count) {
    __m512 const b = _mm512_set1_ps(bound);
    for (Index e = first; e < last; e += 64) {
      std::uint64_t mask = 0;
      if (e + 64 <= last) {
        for (int c = 0; c < 4; ++c)
          mask |= std::uint64_t(_mm512_cmp_ps_mask(_mm512_loadu_ps(row + e + 16 * c), b, _CMP_GE_OQ)) << (16 * c);
      } else {
        for (Index c = e; c < last; c += 16) {
          __mmask16 const here = tail(last - c);
          mask |= std::uint64_t(_mm512_mask_cmp_ps_mask(here, _mm512_maskz_loadu_ps(here, row + c), b, _CMP_GE_OQ)) << (c - e);
        }
      }
      append(mask, std::int32_t(e), found + (count < 16 ? count : 16));
      count += __builtin_popcountll(mask);
    }
    return count;
  }
  /// The first 16 set bits of the mask, as indices from `first` on. Writes 16 elements.
  static void append(std::uint64_t mask, std::int32_t first, std::int32_t* found) {
#if defined(__AVX512VBMI2__)
    static constexpr struct Bytes {
      alignas(64) unsigned char v[64];
      constexpr Bytes() : v{} {
        for (int i = 0; i < 64; ++i) v[i] = static_cast<unsigned char>(i);
      }
    } positions;
    __m512i const packed = _mm512_maskz_compress_epi8(mask, _mm512_load_si512(positions.v));
    __m512i const indices = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(packed));
    _mm512_storeu_si512(found, _mm512_add_epi32(indices, _mm512_set1_epi32(first)));
#else
    for (int i = 0; i < 16 && mask != 0; ++i, mask &= mask - 1) found[i] = first + std::int32_t(__builtin_ctzll(mask));
#endif
  }
};

} // namespace moebal

#pragma GCC diagnostic pop

#endif
