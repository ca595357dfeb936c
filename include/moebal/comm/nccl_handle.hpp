// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What comm/nccl.hpp asks of NCCL and of the CUDA runtime: one communicator that never hangs its host.

#include "../core/communication.hpp"
#include "../core/errors.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <cuda_runtime_api.h>
#include <nccl.h>

#if NCCL_VERSION_CODE < NCCL_VERSION(2, 14, 0)
#error "moebal: comm/nccl.hpp needs NCCL 2.14 or newer (communicators that do not block)"
#endif

namespace moebal {

/// Who this rank is, and where its work goes.
struct NcclOptions {
  ncclUniqueId id{};             // from Nccl::make_id() on one rank, brought to the others by the caller
  Index rank = 0;                // in [0, size)
  Index size = 1;                // R
  cudaStream_t stream = nullptr; // of the device that is current; outlives the communicator
  Index ranks_per_node = 0;      // ranks are laid out in blocks of this; 0: all ranks share one node
  std::chrono::milliseconds timeout = std::chrono::seconds(60); // the longest wait for other ranks
};

namespace detail {
[[noreturn]] inline void fail_nccl(std::string_view what, std::string_view why, std::string_view detail = "") {
  std::string text("moebal: ");
  text.append(what).append(": ").append(why);
  if (!detail.empty()) text.append(": ").append(detail);
  throw CommError(text);
}
inline void require_cuda(cudaError_t code, std::string_view what) {
  if (code != cudaSuccess) fail_nccl(what, cudaGetErrorString(code));
}

/// One NCCL communicator that never blocks the host: each call is followed until it is done, failed or late, and after
/// a failure the communicator is aborted, which also frees kernels that wait for a dead rank.
class NcclHandle {
public:
  explicit NcclHandle(NcclOptions const& options) : options_(options) {
    int devices = 0;
    require_cuda(cudaGetDeviceCount(&devices), "NCCL: looking for a CUDA device");
    if (devices == 0) fail_nccl("NCCL: looking for a CUDA device", "this machine has none");
    int version = 0;
    follow(ncclGetVersion(&version), "ncclGetVersion");
    if (version < NCCL_VERSION(2, 14, 0)) refuse<CommError>("NCCL library", "2.14 (21400)", std::to_string(version));
    require_cuda(cudaMalloc(&scratch_, sizeof(std::int64_t)), "NCCL: cudaMalloc of 8 bytes");
    try {
      require_cuda(cudaMemset(scratch_, 0, sizeof(std::int64_t)), "NCCL: cudaMemset of 8 bytes");
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.blocking = 0;
      follow(ncclCommInitRankConfig(&comm_, int(options.size), options.id, int(options.rank), &config),
             "ncclCommInitRankConfig");
    } catch (...) {
      release();
      throw;
    }
  }
  NcclHandle(NcclHandle const&) = delete;
  NcclHandle& operator=(NcclHandle const&) = delete;
  ~NcclHandle() { release(); }

  NcclOptions const& options() const { return options_; }
  std::int64_t* scratch() const { return scratch_; }

  /// The communicator, unless a failure has ended it.
  ncclComm_t comm() const {
    if (!comm_) fail_nccl("NCCL", "this communicator was aborted after a failure");
    return comm_;
  }
  /// Waits until the host side of a call is done; throws CommError with NCCL's words where it fails.
  void follow(ncclResult_t result, std::string_view what) {
    auto const deadline = std::chrono::steady_clock::now() + options_.timeout;
    while (result == ncclInProgress && comm_) {
      if (std::chrono::steady_clock::now() > deadline) abort(what, late());
      std::this_thread::sleep_for(std::chrono::microseconds(20));
      ncclResult_t state = ncclInProgress;
      ncclResult_t const asked = ncclCommGetAsyncError(comm_, &state);
      result = asked == ncclSuccess ? state : asked;
    }
    if (result != ncclSuccess) abort(what, ncclGetErrorString(result));
  }
  /// Waits until the stream has reached `event`.
  void await(cudaEvent_t event) {
    auto const deadline = std::chrono::steady_clock::now() + options_.timeout;
    for (cudaError_t state; (state = cudaEventQuery(event)) != cudaSuccess;) {
      if (state != cudaErrorNotReady) abort("NCCL: wait", cudaGetErrorString(state));
      ncclResult_t result = ncclSuccess;
      ncclResult_t const asked = ncclCommGetAsyncError(comm(), &result);
      if (asked != ncclSuccess) result = asked;
      if (result != ncclSuccess && result != ncclInProgress) abort("NCCL: wait", ncclGetErrorString(result));
      if (std::chrono::steady_clock::now() > deadline) abort("NCCL: wait", late());
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }
  /// Whether await() would return or throw at once.
  bool settled(cudaEvent_t event) const {
    if (!comm_ || cudaEventQuery(event) != cudaErrorNotReady) return true;
    ncclResult_t result = ncclSuccess;
    return ncclCommGetAsyncError(comm_, &result) != ncclSuccess || (result != ncclSuccess && result != ncclInProgress);
  }

private:
  std::string late() const {
    return "not all ranks took part within " + std::to_string(options_.timeout.count()) + " ms";
  }
  [[noreturn]] void abort(std::string_view what, std::string_view why) {
    char const* const last = ncclGetLastError(comm_); // a communicator's own words, or without one the library's
    std::string const words = last ? last : "";
    if (comm_) ncclCommAbort(std::exchange(comm_, nullptr));
    fail_nccl(what, why, words);
  }
  void release() {
    if (comm_) {
      // What is under way may finish within the time limit; ranks that are gone by then are not waited for.
      ncclResult_t state = ncclCommFinalize(comm_);
      auto const deadline = std::chrono::steady_clock::now() + options_.timeout;
      while (state == ncclInProgress && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::microseconds(20));
        if (ncclCommGetAsyncError(comm_, &state) != ncclSuccess) break;
      }
      if (state == ncclSuccess)
        ncclCommDestroy(comm_);
      else
        ncclCommAbort(comm_);
      comm_ = nullptr;
    }
    if (scratch_) cudaFree(std::exchange(scratch_, nullptr));
  }

  NcclOptions options_;
  ncclComm_t comm_ = nullptr;
  std::int64_t* scratch_ = nullptr; // one integer, for the barrier
};
} // namespace detail

} // namespace moebal
