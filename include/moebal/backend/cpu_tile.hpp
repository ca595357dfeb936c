// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows that the CPU takes several at a time. A row body that can do so has tile(Tile, memory, worker, first row); what it does must
// have the same bits as its row form, which does the rows that are left.

#include "simd_avx512.hpp"
#include "tile.hpp"

namespace moebal {

struct NoTile {
  static constexpr Index rows = 0;
};
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
using CpuTile = Tile<Avx512>;
#else
using CpuTile = NoTile;
#endif

template <class Body>
concept tiled_body = CpuTile::rows > 0 && requires(Body const& body, std::byte* memory, Index i) {
  body.tile(CpuTile{}, memory, i, i);
};

} // namespace moebal
