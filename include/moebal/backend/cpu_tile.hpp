// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows that the CPU takes several at a time. A row body that can do so has tile(Tile, memory, worker, first row); what it does must
// have the same bits as its row form, which does the rows that are left.

#include "simd_avx2.hpp"
#include "simd_avx512.hpp"
#include "tile.hpp"

namespace moebal {

template <class Body, class Tile>
concept tiled_body = requires(Body const& body, std::byte* memory, Index i) { body.tile(Tile{}, memory, i, i); };
/// And some rows fewer than that: part_of_tile(Tile, memory, worker, first row, count) says whether it has done them.
template <class Body, class Tile>
concept part_tiled_body = requires(Body const& body, std::byte* memory, Index i) {
  { body.part_of_tile(Tile{}, memory, i, i, i) } -> std::same_as<bool>;
};

} // namespace moebal
