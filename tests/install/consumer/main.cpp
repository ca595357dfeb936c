// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <moebal/moebal.hpp>

#include <Eigen/Core>

// Routes two tokens to two of four experts; the answer is known.
int main() {
  Eigen::Matrix<float, 2, 4, Eigen::RowMajor> logits;
  logits << 1, 4, 2, 3, //
      9, 5, 7, 6;
  moebal::Router const router{moebal::TopK<2>{}, moebal::Sigmoid{}};
  auto const routing = router.route(moebal::EigenExec{}, logits);
  auto const ids = routing.expert_ids();
  return ids(0, 0) == 1 && ids(0, 1) == 3 && ids(1, 0) == 0 && ids(1, 1) == 2 ? 0 : 1;
}
