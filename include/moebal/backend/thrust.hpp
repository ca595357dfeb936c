// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Thrust: its host systems (CPP, OMP, TBB) and CUDA streams, for users without Kokkos.

#include "../core/execution.hpp"
#include "items.hpp"

#include <thrust/device_vector.h>
#include <thrust/execution_policy.h>
#include <thrust/for_each.h>
#include <thrust/host_vector.h>
#include <thrust/iterator/counting_iterator.h>

#include <algorithm>
#include <thread>

#if defined(__CUDACC__)
#include "cuda_stream.hpp"
#include <thrust/system/cuda/execution_policy.h>
#else
#include "host_rows.hpp"
#endif

namespace moebal {
namespace detail {

#if defined(__CUDACC__)
template <class Policy>
inline constexpr bool thrust_on_cuda = std::is_base_of_v<thrust::cuda_cub::execution_policy<Policy>, Policy>;
// nvcc compiles host rows for the device too, and SIMD packs are not for it.
inline constexpr bool thrust_packs = false;
inline constexpr Index thrust_tile_rows = 0, thrust_block_rows = 0;
#else
template <class Policy> inline constexpr bool thrust_on_cuda = false;
inline constexpr bool thrust_packs = true;
inline constexpr Index thrust_tile_rows = host_tile_rows, thrust_block_rows = host_block_rows;
#endif

/// On a host a worker takes a run of rows.
template <class Body> struct ThrustForRows {
  Body body;
  std::byte* scratch;
  std::size_t bytes;
  Index n, workers;
  MOEBAL_FN void operator()(Index worker) const {
    std::byte* const mine = scratch + std::size_t(worker) * bytes;
    Index const first = n * worker / workers, last = n * (worker + 1) / workers;
    if constexpr (thrust_packs)
      host_rows(body, mine, worker, first, last);
    else
      for (Index row = first; row < last; ++row) body(SerialLanes{}, mine, worker, row);
  }
};

/// The primitives on one of Thrust's host systems.
template <class Policy> class ThrustHost {
public:
  using memory = HostMemory;
  static constexpr Index tile_rows = thrust_tile_rows;   // rows that a body may be asked for at once
  static constexpr Index block_rows = thrust_block_rows; // rows whose logits are made at once

  explicit ThrustHost(Policy policy) : ThrustHost(policy, Index(std::thread::hardware_concurrency())) {}
  /// workers: rows that may be in flight; no fewer than threads.
  ThrustHost(Policy policy, Index workers) : policy_(policy), workers_(std::max<Index>(workers, 1)) {}

  Index workers() const { return workers_; }
  Index copies() const { return workers_; } // rows are taken by single threads, which add without atomics

  template <class Body>
  void for_rows(Index n, std::size_t bytes, WorkspaceView<memory> workspace, Body const& body) const {
    std::byte* const scratch = workspace.template take<std::byte>(Index(bytes) * workers_);
    if (n > 0) for_each(workers_, ThrustForRows<Body>{body, scratch, bytes, n, workers_});
  }
  template <class F> void for_each(Index n, F const& f) const {
    if (n > 0) thrust::for_each_n(policy_, thrust::counting_iterator<Index>(0), n, f);
  }
  void exclusive_scan(VectorView<std::int64_t> v) const { for_each(1, ScanAlone{v}); }
  void reduce_columns(MatrixView<std::int64_t const> m, VectorView<std::int64_t> sums) const {
    for_each(sums.size(), SumColumn<memory>{m, sums});
  }
  template <class T> void copy(VectorView<T const> from, VectorView<T> to) const {
    for_each(from.size(), CopyElement<T, memory>{from, to});
  }
  template <class T> void fill(VectorView<T> v, T value) const {
    for_each(v.size(), FillElement<T, memory>{v, value});
  }
  void fence() const {}

private:
  /// An exclusive scan by one thread.
  struct ScanAlone {
    VectorView<std::int64_t> v;
    MOEBAL_FN void operator()(Index) const {
      std::int64_t sum = 0;
      for (Index i = 0; i < v.size(); ++i) {
        std::int64_t const here = v[i];
        v[i] = sum;
        sum += here;
      }
    }
  };

  Policy policy_;
  Index workers_;
};

#if defined(__CUDACC__)
/// The primitives on the stream of a CUDA policy.
template <class Policy> class ThrustCuda : public CudaStream {
public:
  explicit ThrustCuda(Policy policy) : CudaStream(thrust::cuda_cub::stream(policy)) {}
};
template <class Policy>
using thrust_machine = typename std::conditional_t<thrust_on_cuda<Policy>, std::type_identity<ThrustCuda<Policy>>,
                                                   std::type_identity<ThrustHost<Policy>>>::type;
#else
template <class Policy> using thrust_machine = ThrustHost<Policy>;
#endif

} // namespace detail

/// A Thrust execution policy:
///   ThrustExec exec{thrust::omp::par};
///   ThrustExec exec{thrust::cuda::par_nosync.on(stream)};  or, the same,  ThrustExec exec{stream};
/// On CUDA nothing waits for anything, whatever the policy: the work is ordered on its stream, fence() waits for it, and
/// a CUDA graph may capture it; a warp takes a row. On a host system a call returns when its work is done, and
/// ThrustExec{policy, workers} says how many rows may be in flight. Results depend on neither.
template <class Policy> class ThrustExec : public detail::thrust_machine<Policy> {
  using Machine = detail::thrust_machine<Policy>;

public:
  explicit ThrustExec(Policy policy) : Machine(policy), policy_(policy) {}
  ThrustExec(Policy policy, Index workers)
    requires std::constructible_from<Machine, Policy, Index>
      : Machine(policy, workers), policy_(policy) {}

#if defined(__CUDACC__)
  template <class Stream>
    requires(std::same_as<Stream, cudaStream_t> && detail::thrust_on_cuda<Policy>)
  explicit ThrustExec(Stream stream) : ThrustExec(thrust::cuda::par_nosync.on(stream)) {}
#endif

  Policy const& policy() const { return policy_; }

private:
  Policy policy_;
};

#if defined(__CUDACC__)
template <class Stream>
  requires std::same_as<Stream, cudaStream_t>
ThrustExec(Stream) -> ThrustExec<decltype(thrust::cuda::par_nosync.on(Stream{}))>;
#endif

/// Thrust's vectors. A matrix in one of them is MatrixView(thrust::raw_pointer_cast(v.data()), rows, cols).
template <class X, class T, class Memory> struct ThrustVectorTraits {
  using memory = Memory;
  using element = T;
  static constexpr bool is_matrix = false;
  static constexpr bool row_major = true;
  template <class Y> static auto* data(Y& x) { return thrust::raw_pointer_cast(x.data()); }
  static Index rows(X const&) { return 1; }
  static Index cols(X const& x) { return Index(x.size()); }
  static Index row_stride(X const& x) { return Index(x.size()); }
};
template <class T, class A>
struct ViewTraits<thrust::host_vector<T, A>> : ThrustVectorTraits<thrust::host_vector<T, A>, T, HostMemory> {};
template <class T, class A>
struct ViewTraits<thrust::device_vector<T, A>> : ThrustVectorTraits<thrust::device_vector<T, A>, T,
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
                                                                    DeviceMemory
#else
                                                                    HostMemory
#endif
                                                                    > {
};

} // namespace moebal
