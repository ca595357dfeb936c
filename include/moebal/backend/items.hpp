// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the vector primitives of core/execution.hpp do to one element, for backends that run functors.

#include "../core/views.hpp"

namespace moebal::detail {

/// reduce_columns.
template <class Memory> struct SumColumn {
  MatrixView<std::int64_t const, Memory> m;
  VectorView<std::int64_t, Memory> sums;
  MOEBAL_FN void operator()(Index c) const {
    std::int64_t sum = 0;
    for (Index r = 0; r < m.rows(); ++r) sum += m(r, c);
    sums[c] = sum;
  }
};
template <class T, class Memory> struct CopyElement {
  VectorView<T const, Memory> from;
  VectorView<T, Memory> to;
  MOEBAL_FN void operator()(Index i) const { to[i] = from[i]; }
};
template <class T, class Memory> struct FillElement {
  VectorView<T, Memory> v;
  T value;
  MOEBAL_FN void operator()(Index i) const { v[i] = value; }
};

} // namespace moebal::detail
