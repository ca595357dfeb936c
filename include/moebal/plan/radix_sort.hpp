// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Stable sort of (key, value) pairs by an unsigned key, a byte at a time, from the counting sort. It orders tokens or
// pairs by their weight where a drop policy asks for that.

#include "counting_sort.hpp"

namespace moebal::detail {

template <class Key> struct DigitOf {
  Key const* keys;
  int shift;
  MOEBAL_FN Index operator()(Index i) const { return Index((keys[i] >> shift) & 255u); }
};

template <class Key> struct MovePair {
  Key const* keys;
  Index const* values;
  Key* new_keys;
  Index* new_values;
  MOEBAL_FN void operator()(Index i, Index position) const {
    new_keys[position] = keys[i];
    new_values[position] = values[i];
  }
  MOEBAL_FN void nowhere(Index) const {} // every key has a digit
};

/// Scratch of a sort of n pairs; the caller fills keys and values.
template <class Key> struct RadixScratch {
  Key* keys;     // [n]
  Index* values; // [n] sorted here in the end (an even number of passes)
  Key* other_keys;
  Index* other_values;
  Index* offsets; // [256 + 1]
  Index* table;

  template <class Exec> static std::size_t bytes(Exec const& exec, Index n) {
    using W = WorkspaceView<>;
    return 2 * W::bytes_for<Key>(n) + 2 * W::bytes_for<Index>(n) + W::bytes_for<Index>(257) +
           counting_sort_bytes(exec, n, 256);
  }
  template <class Exec>
  static RadixScratch take(Exec const& exec, Index n, WorkspaceView<typename Exec::memory>& workspace) {
    return {workspace.template take<Key>(n),     workspace.template take<Index>(n),
            workspace.template take<Key>(n),     workspace.template take<Index>(n),
            workspace.template take<Index>(257), workspace.template take<Index>(sort_chunks(exec, n) * 256)};
  }
};

/// Ascending by key, equal keys in their old order. Cost: sizeof(Key) counting sorts.
template <class Exec, class Key> void radix_sort(Exec const& exec, Index n, RadixScratch<Key> s) {
  static_assert(sizeof(Key) % 2 == 0, "moebal: an odd number of passes would leave the result in the other buffer");
  VectorView<Index, typename Exec::memory> const offsets(s.offsets, 257);
  for (int pass = 0; pass < int(sizeof(Key)); ++pass) {
    bool const even = pass % 2 == 0;
    Key* const from = even ? s.keys : s.other_keys;
    Key* const to = even ? s.other_keys : s.keys;
    Index* const values_from = even ? s.values : s.other_values;
    Index* const values_to = even ? s.other_values : s.values;
    counting_sort(exec, n, 256, n, DigitOf<Key>{from, 8 * pass}, MovePair<Key>{from, values_from, to, values_to},
                  offsets, s.table);
  }
}

} // namespace moebal::detail
