// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Thrust: its host systems (CPP, OMP, TBB) and CUDA streams with the same code, for users without Kokkos.

#include "../core/execution.hpp"
#include "items.hpp"

#include <thrust/device_vector.h>
#include <thrust/execution_policy.h>
#include <thrust/for_each.h>
#include <thrust/host_vector.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/scan.h>

#include <algorithm>
#include <thread>

#if defined(__CUDACC__)
#include <thrust/system/cuda/execution_policy.h>
#include <thrust/system_error.h>
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
template <class Policy> using thrust_memory = std::conditional_t<thrust_on_cuda<Policy>, DeviceMemory, HostMemory>;

/// On a host a worker takes a run of rows; on a device, where a worker is a thread, every workers-th one.
template <class Body, class Memory> struct ThrustForRows {
  static constexpr bool runs = std::same_as<Memory, HostMemory>;
  Body body;
  std::byte* scratch;
  std::size_t bytes;
  Index n, workers;
  MOEBAL_FN void operator()(Index worker) const {
    std::byte* const mine = scratch + std::size_t(worker) * bytes;
    Index const first = runs ? n * worker / workers : worker, last = runs ? n * (worker + 1) / workers : n;
    if constexpr (runs && thrust_packs)
      host_rows(body, mine, worker, first, last);
    else
      for (Index row = first; row < last; row += runs ? 1 : workers) body(SerialLanes{}, mine, worker, row);
  }
};

/// An exclusive scan by one thread.
template <class Memory> struct ScanAlone {
  VectorView<std::int64_t, Memory> v;
  MOEBAL_FN void operator()(Index) const {
    std::int64_t sum = 0;
    for (Index i = 0; i < v.size(); ++i) {
      std::int64_t const here = v[i];
      v[i] = sum;
      sum += here;
    }
  }
};

} // namespace detail

/// A Thrust execution policy:
///   ThrustExec exec{thrust::omp::par};
///   ThrustExec exec{thrust::cuda::par_nosync.on(stream)};  or, the same,  ThrustExec exec{stream};
/// On CUDA, with par_nosync, nothing waits for anything: the work is ordered on the stream, and fence() waits for it.
/// On a host system a call returns when its work is done. Results depend on neither the policy nor `workers`.
template <class Policy> class ThrustExec {
  static constexpr bool host = !detail::thrust_on_cuda<Policy>;

public:
  using memory = detail::thrust_memory<Policy>;
  static constexpr Index tile_rows = host ? detail::thrust_tile_rows : 0; // rows that a body may be asked for at once
  static constexpr Index block_rows = host ? detail::thrust_block_rows : 0; // rows whose logits are made at once
  /// Rows in flight on a device: each has private scratch and statistics, which must be cleared and summed.
  static constexpr Index device_workers = 4096;
  /// Vectors up to this long are scanned by one thread of a device; thrust takes longer ones, with temporary memory of
  /// the policy.
  static constexpr Index short_scan = 4096;

  explicit ThrustExec(Policy policy) : ThrustExec(policy, default_workers()) {}
  /// workers: rows that may be in flight; on a host, no fewer than threads.
  ThrustExec(Policy policy, Index workers) : policy_(policy), workers_(std::max<Index>(workers, 1)) {}

#if defined(__CUDACC__)
  template <class Stream>
    requires(std::same_as<Stream, cudaStream_t> && detail::thrust_on_cuda<Policy>)
  explicit ThrustExec(Stream stream) : ThrustExec(thrust::cuda::par_nosync.on(stream)) {}
#endif

  Policy const& policy() const { return policy_; }
  Index workers() const { return workers_; }
  Index copies() const { return workers_; } // rows are taken by single threads, which add without atomics

  template <class Body>
  void for_rows(Index n, std::size_t bytes, WorkspaceView<memory> workspace, Body const& body) const {
    std::byte* const scratch = workspace.template take<std::byte>(Index(bytes) * workers_);
    if (n > 0) for_each(workers_, detail::ThrustForRows<Body, memory>{body, scratch, bytes, n, workers_});
  }
  template <class F> void for_each(Index n, F const& f) const {
    if (n > 0) thrust::for_each_n(policy_, thrust::counting_iterator<Index>(0), n, f);
  }
  void exclusive_scan(VectorView<std::int64_t, memory> v) const {
    if (host || v.size() <= short_scan)
      for_each(1, detail::ScanAlone<memory>{v});
    else
      thrust::exclusive_scan(policy_, v.data(), v.data() + v.size(), v.data(), std::int64_t(0));
  }
  void reduce_columns(MatrixView<std::int64_t const, memory> m, VectorView<std::int64_t, memory> sums) const {
    for_each(sums.size(), detail::SumColumn<memory>{m, sums});
  }
  template <class T> void copy(VectorView<T const, memory> from, VectorView<T, memory> to) const {
    for_each(from.size(), detail::CopyElement<T, memory>{from, to});
  }
  template <class T> void fill(VectorView<T, memory> v, T value) const {
    for_each(v.size(), detail::FillElement<T, memory>{v, value});
  }
  /// Waits for all work submitted before. Throws thrust::system_error for an error of the device.
  void fence() const {
#if defined(__CUDACC__)
    if constexpr (!host) {
      Policy policy = policy_; // Thrust asks a mutable one
      cudaError_t const status = cudaStreamSynchronize(thrust::cuda_cub::stream(policy));
      if (status != cudaSuccess)
        throw thrust::system_error(status, thrust::cuda_category(), "moebal: ThrustExec::fence");
    }
#endif
  }

private:
  static Index default_workers() { return host ? Index(std::thread::hardware_concurrency()) : device_workers; }

  Policy policy_;
  Index workers_;
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
