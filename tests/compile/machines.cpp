// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What machines.cmake looks into: rows of two kinds, with statistics and the way back.
#include <moebal/moebal.hpp>
#include <moebal/recipes.hpp>

using namespace moebal;

template <class Router> void use(Router const& router, MatrixView<float const> logits, float const* bias, float* d) {
  EigenExec const exec;
  RowOptions<> options;
  if (bias != nullptr) options.bias = {bias, logits.cols()};
  auto [routing, load] = router.template route_with<stats::List<stats::Counts, stats::ScoreSums>>(exec, logits, options);
  RouterGradient<float> gradient;
  gradient.d_weights = routing.weights();
  Workspace workspace(router.workspace_bytes(exec, logits.rows(), logits.cols()));
  router.backward_into(exec, logits, options, MatrixView<ExpertId const>(routing.expert_ids()), gradient,
                       MatrixView<float>(d, logits.rows(), logits.cols()), WorkspaceView<HostMemory>(workspace));
}

void use_both(float const* logits, float const* bias, float* d) {
  use(recipes::Qwen3::router(), MatrixView<float const>(logits, 64, 128), nullptr, d);
  use(recipes::DeepSeekV3::router(), MatrixView<float const>(logits, 64, 256), bias, d);
}
