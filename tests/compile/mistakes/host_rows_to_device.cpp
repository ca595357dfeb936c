// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: moebal: this execution cannot read this memory
#include "device.hpp"

#include <moebal/plan/combine.hpp>

#ifdef MOEBAL_MISTAKE
using Memory = moebal::HostMemory;
#else
using Memory = moebal::DeviceMemory;
#endif

void back(moebal::PlanView<moebal::DeviceMemory> plan, moebal::MatrixView<float const, Memory> rows,
          moebal::MatrixView<float const, moebal::DeviceMemory> weights, moebal::MatrixView<float, moebal::DeviceMemory> out) {
  moebal::combine_into(Device{}, plan, rows, weights, out);
}
