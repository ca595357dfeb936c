// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/lanes.hpp"

#include <cstddef>

namespace moebal::detail {

/// Rows that an execution may ask for at once, besides single ones.
template <class Exec> constexpr Index tile_rows_of() {
  if constexpr (requires { Exec::tile_rows; }) return Exec::tile_rows;
  return 0;
}

/// How a worker's scratch memory is cut for one row.
template <class Real> struct RowScratch {
  using Word = rank_word_t<Real>;
  Index experts, top_k, selection_words;
  Index tile_rows = 0; // tile_rows_of the execution

  /// A multiple of 64, so that the rank words of every worker are aligned.
  MOEBAL_FN std::size_t bytes() const {
    return (reals_at() + sizeof(Real) * std::size_t((1 + tile_rows) * experts + 2 * top_k) + 127) / 64 * 64;
  }
  MOEBAL_FN Word* words(std::byte* memory) const { return reinterpret_cast<Word*>(memory); } // [E]
  MOEBAL_FN Word* selection(std::byte* memory) const { return words(memory) + experts; }     // [selection_words]
  MOEBAL_FN Real* values(std::byte* memory) const { return reinterpret_cast<Real*>(memory + reals_at()); } // [E]
  MOEBAL_FN Real* reals(std::byte* memory) const { return values(memory); }                                // [E + 2 K]
  MOEBAL_FN Real* chosen(std::byte* memory) const { return values(memory) + experts; }                     // [2 K]

  MOEBAL_FN ExpertId* spare_ids(std::byte* memory) const {
    return reinterpret_cast<ExpertId*>(chosen(memory));
  }                                                                                         // [K], over chosen
  MOEBAL_FN Real* tile_keys(std::byte* memory) const { return chosen(memory) + 2 * top_k; } // [tile_rows, E]

private:
  MOEBAL_FN std::size_t reals_at() const { return sizeof(Word) * std::size_t(experts + selection_words); }
};

/// The sequence that token t belongs to: segments [S + 1] are first tokens.
MOEBAL_FN inline Index sequence_of(Index const* segments, Index sequences, Index t) {
  Index low = 0, high = sequences;
  while (high - low > 1) {
    Index const middle = low + (high - low) / 2;
    (segments[middle] <= t ? low : high) = middle;
  }
  return low;
}

} // namespace moebal::detail
