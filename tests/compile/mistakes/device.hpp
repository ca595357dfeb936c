// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <moebal/core/execution.hpp>

/// A device, as far as the compiler can see.
struct Device {
  using memory = moebal::DeviceMemory;
  moebal::Index workers() const { return 1; }
  moebal::Index copies() const { return 1; }
  template <class Body>
  void for_rows(moebal::Index, std::size_t, moebal::WorkspaceView<memory>, Body const&) const {}
  template <class F> void for_each(moebal::Index, F const&) const {}
  void exclusive_scan(moebal::VectorView<std::int64_t, memory>) const {}
  void reduce_columns(moebal::MatrixView<std::int64_t const, memory>, moebal::VectorView<std::int64_t, memory>) const {}
  template <class T> void copy(moebal::VectorView<T const, memory>, moebal::VectorView<T, memory>) const {}
  template <class T> void fill(moebal::VectorView<T, memory>, T) const {}
};
static_assert(moebal::execution<Device>);
