// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Non-owning windows on the caller's memory. A matrix is a sequence of contiguous rows at a fixed stride; whatever is not
// (a column-major matrix) is refused, never copied. A view is passed by value, like a span.

#include "config.hpp"
#include "ids.hpp"

#include <concepts>
#include <ranges>
#include <type_traits>
#include <utility>

namespace moebal {

/// Memory that the host reads. The tag in a view's type is compared with the execution that is to read it.
struct HostMemory {};
/// Memory that only a device reads.
struct DeviceMemory {};

/// Specialised by an adapter (backend/eigen.hpp, backend/kokkos.hpp, ...) for each foreign matrix or vector type X:
///   using element, memory;  static constexpr bool is_matrix, row_major;
///   static element* data(X&);  static Index rows(X&), cols(X&), row_stride(X&)   (cols of a vector: its size)
template <class X> struct ViewTraits;

template <class X>
concept foreign_view = requires { typename ViewTraits<std::remove_cvref_t<X>>::memory; };
template <class X>
concept foreign_matrix = foreign_view<X> && ViewTraits<std::remove_cvref_t<X>>::is_matrix;
template <class X>
concept foreign_vector = foreign_view<X> && !ViewTraits<std::remove_cvref_t<X>>::is_matrix;
/// A view of ours: it says itself whose memory it shows, and is no range of host memory to others.
template <class X>
concept own_view = requires { typename std::remove_cvref_t<X>::memory; };

/// A contiguous vector [size].
template <class T, class Memory = HostMemory> class VectorView {
public:
  using element = T;
  using memory = Memory;

  VectorView() = default;
  MOEBAL_FN constexpr VectorView(T* data, Index size) : data_(data), size_(size) {}
  /// From a view of mutable elements.
  template <class U>
    requires(std::is_const_v<T> && std::same_as<U const, T>)
  MOEBAL_FN constexpr VectorView(VectorView<U, Memory> other) : data_(other.data()), size_(other.size()) {}
  /// From std::vector, std::array, std::span, a C array, ...
  template <std::ranges::contiguous_range R>
    requires(std::ranges::sized_range<R> && std::same_as<Memory, HostMemory> && !foreign_view<R> && !own_view<R> &&
             std::is_convertible_v<std::remove_reference_t<std::ranges::range_reference_t<R>> (*)[], T (*)[]>)
  constexpr VectorView(R&& range) : data_(std::ranges::data(range)), size_(Index(std::ranges::size(range))) {}
  /// From a vector type that an adapter knows.
  template <foreign_vector X>
    requires std::same_as<typename ViewTraits<std::remove_cvref_t<X>>::memory, Memory>
  VectorView(X&& x)
      : data_(ViewTraits<std::remove_cvref_t<X>>::data(x)), size_(ViewTraits<std::remove_cvref_t<X>>::cols(x)) {}

  MOEBAL_FN constexpr T* data() const { return data_; }
  MOEBAL_FN constexpr Index size() const { return size_; }
  MOEBAL_FN constexpr bool empty() const { return size_ == 0; }
  MOEBAL_FN constexpr T& operator[](Index i) const { return data_[i]; }
  MOEBAL_FN constexpr T* begin() const { return data_; }
  MOEBAL_FN constexpr T* end() const { return data_ + size_; }
  /// Elements [first, first + count).
  MOEBAL_FN constexpr VectorView part(Index first, Index count) const { return {data_ + first, count}; }

private:
  T* data_ = nullptr;
  Index size_ = 0;
};

/// Rows of contiguous elements, row_stride elements apart: [rows, cols].
template <class T, class Memory = HostMemory> class MatrixView {
public:
  using element = T;
  using memory = Memory;

  MatrixView() = default;
  MOEBAL_FN constexpr MatrixView(T* data, Index rows, Index cols) : MatrixView(data, rows, cols, cols) {}
  MOEBAL_FN constexpr MatrixView(T* data, Index rows, Index cols, Index row_stride)
      : data_(data), rows_(rows), cols_(cols), row_stride_(row_stride) {}
  /// From a view of mutable elements.
  template <class U>
    requires(std::is_const_v<T> && std::same_as<U const, T>)
  MOEBAL_FN constexpr MatrixView(MatrixView<U, Memory> other)
      : MatrixView(other.data(), other.rows(), other.cols(), other.row_stride()) {}
  /// From a matrix type that an adapter knows.
  template <foreign_matrix X>
    requires std::same_as<typename ViewTraits<std::remove_cvref_t<X>>::memory, Memory>
  MatrixView(X&& x) {
    using Traits = ViewTraits<std::remove_cvref_t<X>>;
    static_assert(Traits::row_major, "moebal: this matrix is column-major and moebal reads rows: declare it row-major "
                                     "(Eigen::RowMajor, Kokkos::LayoutRight); it is never copied behind your back");
    *this = MatrixView(Traits::data(x), Traits::rows(x), Traits::cols(x), Traits::row_stride(x));
  }

  MOEBAL_FN constexpr T* data() const { return data_; }
  MOEBAL_FN constexpr Index rows() const { return rows_; }
  MOEBAL_FN constexpr Index cols() const { return cols_; }
  MOEBAL_FN constexpr Index row_stride() const { return row_stride_; }
  MOEBAL_FN constexpr bool empty() const { return rows_ == 0 || cols_ == 0; }
  MOEBAL_FN constexpr T* row(Index r) const { return data_ + r * row_stride_; }
  MOEBAL_FN constexpr T& operator()(Index r, Index c) const { return data_[r * row_stride_ + c]; }

private:
  T* data_ = nullptr;
  Index rows_ = 0;
  Index cols_ = 0;
  Index row_stride_ = 0;
};

// Anything that is, or can be seen as, a matrix or a vector: as_matrix(x), as_vector(x).
template <class T, class M> constexpr MatrixView<T, M> as_matrix(MatrixView<T, M> view) { return view; }
template <foreign_matrix X> auto as_matrix(X&& x) {
  using Traits = ViewTraits<std::remove_cvref_t<X>>;
  using Element = std::remove_pointer_t<decltype(Traits::data(x))>;
  return MatrixView<Element, typename Traits::memory>(x);
}
template <class T, class M> constexpr VectorView<T, M> as_vector(VectorView<T, M> view) { return view; }
template <foreign_vector X> auto as_vector(X&& x) {
  using Traits = ViewTraits<std::remove_cvref_t<X>>;
  using Element = std::remove_pointer_t<decltype(Traits::data(x))>;
  return VectorView<Element, typename Traits::memory>(x);
}
template <std::ranges::contiguous_range R>
  requires(!foreign_view<R>)
constexpr auto as_vector(R&& range) {
  return VectorView<std::remove_reference_t<std::ranges::range_reference_t<R>>>(range);
}

template <class X>
concept matrix_like = requires(X&& x) { as_matrix(x); };
template <class X>
concept vector_like = requires(X&& x) { as_vector(x); };

template <class X> using element_of = std::remove_const_t<typename decltype(as_matrix(std::declval<X>()))::element>;

} // namespace moebal
