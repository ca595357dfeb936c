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

/// Packs of the width that the flags give, and no tile.
struct PlainMachine {
  static constexpr int width = pack_width;
  template <class Work> static void run(Work const& f) { f(); }
};

/// Rows [first, last) of a body: in tiles where the body and the machine have them, the rest on SIMD lanes.
template <class M, class Body>
void rows_on_machine(Body const& body, std::byte* scratch, Index worker, Index first, Index last) {
  M::run([&] {
    using Lanes = LanesOf<typename Body::real, M::width>;
    if constexpr (blocked_body<Body, GateProduct<Lanes::width>>) {
      body.blocks(GateProduct<Lanes::width>{}, scratch, worker, first, last,
                  [](auto const& inner, std::byte* memory, Index inner_worker, Index from, Index to) {
                    rows_on_machine<M>(inner, memory, inner_worker, from, to);
                  });
    } else {
      Index row = first;
      if constexpr (requires { typename M::F; })
        if constexpr (tiled_body<Body, Tile<M>>)
          for (; row + M::width <= last; row += M::width) body.tile(Tile<M>{}, scratch, worker, row);
      if constexpr (requires { typename M::F; })
        if constexpr (part_tiled_body<Body, Tile<M>>)
          if (row < last && body.part_of_tile(Tile<M>{}, scratch, worker, row, last - row)) return;
      for (Lanes const lanes; row < last; ++row) body(lanes, scratch, worker, row);
    }
  });
}

/// The same on a machine for which has_machine() is true.
template <class Body>
void host_rows([[maybe_unused]] Machine machine, Body const& body, std::byte* scratch, Index worker, Index first,
               Index last) {
#if defined(MOEBAL_AVX512)
  if (machine == Machine::avx512) return rows_on_machine<Avx512>(body, scratch, worker, first, last);
#endif
#if defined(MOEBAL_AVX2)
  if (machine == Machine::avx2) return rows_on_machine<Avx2>(body, scratch, worker, first, last);
#endif
#if MOEBAL_AVX512 != 1 && MOEBAL_AVX2 != 1
  rows_on_machine<PlainMachine>(body, scratch, worker, first, last);
#endif
}

/// The same on the fastest machine of this processor.
template <class Body> void host_rows(Body const& body, std::byte* scratch, Index worker, Index first, Index last) {
  host_rows(best_machine(), body, scratch, worker, first, last);
}

/// Rows that a body may be asked for at once by host_rows, in a tile and in a block: the same for all flags, since they say how
/// much memory a body gets, and the sources of a program may have been compiled with different ones.
inline constexpr Index host_tile_rows = 16;
inline constexpr Index host_block_rows = gate_block_rows;

} // namespace moebal::detail
