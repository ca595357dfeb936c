// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: moebal: this execution cannot read this memory
#include "device.hpp"

#include <moebal/backend/eigen.hpp>
#include <moebal/plan/gather.hpp>

#ifdef MOEBAL_MISTAKE
using X = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
#else
using X = moebal::MatrixView<float const, moebal::DeviceMemory>;
#endif

void gather(moebal::PlanView<moebal::DeviceMemory> plan, X const& x, moebal::MatrixView<float, moebal::DeviceMemory> out) {
  moebal::gather_into(Device{}, plan, x, out);
}
