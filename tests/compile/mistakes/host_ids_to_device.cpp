// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: moebal: this execution cannot read this memory
#include "device.hpp"

#include <moebal/plan/group.hpp>

#ifdef MOEBAL_MISTAKE
using Memory = moebal::HostMemory;
#else
using Memory = moebal::DeviceMemory;
#endif

void plan(moebal::MatrixView<moebal::ExpertId const, Memory> ids, moebal::PlanTarget<moebal::DeviceMemory> target) {
  moebal::group_into(Device{}, 8, ids, target, moebal::WorkspaceView<moebal::DeviceMemory>{});
}
