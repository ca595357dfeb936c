// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The product of a gate for some rows at once: z [n, E] = x [n, D] W^T, on SIMD lanes. Each z is one chain of fused
// multiply-adds over d = 0, 1, ..., D - 1 that starts at 0, whatever the blocking: where a chain is cut, it is stored and
// taken up again. Six rows by 64 experts are in registers together; a run of 128 d of a panel (32 KB) stays in the first
// cache while all rows of the block pass.

#include "../core/packed_gate.hpp"
#include "pack_lanes.hpp"

#include <utility>

namespace moebal {

namespace detail {

/// f(0), f(1), ..., f(N - 1), with constants for the compiler, so that arrays of packs stay in registers.
template <int N, class F> [[gnu::always_inline]] inline void unrolled(F const& f) {
  [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, i>{}), ...);
  }
  (std::make_integer_sequence<int, N>{});
}

/// W rows of W elements become columns.
template <int W> [[gnu::always_inline]] inline void transpose(Pack<float, W> (&rows)[W]) {
  for (int stage = 1; stage < W; stage *= 2) { // each stage deals the lower and the upper half of the rows in turns
    Pack<float, W> dealt[W];
    unrolled<W / 2>([&](auto i) __attribute__((always_inline)) {
      auto const low = rows[i].v, high = rows[i + W / 2].v;
      [&]<int... j>(std::integer_sequence<int, j...>) __attribute__((always_inline)) {
        dealt[2 * i] = __builtin_shufflevector(low, high, (j / 2 + j % 2 * W)...);
        dealt[2 * i + 1] = __builtin_shufflevector(low, high, ((j + W) / 2 + j % 2 * W)...);
      }
      (std::make_integer_sequence<int, W>{});
    });
    unrolled<W>([&](auto i) __attribute__((always_inline)) { rows[i] = dealt[i]; });
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
        float const* const w = chunk(weight, e, d, n, width, chunk_memory);
        across(rows, n, w, width, z + e, z_stride, d == 0);
      }
    }
  }

private:
  using V = Pack<float, W>;
  static constexpr Index depth = detail::gate_depth;
  // Packs side by side in registers: six rows of them, with as many of w and one of x, fill the registers and no more.
  static constexpr int most_packs = W == 8 ? 2 : 4;
  struct Rows {
    float const* data;
    Index stride, count;
  };

  template <class X> static void widen_row(X const* from, Index n, float* to) {
    lanes{}.each(n, [=](auto i) { store(to, i, load(from, i)); });
  }

  // The rows d to d + n of a panel: where they lie, or made here.
  template <class M>
  static float const* chunk(PackedGateView<M> weight, Index first, Index d, Index, Index, float*) {
    return weight.panel(first, d);
  }
  template <class Element, class M>
  static float const* chunk(MatrixView<Element, M> weight, Index first, Index d, Index n, Index width, float* out) {
    for (Index e = 0; e < width; e += W)
      for (Index k = 0; k < n; k += W) {
        int const deep = n - k < W ? int(n - k) : W;
        V part[W];
        for (int i = 0; i < W; ++i)
          if (first + e + i < weight.rows()) {
            auto const* const row = weight.row(first + e + i) + d;
            part[i] = deep == W ? load(row, PackAt<W>{k}) : load(row, PackTail<W>{k, deep});
          }
        detail::transpose(part);
        for (int j = 0; j < deep; ++j) store(out + (k + j) * width, PackAt<W>{e}, part[j]);
      }
    return out;
  }

  static void across(Rows x, Index n, float const* w, Index width, float* z, Index z_stride, bool first) {
    for (Index e = 0; e < width; e += most_packs * W) {
      Index const packs = (width - e) / W;
      if (packs >= most_packs) {
        down<most_packs>(x, n, w + e, width, z + e, z_stride, first);
      } else if constexpr (most_packs * W > detail::panel_step) {
        if (packs == 3) down<3>(x, n, w + e, width, z + e, z_stride, first);
        if (packs == 2) down<2>(x, n, w + e, width, z + e, z_stride, first);
        if (packs == 1) down<1>(x, n, w + e, width, z + e, z_stride, first);
      }
    }
  }
  template <int packs>
  static void down(Rows x, Index n, float const* w, Index width, float* z, Index z_stride, bool first) {
    Index t = 0;
    for (; t + 6 <= x.count; t += 6) kernel<6, packs>(x.data + t * x.stride, x.stride, n, w, width, z + t * z_stride, z_stride, first);
    for (; t + 2 <= x.count; t += 2) kernel<2, packs>(x.data + t * x.stride, x.stride, n, w, width, z + t * z_stride, z_stride, first);
    if (t < x.count) kernel<1, packs>(x.data + t * x.stride, x.stride, n, w, width, z + t * z_stride, z_stride, first);
  }
  template <int rows, int packs>
  static void kernel(float const* x, Index x_stride, Index n, float const* w, Index width, float* z, Index z_stride,
                     bool first) {
    V sum[rows][packs];
    if (!first)
      detail::unrolled<rows>([&](auto r) __attribute__((always_inline)) {
        detail::unrolled<packs>([&](auto p) __attribute__((always_inline)) {
          sum[r][p] = load(static_cast<float const*>(z + r * z_stride), PackAt<W>{p * W});
        });
      });
    constexpr int runs = (rows + 3) / 4; // a pointer for four rows: strides of up to three fit an address
    float const* x_of[runs];
    detail::unrolled<runs>([&](auto i) __attribute__((always_inline)) { x_of[i] = x + 4 * i * x_stride; });
    for (Index d = 0; d < n; ++d, w += width) {
      V of_experts[packs];
      detail::unrolled<packs>([&](auto p) __attribute__((always_inline)) { of_experts[p] = load(w, PackAt<W>{p * W}); });
      detail::unrolled<rows>([&](auto r) __attribute__((always_inline)) {
        V const of_token = math::splat<V>(x_of[r / 4][d + r % 4 * x_stride]);
        detail::unrolled<packs>([&](auto p) __attribute__((always_inline)) {
          sum[r][p] = math::fma(of_token, of_experts[p], sum[r][p]);
        });
      });
    }
    detail::unrolled<rows>([&](auto r) __attribute__((always_inline)) {
      detail::unrolled<packs>([&](auto p) __attribute__((always_inline)) {
        store(z + r * z_stride, PackAt<W>{p * W}, sum[r][p]);
      });
    });
  }
};

} // namespace moebal
