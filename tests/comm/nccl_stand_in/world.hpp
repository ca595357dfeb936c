// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Inside of the stand-in: what its half of the CUDA runtime (cuda.cpp) and its half of NCCL (nccl.cpp) share.

#include "stand_in.hpp"

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

/// Work of a stream. advance() is called under the world's lock while it is the first, until it says that it is done.
struct Operation {
  virtual ~Operation() = default;
  virtual bool advance() = 0;
};
struct CUstream_st {
  std::thread::id device = std::this_thread::get_id();
  std::deque<std::shared_ptr<Operation>> work;
};

namespace nccl_stand_in {

struct World {
  std::mutex mutex; // of all that follows
  std::set<cudaStream_t> streams;
  std::map<std::thread::id, CUstream_st> own;     // the null stream of each thread's device
  std::map<std::byte const*, std::size_t> memory; // bytes that lie at an address
  std::vector<Call> calls;
  int devices = 8, version = NCCL_VERSION_CODE, polls = 2;
  int events = 0, hangs = 0, misuses = 0;

  /// Runs all streams as far as they come.
  void advance();
  /// Whether all of the bytes lie in one allocation.
  bool holds(void const* data, std::size_t bytes) const;
  /// The code that this call is to fail with; 0: none.
  int fault(std::string const& function, int rank);

  struct Fault {
    std::string function;
    int rank, code, skipped;
  };
  std::vector<Fault> faults;
};
World& world();
void forget_communicators();
/// A stream by its handle; the null one is that of this thread. Under the lock.
cudaStream_t stream_of(cudaStream_t stream);

} // namespace nccl_stand_in
