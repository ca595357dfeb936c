// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The kernels that the primitives of core/execution.hpp are on a CUDA device.

#include "cuda_warp.hpp"
#include "warp_rows.hpp"

#if defined(__CUDACC__)

#include <cooperative_groups.h>

namespace moebal::detail {

inline constexpr int cuda_warps = 8; // of a block
inline constexpr int cuda_threads = 32 * cuda_warps;
/// Blocks that a multiprocessor must have room for, in registers: said, because ptxas would rather spill a little than lose a
/// step of occupancy, and because it does not know which rows wait for memory.
template <class Body> constexpr int cuda_blocks(int words) {
  bool more = requires { requires Body::selection_needs_scores; }; // scores beside the keys
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
  more = true; // the same code takes more registers there
#endif
  return words == 0 || words > 8 ? 2 : words == 8 && more ? 3 : 4;
}
inline constexpr int cuda_scan_threads = 1024;

/// Where the rows of a kernel add their integers up.
enum class CudaSums {
  None,  // nowhere: the body has none
  Block, // in shared memory, and from there to the sums, once for each block
  Device // at the sums
};

/// Rows by warps: warp w takes rows w, w + warps, ...  Sums are set to 0 by block 0; the other blocks wait for that as
/// late as they can, which takes a cooperative launch. A grid of one block waits for nobody.
///   scratch  [warps, bytes] of device memory
/// Shared memory: Block's sums, then warp_bytes for each warp.
template <CudaSums where, int words, class Body>
__global__ void __launch_bounds__(cuda_threads, cuda_blocks<Body>(words))
    rows_kernel(Body const body, std::byte* scratch, std::size_t bytes, Index n, std::size_t warp_bytes) {
  extern __shared__ std::int64_t cuda_shared[];
  int const warp = int(threadIdx.x / 32);
  Index const worker = Index(blockIdx.x) * cuda_warps + warp, workers = Index(gridDim.x) * cuda_warps;
  std::byte* const mine = scratch + std::size_t(worker) * bytes;
  if constexpr (where == CudaSums::None) {
    std::byte* const shared = reinterpret_cast<std::byte*>(cuda_shared) + std::size_t(warp) * warp_bytes;
    warp_rows<CudaWarp, words>(body, mine, shared, worker, workers, n);
  } else {
    namespace cg = cooperative_groups;
    std::int64_t* const sums = body.sums();
    Index const size = body.sums_size();
    bool const alone = gridDim.x == 1 || size == 0;
    cg::grid_group const grid = cg::this_grid();
    cg::grid_group::arrival_token cleared{};
    if (blockIdx.x == 0 && (where == CudaSums::Device || !alone))
      for (Index i = threadIdx.x; i < size; i += cuda_threads) sums[i] = 0;
    if (!alone) cleared = grid.barrier_arrive();
    if constexpr (where == CudaSums::Device) {
      if (alone)
        __syncthreads();
      else
        grid.barrier_wait(static_cast<cg::grid_group::arrival_token&&>(cleared));
      std::byte* const shared = reinterpret_cast<std::byte*>(cuda_shared) + std::size_t(warp) * warp_bytes;
      warp_rows<CudaWarp, words>(body, mine, shared, worker, workers, n);
    } else {
      for (Index i = threadIdx.x; i < size; i += cuda_threads) cuda_shared[i] = 0;
      __syncthreads();
      std::byte* const shared = reinterpret_cast<std::byte*>(cuda_shared + size + size % 2) + std::size_t(warp) * warp_bytes;
      warp_rows<CudaBlockWarp, words>(body.with_sums(cuda_shared), mine, shared, worker, workers, n);
      __syncthreads();
      if (!alone) grid.barrier_wait(static_cast<cg::grid_group::arrival_token&&>(cleared));
      for (Index i = threadIdx.x; i < size; i += cuda_threads) {
        std::int64_t const sum = cuda_shared[i];
        if (alone)
          sums[i] = sum;
        else if (sum != 0)
          CudaWarp::add(sums + i, sum);
      }
    }
  }
}

/// f(i) by a thread for each i, or by a warp where f has a form for one.
template <class F> __global__ void __launch_bounds__(cuda_threads, cuda_blocks<F>(0)) items_kernel(F const f, Index n) {
  if constexpr (warp_item<F, CudaWarp>) {
    for (Index i = Index(blockIdx.x) * cuda_warps + threadIdx.x / 32; i < n; i += Index(gridDim.x) * cuda_warps)
      f.warp(CudaWarp{}, i);
  } else {
    for (Index i = Index(blockIdx.x) * cuda_threads + threadIdx.x; i < n; i += Index(gridDim.x) * cuda_threads) f(i);
  }
}

/// An exclusive scan in place, by one block.
template <class V> __global__ void __launch_bounds__(cuda_scan_threads) scan_kernel(V const v) {
  __shared__ std::int64_t totals[32];
  int const warp = int(threadIdx.x / 32), lane = CudaWarp::lane();
  std::int64_t carry = 0;
  for (Index first = 0; first < v.size(); first += cuda_scan_threads) {
    Index const i = first + threadIdx.x;
    WarpPrefix const own = warp_prefix<CudaWarp>(i < v.size() ? v[i] : 0);
    if (lane == 0) totals[warp] = own.total;
    __syncthreads();
    WarpPrefix const all = warp_prefix<CudaWarp>(totals[lane]);
    std::int64_t const before = __shfl_sync(CudaWarp::all, static_cast<long long>(all.before), warp);
    if (i < v.size()) v[i] = carry + before + own.before;
    carry += all.total;
    __syncthreads(); // totals are read before they are written again
  }
}

} // namespace moebal::detail

#endif
