// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/ids.hpp"

namespace moebal {

/// The keys of the choices, for who wants them: given by a selection that has them at hand.
struct TakenKeys {
  float* keys; // [K, rows]
  bool known = false;
};

/// The keys of a tile's rows, in memory.
struct TileKeys {
  float const* data; // [rows, E]
  Index stride;      // elements between rows
  Index ahead = 0;   // elements from a row to one that will be read soon, for prefetching; 0: none
  TakenKeys* taken = nullptr;

  static constexpr float error = 0; // how far keys may be from the exact ones
  template <class M> typename M::F exact(M, typename M::I index, typename M::Mask live) const { // one of each row
    return M::gather(data, M::add(M::multiply(M::numbers(), M::set(int(stride))), index), live);
  }
};

/// Keys that are at most `error` off, with a way to the exact ones: exact_key(index [rows]) of one expert in each row.
template <class ExactKey> struct RoughTileKeys : TileKeys {
  ExactKey exact_key;
  float error;

  template <class M> typename M::F exact(M, typename M::I index, typename M::Mask) const {
    std::int32_t indices[M::width];
    M::store(indices, index);
    return M::F::from(exact_key(indices).v);
  }
};

/// Bounds of keys, one row a lane.
template <class M> struct TileBounds {
  using F = typename M::F;
  using I = typename M::I;
  static constexpr int W = M::width;
  static constexpr unsigned every_row = unsigned((1ull << W) - 1);

  /// Whether a sum of keys says that none of them is a NaN or an infinity; it may say no where none is.
  static bool finite(F total) {
    F const magnitude = M::as_float(M::both(M::as_int(total), M::set(0x7fffffff)));
    return M::bits(M::at_least(M::set(0x1.fffffep127f), magnitude)) == every_row;
  }
  /// What a key that is less than `bound` may be off by from keys that reach it: both are up to `error` off before a
  /// bias is added.
  [[gnu::always_inline]] static F lowered(F bound, float error) {
    if (error == 0) return bound;
    F const magnitude = M::as_float(M::both(M::as_int(bound), M::set(0x7fffffff)));
    return M::subtract(bound, M::add(M::set(2 * error), M::multiply(magnitude, M::set(0x1p-20f))));
  }
  /// The rows with a NaN.
  static unsigned nan_rows(float const* keys, Index stride, Index experts) {
    unsigned rows_of = 0;
    for (int r = 0; r < W; ++r)
      for (Index e = 0; e < experts; e += W)
        if (M::bits(M::nan(M::load_head(keys + r * stride + e, experts - e, M::set(0.0f)))) != 0) rows_of |= 1u << r;
    return rows_of;
  }
  /// The least bound that keys above x reach, and keys that are up to `error` off.
  [[gnu::always_inline]] static F next_above(F x, float error) {
    if (error > 0) return lowered(x, error);
    I const bits = M::as_int(x), one = M::set(1);
    I const next = M::select(M::greater(M::set(0), bits), M::subtract(bits, one),
                             M::add(bits, one)); // +inf: a NaN, which nothing reaches
    return M::select(M::equal(x, M::set(0.0f)), M::as_float(one), M::as_float(next));
  }
};

} // namespace moebal
