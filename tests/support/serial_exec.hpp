// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The smallest execution object: plain loops. It pretends to have any number of workers, and can run its items
// backwards, which shows what depends on the cut of the work or on its order.

#include <moebal/core/execution.hpp>

namespace moebal_test {

struct SerialExec {
  using memory = moebal::HostMemory;
  moebal::Index pretended_workers = 1;
  bool backwards = false;

  moebal::Index workers() const { return pretended_workers; }
  moebal::Index copies() const { return pretended_workers; }

  template <class Body>
  void for_rows(moebal::Index n, std::size_t bytes, moebal::WorkspaceView<> workspace, Body body) const {
    std::byte* const scratch = workspace.take<std::byte>(moebal::Index(bytes) * pretended_workers);
    for_each(n, [&](moebal::Index i) {
      moebal::Index const worker = i % pretended_workers;
      body(moebal::SerialLanes{}, scratch + std::size_t(worker) * bytes, worker, i);
    });
  }
  template <class F> void for_each(moebal::Index n, F f) const {
    for (moebal::Index i = 0; i < n; ++i) f(backwards ? n - 1 - i : i);
  }
  void exclusive_scan(moebal::VectorView<std::int64_t> v) const {
    std::int64_t sum = 0;
    for (std::int64_t& x : v) {
      std::int64_t const value = x;
      x = sum;
      sum += value;
    }
  }
  void reduce_columns(moebal::MatrixView<std::int64_t const> m, moebal::VectorView<std::int64_t> v) const {
    for (moebal::Index c = 0; c < m.cols(); ++c) {
      v[c] = 0;
      for (moebal::Index r = 0; r < m.rows(); ++r) v[c] += m(r, c);
    }
  }
  template <class T> void copy(moebal::VectorView<T const> from, moebal::VectorView<T> to) const {
    for (moebal::Index i = 0; i < from.size(); ++i) to[i] = from[i];
  }
  template <class T> void fill(moebal::VectorView<T> v, T x) const {
    for (T& y : v) y = x;
  }
};
static_assert(moebal::execution<SerialExec>);

} // namespace moebal_test
