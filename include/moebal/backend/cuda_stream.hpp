// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The primitives of core/execution.hpp on a CUDA stream: launches, and nothing else. No call allocates, waits or reads
// anything back, so that a CUDA graph may capture them all.

#include "../core/errors.hpp"
#include "cuda_kernels.hpp"
#include "items.hpp"

#if defined(__CUDACC__)

#include <algorithm>
#include <cuda_runtime.h>

namespace moebal {

/// The CUDA runtime refused something.
struct CudaError : Error {
  CudaError(std::string const& what, cudaError_t status)
      : Error("moebal: " + what + ": " + cudaGetErrorName(status) + ": " + cudaGetErrorString(status)), status(status) {}
  cudaError_t status;
};

namespace detail {

inline void require_cuda(cudaError_t status, char const* what) {
  if (status != cudaSuccess) throw CudaError(what, status);
}
inline int cuda_processors() {
  int device = 0, processors = 0;
  require_cuda(cudaGetDevice(&device), "the current CUDA device");
  require_cuda(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), "multiprocessors");
  return processors;
}

/// The name that an error shows for Work.
template <class Work> constexpr char const* cuda_region(char const* otherwise) {
  if constexpr (requires { Work::region; })
    return Work::region;
  else
    return otherwise;
}

} // namespace detail

/// A stream, and as many warps as its device keeps busy.
class CudaStream {
public:
  using memory = DeviceMemory;
  static constexpr bool clears_sums = true;
  /// Rows in flight on each multiprocessor: each has scratch memory of its own.
  static constexpr Index warps_of_processor = 48;

  explicit CudaStream(cudaStream_t stream) : stream_(stream), processors_(detail::cuda_processors()) {}

  cudaStream_t stream() const { return stream_; }
  Index workers() const { return processors_ * warps_of_processor; }
  Index copies() const { return 1; } // warps add with atomics

  /// Throws CudaError naming the kernel and its shape where the runtime refuses the launch.
  template <class Body>
  void for_rows(Index n, std::size_t bytes, WorkspaceView<memory> workspace, Body const& body) const {
    std::byte* const scratch = workspace.template take<std::byte>(Index(bytes) * workers());
    if constexpr (summing_body<Body>) {
      Index const size = body.sums_size();
      if (n <= 0 && size > 0) return fill(VectorView<std::int64_t, memory>(body.sums(), size), std::int64_t(0));
      std::size_t const sums = std::size_t(size + size % 2) * sizeof(std::int64_t);
      if (sums <= most_sum_bytes) {
        detail::with_warp_words(body, (most_shared_bytes - sums) / detail::cuda_warps, [&](auto words) {
          rows<detail::CudaSums::Block, decltype(words)::value>(n, bytes, scratch, sums, body);
        });
      } else {
        rows<detail::CudaSums::Device, 0>(n, bytes, scratch, 0, body);
      }
    } else {
      detail::with_warp_words(body, most_shared_bytes / detail::cuda_warps, [&](auto words) {
        rows<detail::CudaSums::None, decltype(words)::value>(n, bytes, scratch, 0, body);
      });
    }
  }
  template <class F> void for_each(Index n, F const& f) const {
    Index const of_block = detail::warp_item<F, CudaWarp> ? detail::cuda_warps : detail::cuda_threads;
    Index const blocks = std::min<Index>((n + of_block - 1) / of_block, processors_ * most_item_blocks);
    launch(detail::cuda_region<F>("moebal::for_each"), n, detail::items_kernel<F>, blocks, detail::cuda_threads, 0, false,
           f, n);
  }
  void exclusive_scan(VectorView<std::int64_t, memory> v) const {
    launch("moebal::exclusive_scan", v.size(), detail::scan_kernel<VectorView<std::int64_t, memory>>, 1,
           detail::cuda_scan_threads, 0, false, v);
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
  /// Waits for all work submitted before. Throws CudaError for an error of the device.
  void fence() const { detail::require_cuda(cudaStreamSynchronize(stream_), "waiting for a stream"); }

private:
  static constexpr std::size_t most_sum_bytes = 64 * 1024, most_shared_bytes = 96 * 1024;
  static constexpr std::size_t free_shared_bytes = 48 * 1024; // what a kernel gets without asking
  static constexpr Index most_item_blocks = 32;               // of a multiprocessor, by hand or by loops
  static constexpr Index rows_of_one_block = 16; // few rows: one block, for blocks that add together wait for each other

  template <detail::CudaSums where, int words, class Body>
  void rows(Index n, std::size_t bytes, std::byte* scratch, std::size_t sum_bytes, Body const& body) const {
    auto* const kernel = detail::rows_kernel<where, words, Body>;
    std::size_t const of_warp = detail::warp_shared_bytes<words>(body), shared = sum_bytes + detail::cuda_warps * of_warp;
    char const* const name = detail::cuda_region<Body>("moebal::for_rows");
    if (shared > free_shared_bytes)
      detail::require_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared)), name);
    Index blocks = std::min((n + detail::cuda_warps - 1) / detail::cuda_warps, workers() / detail::cuda_warps);
    bool together = false;
    if constexpr (where != detail::CudaSums::None)
      if (body.sums_size() > 0) {
        if (n <= rows_of_one_block) blocks = std::min<Index>(blocks, 1);
        int resident = 0;
        detail::require_cuda(
            cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, detail::cuda_threads, shared), name);
        blocks = std::min(blocks, Index(std::max(resident, 1)) * processors_);
        together = blocks > 1;
      }
    launch(name, n, kernel, blocks, detail::cuda_threads, shared, together, body, scratch, bytes, n, of_warp);
  }

  /// together: all blocks are to run at the same time.
  template <class... Parameter, class... Argument>
  void launch(char const* name, Index n, void (*kernel)(Parameter...), Index blocks, int threads, std::size_t shared,
              bool together, Argument const&... argument) const {
    if (n <= 0) return;
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = together ? 1 : 0;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(unsigned(blocks));
    config.blockDim = dim3(unsigned(threads));
    config.dynamicSmemBytes = shared;
    config.stream = stream_;
    config.attrs = &attribute;
    config.numAttrs = together ? 1 : 0;
    cudaError_t const status = cudaLaunchKernelEx(&config, kernel, argument...);
    if (status == cudaSuccess) return;
    cudaGetLastError(); // told here, and not to whoever asks next
    throw CudaError(std::string("launching ") + name + " for n = " + std::to_string(n) + " as " + std::to_string(blocks) +
                        " blocks of " + std::to_string(threads) + " threads with " + std::to_string(shared) +
                        " bytes of shared memory",
                    status);
  }

  cudaStream_t stream_;
  Index processors_;
};

} // namespace moebal

#endif
