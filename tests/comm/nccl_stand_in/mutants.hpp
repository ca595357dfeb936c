// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Mistakes that comm/nccl*.hpp might contain, switched on by a test that shows that they do not go unnoticed: each is a
// call of NCCL or CUDA that is left out or wrong. To be included before the headers.

#include <atomic>
#include <ostream>

#include <cuda_runtime_api.h>
#include <nccl.h>

enum class Mutant { None, NoGroup, NoGroupEnd, NotFollowed, NoEvent, OtherType, OtherUnit, NoAbort, NoFinalize };
inline std::ostream& operator<<(std::ostream& out, Mutant mutant) {
  constexpr char const* names[] = {"none",       "no group",   "no group end", "not followed", "no event",
                                   "other type", "other unit", "no abort",     "no finalize"};
  return out << names[int(mutant)];
}
inline std::atomic<Mutant> mutant = Mutant::None;

#define ncclGroupStart() (mutant == Mutant::NoGroup ? ncclSuccess : ncclGroupStart())
#define ncclGroupEnd() (mutant == Mutant::NoGroup || mutant == Mutant::NoGroupEnd ? ncclSuccess : ncclGroupEnd())
#define ncclCommGetAsyncError(comm, result)                                                                            \
  (mutant == Mutant::NotFollowed ? (*(result) = ncclSuccess) : ncclCommGetAsyncError(comm, result))
#define cudaEventRecord(event, stream) (mutant == Mutant::NoEvent ? cudaSuccess : cudaEventRecord(event, stream))
#define ncclInt64 (mutant == Mutant::OtherType ? ncclFloat64 : ncclInt64)
#define ncclUint8 (mutant == Mutant::OtherUnit ? ncclFloat32 : ncclUint8)
#define ncclCommAbort(comm) (mutant == Mutant::NoAbort ? ncclSuccess : ncclCommAbort(comm))
#define ncclCommFinalize(comm) (mutant == Mutant::NoFinalize ? ncclSuccess : ncclCommFinalize(comm))
