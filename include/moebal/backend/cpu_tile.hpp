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

} // namespace moebal
