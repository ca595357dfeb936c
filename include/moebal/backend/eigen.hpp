// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The CPU: SIMD lanes on a row, and Eigen's own thread pool over rows. Eigen's dense matrices and vectors become views here.

#include "../core/execution.hpp"
#include "host_rows.hpp"

#include <Eigen/Core>
#include <unsupported/Eigen/CXX11/ThreadPool>

namespace moebal {

/// Eigen's 16-bit scalars are ours in memory.
template <class T> struct EigenElement {
  using type = T;
};
template <> struct EigenElement<Eigen::bfloat16> {
  using type = BFloat16;
};
template <> struct EigenElement<Eigen::half> {
  using type = Half;
};

/// Matrices, vectors, maps and blocks whose elements lie in memory with an inner stride of 1.
template <class X>
  requires requires(X& x) { // not DenseBase<X>: the base of a segment of a vector is that of a block
    typename X::Scalar;
    X::InnerStrideAtCompileTime;
    x.data();
    x.outerStride();
  }
struct ViewTraits<X> {
  using memory = HostMemory;
  using element = typename EigenElement<typename X::Scalar>::type;
  static constexpr bool is_matrix = !X::IsVectorAtCompileTime;
  static constexpr bool row_major = X::IsRowMajor;
  static_assert(X::InnerStrideAtCompileTime == 1, "moebal: this Eigen expression has gaps between its elements: "
                                                  "moebal needs an inner stride of 1");

  template <class Y> static auto* data(Y& x) {
    using Pointer = std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(x.data())>>, element const*, element*>;
    return reinterpret_cast<Pointer>(x.data());
  }
  static Index rows(X const& x) { return x.rows(); }
  static Index cols(X const& x) { return is_matrix ? x.cols() : x.size(); }
  static Index row_stride(X const& x) { return x.outerStride(); }
};

/// The CPU execution. EigenExec{} runs on the calling thread; EigenExec{&pool} on the threads of an Eigen::ThreadPool, which must
/// outlive it. Results do not depend on the number of threads. Calls block until the work is done and allocate nothing;
/// called from inside a task of the pool, the work runs on that thread alone. Rows run on the fastest machine that the
/// processor has; on(Machine) chooses another, for comparing: results do not depend on it either.
class EigenExec {
public:
  using memory = HostMemory;
  static constexpr Index tile_rows = detail::host_tile_rows; // rows that a body may be asked for at once
  static constexpr Index block_rows = detail::host_block_rows; // rows whose logits are made at once
  static constexpr bool takes_runs = true; // the rows of a worker are consecutive (router/count_ranks.hpp)

  EigenExec() = default;
  explicit EigenExec(Eigen::ThreadPoolInterface* pool) : pool_(pool) {}

  /// This execution with its rows on machine m. Throws std::invalid_argument unless has_machine(m).
  EigenExec on(Machine m) const {
    EigenExec other = *this;
    other.machine_ = require_machine(m);
    return other;
  }
  Machine machine() const { return machine_; }

  /// Threads that share the rows.
  Index workers() const { return pool_ ? Index(pool_->NumThreads()) : 1; }
  Index copies() const { return workers(); }

  template <class Body>
  void for_rows(Index n, std::size_t bytes, WorkspaceView<HostMemory> workspace, Body const& body) const {
    std::byte* const scratch = workspace.take<std::byte>(Index(bytes) * workers());
    share(n, [=, &body, machine = machine_](Index worker, Index first, Index last) {
      detail::host_rows(machine, body, scratch + std::size_t(worker) * bytes, worker, first, last);
    });
  }
  template <class F> void for_each(Index n, F const& f) const {
    share(n, [&f](Index, Index first, Index last) {
      for (Index i = first; i < last; ++i) f(i);
    });
  }
  void exclusive_scan(VectorView<std::int64_t> v) const {
    std::int64_t sum = 0;
    for (std::int64_t& x : v) {
      std::int64_t const here = x;
      x = sum;
      sum += here;
    }
  }
  void reduce_columns(MatrixView<std::int64_t const> m, VectorView<std::int64_t> sums) const {
    for (std::int64_t& x : sums) x = 0;
    for (Index r = 0; r < m.rows(); ++r)
      for (Index c = 0; c < m.cols(); ++c) sums[c] += m(r, c);
  }
  template <class T> void copy(VectorView<T const> from, VectorView<T> to) const {
    for (Index i = 0; i < from.size(); ++i) to[i] = from[i];
  }
  template <class T> void fill(VectorView<T> v, T value) const {
    for (T& x : v) x = value;
  }

private:
  // Cuts [0, n) into one run of consecutive indices per worker and calls part(worker, first, last) for each that is not empty.
  template <class Part> void share(Index n, Part const& part) const {
    Index const workers = pool_ && pool_->CurrentThreadId() < 0 ? std::min<Index>(this->workers(), n) : 1;
    if (workers <= 1) {
      if (n > 0) part(Index(0), Index(0), n);
      return;
    }
    struct Job {
      Part const& part;
      Index n, workers;
      Eigen::Barrier barrier;
      void run(Index w) const { part(w, n * w / workers, n * (w + 1) / workers); }
    } job{part, n, workers, Eigen::Barrier(unsigned(workers - 1))};
    for (Index w = 1; w < workers; ++w) // two words: std::function keeps them without allocating
      pool_->Schedule([shared = &job, w] {
        shared->run(w);
        shared->barrier.Notify();
      });
    job.run(0);
    job.barrier.Wait();
  }

  Eigen::ThreadPoolInterface* pool_ = nullptr;
  Machine machine_ = best_machine();
};
static_assert(execution<EigenExec>);

} // namespace moebal
