// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Between the columns of a tile, one row a lane, and its rows in memory.

#include "pack.hpp"

namespace moebal {

template <class M> struct TileColumns {
  using F = typename M::F;
  using pack = Pack<float, M::width>;
  static constexpr int W = M::width;

  static pack to_pack(F x) { return x.template to<pack>(); }
  /// values[k][row] to K columns of `rows_out`, whose rows are `stride` apart.
  template <int K> static void store_rows(std::int32_t const (*values)[W], std::int32_t* rows_out, Index stride) {
    columns_to_rows<K>([values](int k) { return M::as_float(M::load(values[k])); }, reinterpret_cast<float*>(rows_out),
                       stride);
  }
  template <int K> static void store_rows(pack const* values, float* rows_out, Index stride) {
    columns_to_rows<K>([values](int k) { return F::from(values[k].v); }, rows_out, stride);
  }

private:
  template <int K, class Column> static void columns_to_rows(Column column, float* rows_out, Index stride) {
    if (K == 1 && stride == 1) return M::store(rows_out, column(0));
    if (K == 2 && stride == 2) return M::store_pairs(column(0), column(K - 1), rows_out);
    for (int k = 0; k < K; k += 4) {
      F columns[4];
      for (int i = 0; i < 4; ++i) columns[i] = column(k + i < K ? k + i : K - 1);
      M::store_columns(columns, K - k < 4 ? K - k : 4, rows_out + k, stride);
    }
  }
};

} // namespace moebal
