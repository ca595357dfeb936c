// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One training step of one MoE layer: route, read the load, move the selection bias.

// [quick start]
#include <moebal/moebal.hpp>
#include <iostream>

int main() {
  Eigen::Matrix<float, 3, 4, Eigen::RowMajor> const logits{{2, 1, 0, -1}, {3, 0, 1, -2}, {1, 2, -1, 0}}; // [tokens, experts]
  moebal::Router router{moebal::TopK<2>{}, moebal::Sigmoid{}};
  moebal::Balancer balancer{moebal::GlobalBatch<>{}, moebal::LossFreeBias{.rate = 0.1f}, moebal::BalancerShape{4, 2}};
  moebal::Pipeline layer{router, balancer};
  layer.begin_step(1); // of one micro-batch
  auto const routing = layer.forward(moebal::EigenExec{}, 0, logits);
  layer.end_step(); // overloaded experts lose bias, starved ones gain
  for (auto t : {0, 1, 2}) std::cout << routing.expert_ids()(t, 0) << ' ' << routing.expert_ids()(t, 1) << '\n';
  for (float bias : layer.balancer().bias()) std::cout << bias << ' ';
}
// [quick start]
