// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What one worker of a CPU does with its rows, whoever started it.

#include "cpu_tile.hpp"
#include "gate_product.hpp"

namespace moebal::detail {

/// A body that makes the logits of a block of rows before it routes them: blocks(Product, memory, worker, first, last, rows) calls
/// rows(body of one row, memory, worker, first, last) for each block.
struct AnyRows {
  template <class Body> void operator()(Body const&, std::byte*, Index, Index, Index) const {}
};
template <class Body, class Product>
concept blocked_body = requires(Body const& body, std::byte* memory, Index i) {
  body.blocks(Product{}, memory, i, i, i, AnyRows{});
};

/// Rows [first, last) of a body: in tiles where the body has them, the rest on SIMD lanes.
template <class Body> void host_rows(Body const& body, std::byte* scratch, Index worker, Index first, Index last) {
  using Lanes = CpuLanes<typename Body::real>;
  if constexpr (blocked_body<Body, GateProduct<Lanes::width>>) {
    body.blocks(GateProduct<Lanes::width>{}, scratch, worker, first, last,
                [](auto const& inner, std::byte* memory, Index inner_worker, Index from, Index to) {
                  host_rows(inner, memory, inner_worker, from, to);
                });
  } else {
    Lanes const lanes;
    if constexpr (tiled_body<Body>)
      for (; first + CpuTile::rows <= last; first += CpuTile::rows) body.tile(CpuTile{}, scratch, worker, first);
    for (; first < last; ++first) body(lanes, scratch, worker, first);
  }
}

/// Rows that a body may be asked for at once by host_rows: in a tile, and in a block.
inline constexpr Index host_tile_rows = CpuTile::rows;
inline constexpr Index host_block_rows = pack_width > 1 ? gate_block_rows : 0;

} // namespace moebal::detail
