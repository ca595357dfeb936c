// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/lanes.hpp"

namespace moebal::select {

/// The best `count` of n candidates, best first: round r takes the largest word below that of round r - 1. Words are
/// distinct, so the ids are too, whatever the keys were; nothing is marked or rewritten. take(r, word) sees each.
template <class Word, class Lanes, class Take>
MOEBAL_FN void best_first(Lanes lanes, Word const* words, Index n, Index count, Take take) {
  if constexpr (requires(Word* out) { lanes.largest(words, n, count, out); })
    if (Word best[32]; lanes.largest(words, n, count, best)) {
      for (Index r = 0; r < count; ++r) take(r, best[r]);
      return;
    }
  Word last = ~Word(0);
  for (Index r = 0; r < count; ++r) {
    Word const bound = last;
    last = lanes.template max<Word>(n, [=](auto e) { return below(load(words, e), bound); }, Word(0));
    take(r, last);
  }
}

/// The same with an end: take(r, word) answers whether to go on. Returns how many were taken, the last one included.
template <class Word, class Lanes, class Take>
MOEBAL_FN Index best_while(Lanes lanes, Word const* words, Index n, Index most, Take take) {
  Word last = ~Word(0);
  for (Index r = 0; r < most; ++r) {
    Word const bound = last;
    last = lanes.template max<Word>(n, [=](auto e) { return below(load(words, e), bound); }, Word(0));
    if (!take(r, last)) return r + 1;
  }
  return most;
}

} // namespace moebal::select
