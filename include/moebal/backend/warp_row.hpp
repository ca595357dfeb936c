// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A row of at most 32 * words experts in the registers of a warp: element 32 w + l is word w of lane l.

#include "../core/rank.hpp"
#include "warp_groups.hpp"

namespace moebal {

/// One number for each word of a lane, in registers as long as they are named by WarpAt alone.
template <class T> struct InRegisters {
  T* own; // [words]
  MOEBAL_FN auto operator()(WarpAt e) const { return widen(own[e.word]); }
};
template <class T> MOEBAL_FN inline T load(InRegisters<T> row, WarpAt e) { return row.own[e.word]; }
template <class T> MOEBAL_FN inline void store(InRegisters<T> row, WarpAt e, T value) { row.own[e.word] = value; }
/// For a row's open(lanes, x, E, keep).
struct KeepInRegisters {
  float* own; // [words]
  MOEBAL_FN void operator()(WarpAt e, float u) const { own[e.word] = u; }
};

namespace detail {

/// Batcher's odd-even merge sort of n numbers in registers, largest first.
template <int n, int p = 1, int k = p, class Word> MOEBAL_FN inline void sort_registers(Word* w) {
  unrolled<n>([&](int a) {
    int const b = a + k;
    if (a >= k % p && (a - k % p) / k % 2 == 0 && b < n && a / (2 * p) == b / (2 * p)) {
      Word const x = w[a], y = w[b];
      bool const swap = y > x;
      w[a] = swap ? y : x;
      w[b] = swap ? x : y;
    }
  });
  if constexpr (k > 1)
    sort_registers<n, p, k / 2>(w);
  else if constexpr (2 * p < n)
    sort_registers<n, 2 * p>(w);
}

} // namespace detail

/// The rank words of a row; 0 is no candidate.
template <class Warp, int words, class Word> class WarpRanked {
public:
  /// word_of(e, whether e < n) for each of n experts. Asked past the last one too: a branch costs more than a word.
  template <class F> MOEBAL_FN void fill(Index n, F word_of) {
    int const lane = Warp::lane(), end = int(n);
    detail::unrolled<words>([&](int i) {
      WarpAt const e{i, lane};
      bool const there = i * warp_size + lane < end;
      Word const word = word_of(e, there);
      word_[i] = there ? word : Word(0);
    });
  }
  /// Leaves those experts for which keeps(e) holds.
  template <class F> MOEBAL_FN void keep(F keeps) {
    int const lane = Warp::lane();
    detail::unrolled<words>([&](int i) { word_[i] = keeps(WarpAt{i, lane}) ? word_[i] : Word(0); });
  }
  /// Lane k < K gets the k-th best word. Each lane has its words in order, so that a round looks at one of each lane, and
  /// the lane that had the best one moves on. Words are spent afterwards.
  template <int K> MOEBAL_FN Word best_first() {
    constexpr int depth = K < words ? K : words;
    detail::sort_registers<words>(word_);
    Word taken = 0;
    detail::unrolled<K>([&](int r) {
      Word const best = Warp::max(word_[0]);
      bool const mine = word_[0] == best;
      detail::unrolled<depth>([&](int i) {
        Word const next = i + 1 < depth ? word_[i + 1 < depth ? i + 1 : i] : Word(0);
        word_[i] = mine ? next : word_[i];
      });
      taken = Warp::lane() == r ? best : taken;
    });
    return taken;
  }

private:
  Word word_[words];
};

/// What a body is given whose rows are worked on in registers: at most `together` of them one after the other, and then
/// all at once by parts of the warp, for what is too little to fill it.
template <class Warp, int row_words, int together = 1> struct WarpRow {
  using warp = Warp;
  using part = WarpPart<Warp, warp_size / together>;
  using lanes = WarpLanes<Warp, row_words>; // over the experts of one row
  using choice_lanes = WarpLanes<Warp, 1>;  // over at most 32 choices of one row
  using part_lanes = WarpLanes<part, 1>;    // over at most 32 / together choices, part p those of row p
  using any_lanes = WarpLanes<Warp>;        // over anything
  using groups = WarpGroups<Warp>;
  template <class Word> using ranked = WarpRanked<Warp, row_words, Word>;
  template <class T> using registers = InRegisters<T>;
  using keep = KeepInRegisters;
  static constexpr int words = row_words, rows = together;
};

} // namespace moebal
