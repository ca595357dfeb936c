// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What comm/nccl.hpp asks of NCCL and of the CUDA runtime: one communicator that never hangs its host.

#include "../core/communication.hpp"
#include "../core/errors.hpp"
#include "patience.hpp"

#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include <cuda_runtime_api.h>
#include <nccl.h>

#if NCCL_VERSION_CODE < NCCL_VERSION(2, 18, 0)
#error "moebal: comm/nccl.hpp needs NCCL 2.18 or newer (communicators that do not block and can be split)"
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
[[noreturn]] inline void fail_nccl(std::string_view what, std::string_view why, std::string_view words = "") {
  std::string text("moebal: ");
  text.append(what).append(": ").append(why);
  if (!words.empty()) text.append(": ").append(words);
  throw CommError(text);
}
inline void require_cuda_of_comm(cudaError_t code, std::string_view what) {
  if (code != cudaSuccess) fail_nccl(what, cudaGetErrorString(code));
}
/// NCCL's last words, of a communicator or of the library.
inline std::string nccl_words(ncclComm_t comm) {
  char const* const words = ncclGetLastError(comm);
  return words ? words : "";
}
inline std::string nccl_version_text(int code) {
  return std::to_string(code / 10000) + "." + std::to_string(code / 100 % 100) + "." + std::to_string(code % 100);
}
/// There is a device, and a library that knows all that its header names.
inline void require_nccl() {
  int devices = 0;
  require_cuda_of_comm(cudaGetDeviceCount(&devices), "NCCL: looking for a CUDA device");
  if (devices == 0) fail_nccl("NCCL: looking for a CUDA device", "this machine has none");
  int version = 0;
  ncclResult_t const asked = ncclGetVersion(&version);
  if (asked != ncclSuccess) fail_nccl("NCCL: ncclGetVersion", ncclGetErrorString(asked), nccl_words(nullptr));
  if (version < NCCL_VERSION_CODE)
    refuse<CommError>("NCCL library", nccl_version_text(NCCL_VERSION_CODE) + " or newer, as the nccl.h of this program",
                      nccl_version_text(version));
}

/// One NCCL communicator that never blocks the host: each call is followed until it is done, failed or late, and after
/// a failure the communicator is aborted, which also frees kernels that wait for a dead rank.
class NcclHandle {
public:
  explicit NcclHandle(NcclOptions const& options) : NcclHandle(Unmade{options}) {
    require_nccl();
    ncclConfig_t config = without_blocking();
    follow(ncclCommInitRankConfig(&comm_, int(options.size), options.id, int(options.rank), &config),
           "NCCL: ncclCommInitRankConfig");
    finish();
  }
  /// The ranks of `parent` that name the same color, in their order there. All ranks of the parent call it, and have
  /// nothing under way.
  NcclHandle(NcclHandle& parent, Index color, Index ranks_per_node) : NcclHandle(Unmade{parent.options_}) {
    ncclConfig_t config = without_blocking();
    parent.follow(ncclCommSplit(parent.comm(), int(color), int(options_.rank), &comm_, &config), "NCCL: ncclCommSplit");
    follow(ncclInProgress, "NCCL: communicator from ncclCommSplit");
    int rank = 0, size = 0;
    follow(ncclCommUserRank(comm_, &rank), "NCCL: ncclCommUserRank");
    follow(ncclCommCount(comm_, &size), "NCCL: ncclCommCount");
    options_.rank = rank;
    options_.size = size;
    options_.ranks_per_node = ranks_per_node;
    finish();
  }
  NcclHandle(NcclHandle const&) = delete;
  NcclHandle& operator=(NcclHandle const&) = delete;
  ~NcclHandle() {
    if (comm_) leave();
    if (scratch_) cudaFree(scratch_); // waits for the device, so after the communicator
  }

  NcclOptions const& options() const { return options_; }
  std::int64_t* scratch() const { return scratch_; }

  /// The communicator, unless a failure has ended it.
  ncclComm_t comm() const {
    if (!comm_) throw CommError(failure_ + " (at that the communicator was aborted)");
    return comm_;
  }
  /// Waits until the host side of a call is done; throws CommError with NCCL's words where it fails.
  void follow(ncclResult_t result, std::string_view what) {
    for (Patience const patience(options_.timeout); result == ncclInProgress && comm_; patience.pause()) {
      if (patience.over()) abort(what, late());
      result = state();
    }
    if (result != ncclSuccess) abort(what, ncclGetErrorString(result));
  }
  /// Waits until the stream has reached `event`.
  void await(cudaEvent_t event, std::string_view what) {
    for (Patience const patience(options_.timeout);; patience.pause()) {
      (void)comm(); // what an abort leaves in memory is no result, though the stream goes on
      cudaError_t const reached = cudaEventQuery(event);
      if (reached == cudaSuccess) return;
      if (reached != cudaErrorNotReady) abort(what, cudaGetErrorString(reached));
      ncclResult_t const result = state();
      if (result != ncclSuccess && result != ncclInProgress) abort(what, ncclGetErrorString(result));
      if (patience.over()) abort(what, late());
    }
  }
  /// Whether await() would return or throw at once.
  bool settled(cudaEvent_t event) const {
    if (!comm_ || cudaEventQuery(event) != cudaErrorNotReady) return true;
    ncclResult_t const result = state();
    return result != ncclSuccess && result != ncclInProgress;
  }

private:
  struct Unmade {
    NcclOptions const& options;
  };
  // What the constructors above delegate to: from here on the destructor cleans up whatever they throw.
  explicit NcclHandle(Unmade unmade) : options_(unmade.options) {}

  static ncclConfig_t without_blocking() {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    return config;
  }
  void finish() {
    require_cuda_of_comm(cudaMalloc(reinterpret_cast<void**>(&scratch_), sizeof(std::int64_t)), "NCCL: cudaMalloc of 8 bytes");
    require_cuda_of_comm(cudaMemset(scratch_, 0, sizeof(std::int64_t)), "NCCL: cudaMemset of 8 bytes");
    made_ = true;
  }
  ncclResult_t state() const {
    ncclResult_t result = ncclInProgress;
    ncclResult_t const asked = ncclCommGetAsyncError(comm_, &result);
    return asked == ncclSuccess ? result : asked;
  }
  std::string late() const { return "not all ranks took part within " + duration_text(options_.timeout); }
  [[noreturn]] void abort(std::string_view what, std::string_view why) {
    std::string const words = nccl_words(comm_);
    if (comm_) ncclCommAbort(std::exchange(comm_, nullptr));
    failure_ = "moebal: " + std::string(what) + ": " + std::string(why) + (words.empty() ? "" : ": " + words);
    throw CommError(failure_);
  }
  // What is under way may finish within the time limit; ranks that are gone by then are not waited for, nor are any
  // where this rank leaves by an exception: the others learn it the sooner.
  void leave() {
    bool const orderly = made_ && std::uncaught_exceptions() == exceptions_;
    ncclResult_t result = orderly ? ncclCommFinalize(comm_) : ncclInternalError;
    for (Patience const patience(options_.timeout); result == ncclInProgress && !patience.over(); patience.pause())
      result = state();
    if (result == ncclSuccess)
      ncclCommDestroy(comm_);
    else
      ncclCommAbort(comm_);
  }

  NcclOptions options_;
  ncclComm_t comm_ = nullptr;
  std::int64_t* scratch_ = nullptr; // one integer, for the barrier
  bool made_ = false;
  int exceptions_ = std::uncaught_exceptions();
  std::string failure_; // why comm_ is gone
};
} // namespace detail

} // namespace moebal
