// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The product of a gate for some rows at once: z [n, E] = x [n, D] W^T, on SIMD lanes, in the order of core/packed_gate.hpp.
// Six rows by 64 experts are in registers together; a run of a panel (32 KB) stays in the first cache while all rows of
// the block pass, and what is read next, of x and of W, is fetched a few lines at a time meanwhile.

#include "../core/packed_gate.hpp"
#include "pack_lanes.hpp"

#include <utility>

namespace moebal {

namespace detail {

/// f(0), f(1), ..., f(N - 1), with constants for the compiler, so that arrays of packs stay in registers.
template <int N, class F> [[gnu::always_inline]] inline void with_constants(F const& f) {
  [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, i>{}), ...);
  }
  (std::make_integer_sequence<int, N>{});
}

/// W rows of W elements become columns.
template <int W> [[gnu::always_inline]] inline void transpose(typename Pack<float, W>::native (&rows)[W]) {
  for (int stage = 1; stage < W; stage *= 2) { // each stage deals the lower and the upper half of the rows in turns
    typename Pack<float, W>::native dealt[W];
    with_constants<W / 2>([&](auto i) __attribute__((always_inline)) {
      auto const low = rows[i], high = rows[i + W / 2];
      [&]<int... j>(std::integer_sequence<int, j...>) __attribute__((always_inline)) {
        dealt[2 * i] = __builtin_shufflevector(low, high, (j / 2 + j % 2 * W)...);
        dealt[2 * i + 1] = __builtin_shufflevector(low, high, ((j + W) / 2 + j % 2 * W)...);
      }
      (std::make_integer_sequence<int, W>{});
    });
    with_constants<W>([&](auto i) __attribute__((always_inline)) { rows[i] = dealt[i]; });
  }
}

} // namespace detail

template <int W> class GateProduct {
public:
  static constexpr int width = W;
  using lanes = PackLanes<W>;

  /// z [rows of x, E filled up to 16s], rows z_stride apart; x has at most gate_block_rows rows. memory: gate_block_scratch
  /// floats.
  template <class X, class M, class Weight>
  static void block(MatrixView<X const, M> x, Weight weight, float* z, Index z_stride, float* memory) {
    float* const chunk_memory = memory;
    [[maybe_unused]] float* const wide = memory + detail::panel_experts * depth;
    if (x.cols() == 0)
      for (Index i = 0; i < x.rows() * z_stride; ++i) z[i] = 0;
    for (Index d = 0; d < x.cols(); d += depth) {
      Index const n = x.cols() - d < depth ? x.cols() - d : depth;
      Rows rows{nullptr, 0, x.rows()};
      if constexpr (std::same_as<X, float>) {
        rows.data = x.data() + d;
        rows.stride = x.row_stride();
      } else {
        for (Index t = 0; t < x.rows(); ++t) widen_row(x.row(t) + d, n, wide + t * depth);
        rows.data = wide;
        rows.stride = depth;
      }
      for (Index e = 0; e < weight.rows(); e += detail::panel_experts) {
        Index const width = detail::panel_width(weight.rows(), e);
        Index const next_e = e + detail::panel_experts < weight.rows() ? e + detail::panel_experts : 0;
        Index const next_d = next_e > 0 ? d : d + depth < x.cols() ? d + depth : 0;
        Ahead const next = ahead(weight, next_e, next_d);
        float const* const w = chunk(weight, e, d, n, width, chunk_memory, next);
        across(rows, n, w, width, z + e, z_stride, d == 0, next);
      }
    }
  }

private:
  using V = Pack<float, W>;
  static constexpr Index depth = detail::gate_run, line = 16; // floats
  // Packs side by side in registers: six rows of them, with as many of w and one of x, fill the registers and no more.
  static constexpr int most_packs = W == 8 ? 2 : 4;
  struct Rows {
    float const* data;
    Index stride, count;
  };

  // The next piece of W: as many rows as there are in a panel.
  struct Ahead {
    char const* data;
    Index stride; // bytes
  };
  template <class M> static Ahead ahead(PackedGateView<M> weight, Index first, Index d) {
    return {reinterpret_cast<char const*>(weight.panel(first, d)), depth * Index(sizeof(float))};
  }
  template <class Element, class M> static Ahead ahead(MatrixView<Element, M> weight, Index first, Index d) {
    return {reinterpret_cast<char const*>(weight.row(first) + d), weight.row_stride() * Index(sizeof(Element))};
  }

  template <class X> static void widen_row(X const* from, Index n, float* to) {
    lanes{}.each(n, [=](auto i) { store(to, i, load(from, i)); });
  }

  // The rows d to d + n of a panel: where they lie, or made here.
  template <class M>
  static float const* chunk(PackedGateView<M> weight, Index first, Index d, Index, Index, float*, Ahead) {
    return weight.panel(first, d);
  }
  template <class Element, class M>
  static float const* chunk(MatrixView<Element, M> weight, Index first, Index d, Index n, Index width, float* out,
                            Ahead next) {
    for (Index e = 0; e < width; e += W)
      for (Index k = 0; k < n; k += W) {
        int const deep = n - k < W ? int(n - k) : W;
        typename V::native part[W];
        detail::with_constants<W>([&](auto i) __attribute__((always_inline)) {
          __builtin_prefetch(next.data + (e + i) * next.stride + 4 * k, 0, 2);
          V row;
          if (first + e + i < weight.rows()) {
            auto const* const from = weight.row(first + e + i) + d;
            row = deep == W ? load(from, PackAt<W>{k}) : load(from, PackTail<W>{k, deep});
          }
          part[i] = row.v;
        });
        detail::transpose<W>(part);
        detail::with_constants<W>([&](auto j) __attribute__((always_inline)) {
          if (j < deep) store(out + (k + j) * width, PackAt<W>{e}, V(part[j]));
        });
      }
    return out;
  }

  static void across(Rows x, Index n, float const* w, Index width, float* z, Index z_stride, bool first, Ahead next) {
    for (Index e = 0; e < width; e += most_packs * W) {
      Index const packs = (width - e) / W;
      if (packs >= most_packs) {
        down<most_packs>(x, n, w + e, width, z + e, z_stride, first, next);
      } else if constexpr (most_packs * W > detail::panel_step) {
        if (packs == 3) down<3>(x, n, w + e, width, z + e, z_stride, first, next);
        if (packs == 2) down<2>(x, n, w + e, width, z + e, z_stride, first, next);
        if (packs == 1) down<1>(x, n, w + e, width, z + e, z_stride, first, next);
      }
    }
  }
  template <int packs>
  static void down(Rows x, Index n, float const* w, Index width, float* z, Index z_stride, bool first, Ahead next) {
    auto const some = [&]<int rows>(std::integral_constant<int, rows>, Index t) {
      kernel<rows, packs>(x.data + t * x.stride, x.stride, n, w, width, z + t * z_stride, z_stride, first,
                          next.data + t / 3 * next.stride, next.stride);
    };
    Index t = 0;
    for (; t + 6 <= x.count; t += 6) some(std::integral_constant<int, 6>{}, t);
    for (; t + 2 <= x.count; t += 2) some(std::integral_constant<int, 2>{}, t);
    if (t < x.count) some(std::integral_constant<int, 1>{}, t);
  }
  template <int rows, int packs>
  static void kernel(float const* x, Index x_stride, Index n, float const* w, Index width, float* z, Index z_stride,
                     bool first, char const* next, Index next_stride) {
    typename V::native sum[rows][packs]; // not V: its constructor would be a loop over an array in memory
    detail::with_constants<rows>([&](auto r) __attribute__((always_inline)) {
      detail::with_constants<packs>([&](auto p) __attribute__((always_inline)) { sum[r][p] = V().v; });
    });
    constexpr int fours = (rows + 3) / 4; // a pointer for four rows: strides of up to three fit an address
    float const* x_of[fours];
    detail::with_constants<fours>([&](auto i) __attribute__((always_inline)) { x_of[i] = x + 4 * i * x_stride; });
    for (Index d = 0; d < n;) {
      detail::with_constants<rows>([&](auto r) __attribute__((always_inline)) {
        __builtin_prefetch(x_of[r / 4] + d + depth + r % 4 * x_stride, 0, 2);
      });
      __builtin_prefetch(next + 4 * d, 0, 2);
      __builtin_prefetch(next + next_stride + 4 * d, 0, 2);
      for (Index const end = n - d < line ? n : d + line; d < end; ++d, w += width) {
        typename V::native of_experts[packs];
        detail::with_constants<packs>([&](auto p) __attribute__((always_inline)) { of_experts[p] = load(w, PackAt<W>{p * W}).v; });
        detail::with_constants<rows>([&](auto r) __attribute__((always_inline)) {
          V const of_token = math::splat<V>(x_of[r / 4][d + r % 4 * x_stride]);
          detail::with_constants<packs>([&](auto p) __attribute__((always_inline)) {
            sum[r][p] = math::fma(of_token, V(of_experts[p]), V(sum[r][p])).v;
          });
        });
      }
    }
    detail::with_constants<rows>([&](auto r) __attribute__((always_inline)) {
      detail::with_constants<packs>([&](auto p) __attribute__((always_inline)) {
        float* const out = z + r * z_stride + p * W;
        V const before = first ? V() : load(static_cast<float const*>(out), PackAt<W>{0});
        store(out, PackAt<W>{0}, before + V(sum[r][p]));
      });
    });
  }
};

} // namespace moebal
