// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A header of NCCL that knows too little; its twin is every test of comm/nccl.hpp.
#include <nccl.h>

#undef NCCL_VERSION_CODE
#define NCCL_VERSION_CODE NCCL_VERSION(2, 17, 1)
#include <moebal/comm/nccl.hpp>
