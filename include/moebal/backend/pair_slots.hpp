// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Slots of (token, choice) pairs from their ranks, on a CPU.

#include "../core/ids.hpp"
#include "machine.hpp"

#include <algorithm>
#include <cstdint>

#if defined(MOEBAL_AVX512)
#include <immintrin.h>

MOEBAL_BEGIN_AVX512

namespace moebal::detail {

/// PairSlots::place for eight pairs at a time; returns how many pairs it did. The slots are computed once in a vector, to be
/// stored as they are, and once more as numbers: to read them back from the vector takes longer.
inline Index place_eights(Index const* first, Index experts, Index most, Index* order, Index pair, Index n,
                          ExpertId const* ids, std::int32_t const* ranks, Index* slots) {
  __m256i const bound = _mm256_set1_epi32(int(experts));
  __m512i const end = _mm512_set1_epi64(first[experts]), limit = _mm512_set1_epi64(most);
  __m512i const none = _mm512_set1_epi64(no_slot);
  unsigned every = 0xff;
  asm("" : "+r"(every)); // where g++ knows that it is all, a gather waits for what its register held an iteration before
  Index i = 0;
  for (; i + 8 <= n; i += 8) {
    __m256i const id = _mm256_min_epu32(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(ids + i)), bound);
    __m512i const rank =
        _mm512_maskz_cvtepu32_epi64(0xff, _mm256_loadu_si256(reinterpret_cast<__m256i const*>(ranks + i)));
    __m512i const slot = _mm512_add_epi64(_mm512_mask_i32gather_epi64(none, __mmask8(every), id, first, 8), rank);
    unsigned placed = _mm512_mask_cmplt_epi64_mask(_mm512_cmplt_epi64_mask(rank, limit), slot, end);
    asm("" : "+r"(placed)); // as in Avx512::bits
    _mm512_storeu_si512(slots + i, _mm512_mask_mov_epi64(none, __mmask8(placed), slot));
    if (placed == 0xff) {
#pragma GCC unroll 8
      for (Index at = i; at < i + 8; ++at) order[first[ids[at]] + ranks[at]] = pair + at;
    } else {
      for (; placed != 0; placed &= placed - 1) {
        Index const at = i + __builtin_ctz(placed);
        order[first[ids[at]] + ranks[at]] = pair + at;
      }
    }
  }
  return i;
}

} // namespace moebal::detail

MOEBAL_END_MACHINE
#endif

namespace moebal::detail {

/// Places pairs by slot = first[id] + rank. A pair gets no slot if its id is not in [0, experts), its rank is not in
/// [0, most), or the slot is not below first[experts].
struct PairSlots {
  Index const* first; // [experts + 1]
  Index experts;      // below 2^31
  Index most;
  Index* order;

  /// slots[i] and order of the pairs [pair, pair + n), whose ids, ranks and slots lie side by side.
  void place(Index pair, Index n, ExpertId const* ids, std::int32_t const* ranks, Index* slots) const {
    Index done = 0;
#if defined(MOEBAL_AVX512)
    if (best_machine() == Machine::avx512) {
      // Up to the first whole line: a store of eight slots that touches two lines takes twice as long.
      Index const into_line = Index(reinterpret_cast<std::uintptr_t>(slots) / sizeof(Index) % 8);
      done = std::min((8 - into_line) % 8, n);
      place_singly(pair, done, ids, ranks, slots);
      done += place_eights(first, experts, most, order, pair + done, n - done, ids + done, ranks + done, slots + done);
    }
#endif
    place_singly(pair + done, n - done, ids + done, ranks + done, slots + done);
  }

  /// The plain form. Nothing that the data decides is a branch: a pair without a slot is written to a spare place.
  void place_singly(Index pair, Index n, ExpertId const* ids, std::int32_t const* ranks, Index* slots) const {
    Index const* const from = first; // copies that no store can reach: they stay in registers
    Index* const out = order;
    Index const end = first[experts], limit = most;
    std::uint32_t const bound = std::uint32_t(experts);
    Index spare;
    for (Index i = 0; i < n; ++i) {
      // As unsigned numbers, no_expert and the rank of its pair are past the last.
      std::uint32_t const id = std::uint32_t(ids[i]);
      Index const rank = Index(std::uint32_t(ranks[i])), slot = from[id < bound ? id : bound] + rank;
      bool const placed = (rank < limit) & (slot < end);
      slots[i] = placed ? slot : no_slot;
      *(placed ? out + slot : &spare) = pair + i;
    }
  }
};

} // namespace moebal::detail
