// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A stand-in, for tests alone, of NCCL's C interface and of that part of the CUDA runtime that moebal uses: no GPU and
// no library of NVIDIA's is there. Linked in their place, it lets the logic of comm/nccl*.hpp run anywhere. Ranks are
// threads of one program, each with a device of its own; device memory is host memory; a stream runs its work in order,
// but only when somebody asks how far it is, so whoever does not wait sees nothing. Host calls of NCCL stay in progress
// for a few polls, and are launched only then. Sums are in rank order, as the conformance suite wants them. What is
// misused is refused: pointers outside of device memory, a call while another is in progress, ranks that disagree.

#include <cstddef>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>
#include <nccl.h>

namespace nccl_stand_in {

/// As at the start of the program: forgets all that a test has made or wished for.
void reset();
void set_devices(int devices);
void set_version(int code); // that ncclGetVersion tells
void set_polls(int polls);  // for which a host call of NCCL stays in progress; 2 at the start

/// The next call of a function by a rank (by any: -1), after `skipped` others, answers with a code of ncclResult_t or
/// cudaError_t and does nothing else. Functions without a communicator are called by any rank.
void fail(std::string function, int rank, int code, int skipped = 0);
/// The communicators of a rank report an error that happened elsewhere.
void report(int rank, ncclResult_t error);

/// A call that enqueued something.
struct Call {
  std::string function;
  int rank = 0, peer = -1;
  std::size_t count = 0; // elements, of the type in the call
};
std::vector<Call> calls();

/// What has been made and neither destroyed nor aborted.
int communicators();
int allocations();
int events();
/// Calls that would have waited without end, and gave up after 2 s.
int hangs();
/// Calls at a wrong time or of a wrong kind, which were refused.
int misuses();

} // namespace nccl_stand_in
