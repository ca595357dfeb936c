// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The CPU: SIMD lanes on a row, and Eigen's own thread pool over rows. Eigen's dense matrices and vectors become views here.

#include "../core/execution.hpp"
#include "eigen_crew.hpp"
#include "host_rows.hpp"

#include <Eigen/Core>

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

/// The CPU execution. EigenExec{} runs on the calling thread; EigenExec{&pool} on it and on the threads of an Eigen::ThreadPool, which
/// must outlive it: for N cores, a pool of N - 1. The threads of the pool are called where what is left to do takes longer than to wake
/// one (some 40 us), and fetch small pieces; one that is late, or busy with other tasks, is not waited for. Results do not depend on the
/// number of threads. Calls block until the work is done and allocate nothing; called from inside a task of the pool, or while another
/// thread uses a copy of the same object, the work runs on the calling thread alone. Rows run on the fastest machine that the
/// processor has; on(Machine) chooses another, for comparing: results do not depend on it either.
class EigenExec {
public:
  using memory = HostMemory;
  static constexpr Index tile_rows = detail::host_tile_rows; // rows that a body may be asked for at once
  static constexpr Index block_rows = detail::host_block_rows; // rows whose logits are made at once

  EigenExec() = default;
  explicit EigenExec(Eigen::ThreadPoolInterface* pool) : crew_(pool) {}

  /// This execution with its rows on machine m. Throws std::invalid_argument unless has_machine(m).
  EigenExec on(Machine m) const {
    EigenExec other = *this;
    other.machine_ = require_machine(m);
    return other;
  }
  Machine machine() const { return machine_; }
  /// This execution with a share of the rows for every thread in every call, whatever that costs: for comparing, on a pool whose tasks
  /// do not wait for the caller.
  EigenExec on_every_thread() const {
    EigenExec other = *this;
    other.ask_ = detail::AskForHelp::ByAll;
    return other;
  }

  /// Threads that may share the rows.
  Index workers() const { return crew_.get() != nullptr ? crew_.get()->workers() : 1; }
  Index copies() const { return workers(); }

  /// Rows of a run: for_rows(n, ..., Body) has the rows [0, runs), [runs, 2 runs) ... each taken by one worker, in ascending order
  /// (router/count_ranks.hpp). Rows that read a whole weight are cut as little as the threads allow.
  template <class Body> Index run_rows(Index n) const {
    Index const workers = this->workers();
    if (workers == 1) return std::max<Index>(n, 1);
    Index const largest = is_costly<Body> ? block_rows : tile_rows, a_share = std::max<Index>((n + workers - 1) / workers, 1);
    Index const least = is_costly<Body> || ask_ == detail::AskForHelp::ByAll ? std::min(a_share, largest) : largest;
    Index const even = (n + most_runs() - 1) / most_runs();
    return std::max<Index>((even + least - 1) / least, 1) * least;
  }
  /// Runs of any number of rows, at most.
  Index most_runs() const {
    Index const workers = this->workers(); // late ones leave the others little to wait for, yet each run has a table of counts
    return workers == 1 ? 1 : std::min(16 * workers, std::max<Index>(128, 4 * workers));
  }

  template <class Body>
  void for_rows(Index n, std::size_t bytes, WorkspaceView<HostMemory> workspace, Body const& body) const {
    std::byte* const scratch = workspace.take<std::byte>(Index(bytes) * workers());
    auto const ask = is_costly<Body> ? detail::AskForHelp::AtOnce : detail::AskForHelp::WhereItPays;
    share(n, run_rows<Body>(n), ask, [=, &body, machine = machine_](Index worker, Index first, Index last) {
      detail::host_rows(machine, body, scratch + std::size_t(worker) * bytes, worker, first, last);
    });
  }
  template <class F> void for_each(Index n, F const& f) const {
    Index const piece = workers() == 1 ? n : std::max<Index>(n / most_runs(), 1);
    share(n, piece, detail::AskForHelp::WhereItPays, [&f](Index, Index first, Index last) {
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
  // Rows that read a whole weight take 1 us and more.
  template <class Body> static constexpr bool is_costly = detail::blocked_body<Body, GateProduct<16>>;

  // part(worker, first, last) for the pieces of [0, n), on as many threads as that pays for.
  template <class Part> void share(Index n, Index piece, detail::AskForHelp ask, Part const& part) const {
    if (detail::Crew* const crew = crew_.get(); crew != nullptr && n > piece && !crew->is_inside())
      if (crew->share(n, piece, ask_ == detail::AskForHelp::ByAll ? ask_ : ask, part)) return;
    for (Index first = 0; first < n; first += piece) part(Index(0), first, std::min(n, first + piece));
  }

  detail::CrewHandle crew_;
  detail::AskForHelp ask_ = detail::AskForHelp::WhereItPays;
  Machine machine_ = best_machine();
};
static_assert(execution<EigenExec>);
static_assert(std::is_nothrow_move_constructible_v<EigenExec>); // else a vector of what holds one copies it

} // namespace moebal
