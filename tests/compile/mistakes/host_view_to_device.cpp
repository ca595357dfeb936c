// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: moebal: this execution cannot read this memory
#include "device.hpp"

#include <moebal/gate/sigmoid.hpp>
#include <moebal/router.hpp>
#include <moebal/select/top_k.hpp>

#ifdef MOEBAL_MISTAKE
using Memory = moebal::HostMemory;
#else
using Memory = moebal::DeviceMemory;
#endif

void route(moebal::MatrixView<float const, Memory> logits, moebal::RoutingView<float, Memory> routing) {
  moebal::Router const router{moebal::TopK<8>{}, moebal::Sigmoid{}};
  router.route_into(Device{}, logits, moebal::RowOptions<Memory>{}, routing,
                    moebal::LoadView<moebal::stats::None, Memory>{}, moebal::WorkspaceView<Memory>{});
}
