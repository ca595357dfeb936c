// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows that are taken together: a lane group whose "numbers of a row" are packs, element r of which belongs to row r. A gate's open(),
// written once for one row, opens all rows of a tile on it.

#include "pack_lanes.hpp"

namespace moebal {

/// Consecutive elements (At is PackAt or PackTail) of row `row` of a tile.
template <class At> struct TileAt {
  int row;
  At at;
};

/// The logits of the rows of a tile.
template <class Logit> struct TileLogits {
  Logit const* data; // [rows], `stride` apart
  Index stride;
  template <class At> auto operator()(TileAt<At> e) const { return load(data + e.row * stride, e.at); }
};

/// The number of e's row, in every lane.
template <int W, class At> inline Pack<float, W> number_at(Pack<float, W> const& of_rows, TileAt<At> e) {
  return Pack<float, W>(typename Pack<float, W>::native{} + of_rows.v[e.row]);
}

/// W rows, each on all lanes. Sums keep the canonical order of every row.
template <class M> struct TileRows {
  static constexpr int W = M::width;
  using Real = Pack<float, W>;

  template <class, class F> Real sum(Index n, F f) const {
    return fold<partial_sums / W>(
        n, Real(), [&f](auto e, Real so_far) { return so_far + f(e); }, [](Real a, Real b) { return a + b; });
  }
  template <class, class F> Real max(Index n, F f, Real least) const {
    auto const larger = [](Real a, Real b) { return Real(__builtin_bit_cast(typename Real::native, M::max(native(a), native(b)))); };
    return fold<1>(n, least, [&](auto e, Real so_far) { return larger(f(e), so_far); }, larger);
  }

private:
  static typename M::F native(Real x) { return __builtin_bit_cast(typename M::F, x.v); }

  template <int partials, class Step, class Combine> static Real fold(Index n, Real start, Step step, Combine combine) {
    typename M::F rows[W];
    for (int r = 0; r < W; ++r) {
      Real partial[partials];
      for (Real& p : partial) p = start;
      Index e = 0;
      for (; e + partials * W <= n; e += partials * W)
        for (int p = 0; p < partials; ++p) partial[p] = step(TileAt<PackAt<W>>{r, {e + p * W}}, partial[p]);
      int p = 0;
      for (; e + W <= n; e += W, ++p) partial[p] = step(TileAt<PackAt<W>>{r, {e}}, partial[p]);
      if (int const left = int(n - e); left > 0)
        partial[p] = detail::head(step(TileAt<PackTail<W>>{r, {e, left}}, partial[p]), partial[p], left);
      for (int half = partials / 2; half > 0; half /= 2) // as fold_partials
        for (int q = 0; q < half; ++q) partial[q] = combine(partial[q], partial[q + half]);
      rows[r] = native(partial[0]);
    }
    auto const halve = [&](typename M::F a, typename M::F b) {
      return native(combine(Real(__builtin_bit_cast(typename Real::native, a)), Real(__builtin_bit_cast(typename Real::native, b))));
    };
    return Real(__builtin_bit_cast(typename Real::native, M::across(rows, halve)));
  }
};

} // namespace moebal
