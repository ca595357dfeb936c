// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows that are taken together: a lane group whose "numbers of a row" are packs, element r of which belongs to row r. A
// gate's open(), written once for one row, opens all rows of a tile on it.

#include "pack_lanes.hpp"
#include "register.hpp"

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
  template <class At> auto operator()(BothAt<At> e) const { return Both{(*this)(e.low), (*this)(e.high)}; }
};
/// Memory for a number of every element of the rows, `stride` apart: keep(e, u) for a gate's open().
struct TileMemory {
  float* data;
  Index stride;
  template <class At, class V> void operator()(TileAt<At> e, V u) const { store(data + e.row * stride, e.at, u); }
  template <class At, class V> void operator()(BothAt<At> e, Both<V> u) const {
    (*this)(e.low, u.low);
    (*this)(e.high, u.high);
  }
};

/// The same memory, with lines fetched for every line that is written: of the `logits` of the next tile, beside them
/// in the same place, and of this memory a few rows further on, since a store that misses holds up the stores after it.
/// Fetching everything at once would stall, and this memory a tile ahead would not fit beside what is at work.
template <class Logit> struct FetchingTileMemory {
  TileMemory memory;
  TileLogits<Logit> logits;
  Index rows; // of a tile
  template <class At, class V> void operator()(TileAt<At> e, V u) const {
    constexpr Index rows_ahead = 4;
    memory(e, u);
    __builtin_prefetch(logits.data + (e.row + rows) * logits.stride + e.at.first);
    __builtin_prefetch(memory.data + (e.row + rows_ahead) * memory.stride + e.at.first, 1);
  }
  template <class At, class V> void operator()(BothAt<At> e, Both<V> u) const {
    (*this)(e.low, u.low);
    (*this)(e.high, u.high);
  }
};

/// The number of e's row, in every lane.
template <int W, class At> inline Pack<float, W> number_at(Pack<float, W> const& of_rows, TileAt<At> e) {
  return Pack<float, W>(typename Pack<float, W>::native{} + of_rows.v[e.row]);
}

template <int W, class At> inline Both<Pack<float, W>> number_at(Pack<float, W> const& of_rows, BothAt<TileAt<At>> e) {
  return {number_at(of_rows, e.low), number_at(of_rows, e.high)};
}

/// W rows, each on all lanes. Sums keep the canonical order of every row.
template <class M> struct TileRows {
  static constexpr int W = M::width;
  using Real = Pack<float, W>;
  Real const* largest = nullptr; // of the logits of each row, where that is known: what max() would find

  template <class, class F> Real sum(Index n, F f) const {
    return fold<partial_sums / W>(
        n, Real(), [f](auto e, auto so_far) { return so_far + f(e); }, Add{});
  }
  /// f(e) is the same in every row: e is a place in a row.
  template <class, class F, class G> Real dot(Index n, F f, G g) const {
    return fold<partial_sums / W>(
        n, Real(),
        [f, g](auto e, auto so_far) {
          auto const common = f(e.low.at);
          return math::fma(Both{common, common}, g(e), so_far);
        },
        Add{});
  }
  /// The sum of g(e) and the dot product of f(e) and g(e), in one pass.
  template <class F, class G> Both<Real> sum_and_dot(Index n, F f, G g) const {
    return fold<partial_sums / W>(
        n, Both<Real>{Real(), Real()},
        [f, g](auto e, auto so_far) {
          auto const common = f(e.low.at);
          auto const u = g(e);
          auto const next = [common](auto u_of_row, auto of_row) {
            return Both{of_row.low + u_of_row, math::fma(common, u_of_row, of_row.high)};
          };
          return Both{next(u.low, so_far.low), next(u.high, so_far.high)};
        },
        Add{});
  }
  template <class, class F> Real max(Index n, F f, Real least) const {
    if (largest != nullptr) return *largest;
    return fold<1>(
        n, least, [f](auto e, auto so_far) { return math::larger(f(e), so_far); },
        [](auto a, auto b) { return math::larger(a, b); });
  }

private:
  struct Add {
    template <class V> V operator()(V a, V b) const { return a + b; }
  };

  /// Acc: what is folded of one row, a Real or two.
  template <int partials, class Acc, class Step, class Combine>
#if !defined(__SANITIZE_ADDRESS__)
  [[gnu::flatten]]
#endif
  static Acc
  fold(Index n, Acc start, Step const& of_caller, Combine combine) {
    Step const step = of_caller; // what is local cannot be changed by what step stores: it stays in registers
    Acc rows[W];
    for (int r = 0; r < W; r += 2) {
      auto const at = [r](auto e) { return BothAt<TileAt<decltype(e)>>{{r, e}, {r + 1, e}}; };
      Both<Acc> partial[partials]; // of two rows
      for (Both<Acc>& p : partial) p = {start, start};
      Index e = 0;
      for (; e + partials * W <= n; e += partials * W)
        for (int p = 0; p < partials; ++p) partial[p] = step(at(PackAt<W>{e + p * W}), partial[p]);
      int p = 0;
      for (; e + W <= n; e += W, ++p) partial[p] = step(at(PackAt<W>{e}), partial[p]);
      if (int const left = int(n - e); left > 0)
        partial[p] = head(step(at(PackTail<W>{e, left}), partial[p]), partial[p], left);
      for (int half = partials / 2; half > 0; half /= 2) // as fold_partials
        for (int q = 0; q < half; ++q) partial[q] = combine(partial[q], partial[q + half]);
      rows[r] = partial[0].low;
      rows[r + 1] = partial[0].high;
    }
    return across(rows, combine);
  }

  static Real head(Real x, Real rest, int count) { return detail::head(x, rest, count); }
  template <class V> static Both<V> head(Both<V> x, Both<V> rest, int count) {
    return {head(x.low, rest.low, count), head(x.high, rest.high, count)};
  }
  template <class Combine> static Real across(Real const (&rows)[W], Combine combine) {
    typename M::F registers[W];
    for (int r = 0; r < W; ++r) registers[r] = M::F::from(rows[r].v);
    auto const halve = [&](typename M::F a, typename M::F b) {
      Real const both = combine(a.template to<Real>(), b.template to<Real>());
      return M::F::from(both.v);
    };
    return moebal::across<M>(registers, halve).template to<Real>();
  }
  template <class Combine> static Both<Real> across(Both<Real> const (&rows)[W], Combine combine) {
    Real low[W], high[W];
    for (int r = 0; r < W; ++r) {
      low[r] = rows[r].low;
      high[r] = rows[r].high;
    }
    return {across(low, combine), across(high, combine)};
  }
};

/// For a balance's open(): TileRows whose one sum also yields the dot product of the same numbers with `factors` [n].
template <class M> struct DottedTileRows : TileRows<M> {
  using Real = typename TileRows<M>::Real;
  float const* factors;
  Real* dotted; // out
  DottedTileRows(float const* factors_of, Real* out) : factors(factors_of), dotted(out) {}

  template <class, class F> Real sum(Index n, F f) const {
    auto const both = TileRows<M>::sum_and_dot(
        n, [factors = factors](auto e) { return load(factors, e); }, f);
    *dotted = both.high;
    return both.low;
  }
};

} // namespace moebal
