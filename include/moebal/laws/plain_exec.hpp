// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/execution.hpp"

namespace moebal::laws {

/// The smallest execution object: plain loops. It pretends to have any number of workers, and can run its items
/// backwards, which shows what depends on the cut of the work or on its order. The oracle of every other execution.
struct PlainExec {
  using memory = HostMemory;
  Index pretended_workers = 1;
  bool backwards = false;

  Index workers() const { return pretended_workers; }
  Index copies() const { return pretended_workers; }

  template <class Body> void for_rows(Index n, std::size_t bytes, WorkspaceView<> workspace, Body body) const {
    std::byte* const scratch = workspace.take<std::byte>(Index(bytes) * pretended_workers);
    for_each(n, [&](Index i) {
      Index const worker = i % pretended_workers;
      body(SerialLanes{}, scratch + std::size_t(worker) * bytes, worker, i);
    });
  }
  template <class F> void for_each(Index n, F f) const {
    for (Index i = 0; i < n; ++i) f(backwards ? n - 1 - i : i);
  }
  void exclusive_scan(VectorView<std::int64_t> v) const {
    std::int64_t sum = 0;
    for (std::int64_t& x : v) {
      std::int64_t const value = x;
      x = sum;
      sum += value;
    }
  }
  void reduce_columns(MatrixView<std::int64_t const> m, VectorView<std::int64_t> v) const {
    for (Index c = 0; c < m.cols(); ++c) {
      v[c] = 0;
      for (Index r = 0; r < m.rows(); ++r) v[c] += m(r, c);
    }
  }
  template <class T> void copy(VectorView<T const> from, VectorView<T> to) const {
    for (Index i = 0; i < from.size(); ++i) to[i] = from[i];
  }
  template <class T> void fill(VectorView<T> v, T x) const {
    for (T& y : v) y = x;
  }
};
static_assert(execution<PlainExec>);

} // namespace moebal::laws
