// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Elements as the bytes that they are: for what only carries them.

#include "views.hpp"

#include <cstddef>
#include <type_traits>

namespace moebal::detail {

template <class T> using byte_like = std::conditional_t<std::is_const_v<T>, std::byte const, std::byte>;

template <class T> VectorView<byte_like<T>> as_bytes(VectorView<T> v) {
  static_assert(std::is_trivially_copyable_v<T>, "moebal: elements of this type cannot be sent by copying their bits");
  return {reinterpret_cast<byte_like<T>*>(v.data()), v.size() * Index(sizeof(T))};
}
template <class T> MatrixView<byte_like<T>> as_bytes(MatrixView<T> m) {
  static_assert(std::is_trivially_copyable_v<T>, "moebal: rows of this type cannot be sent by copying their bits");
  constexpr Index size = sizeof(T);
  return {reinterpret_cast<byte_like<T>*>(m.data()), m.rows(), m.cols() * size, m.row_stride() * size};
}

} // namespace moebal::detail
