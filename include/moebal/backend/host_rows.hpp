// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What one worker of a CPU does with its rows, whoever started it.

#include "pack_lanes.hpp"
#include "cpu_tile.hpp"

namespace moebal::detail {

/// Rows [first, last) of a body: in tiles where the body has them, the rest on SIMD lanes.
template <class Body> void host_rows(Body const& body, std::byte* scratch, Index worker, Index first, Index last) {
  CpuLanes<typename Body::real> const lanes;
  if constexpr (tiled_body<Body>)
    for (; first + CpuTile::rows <= last; first += CpuTile::rows) body.tile(CpuTile{}, scratch, worker, first);
  for (; first < last; ++first) body(lanes, scratch, worker, first);
}

/// Rows that a body may be asked for at once by host_rows.
inline constexpr Index host_tile_rows = CpuTile::rows;

} // namespace moebal::detail
