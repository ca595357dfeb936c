// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The row kernels whose registers, spills and shared memory tests/cuda/resources.cmake reads. Compiled, not run.
#include <moebal/backend/cuda_stream.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/router.hpp>
#include <moebal/select/group_limited_top_k.hpp>
#include <moebal/select/top_k.hpp>
#include <moebal/stats/counts.hpp>
#include <moebal/stats/score_sums.hpp>

namespace cuda_resources {

using namespace moebal;
using M = DeviceMemory;
using Counts = stats::List<stats::Counts>;
using ScoreSums = stats::List<stats::Counts, stats::ScoreSums>;

template <class Needs, class Logit, class Selection, class Gate> void route(Selection selection, Gate gate) {
  Router{selection, gate}.template route_into<Needs>(CudaStream{nullptr}, MatrixView<Logit const, M>{}, RowOptions<M>{},
                                                     RoutingView<float, M>{}, LoadView<Needs, M>{}, WorkspaceView<M>{});
}
template <class Logit> void rows() {
  route<Counts, Logit>(TopK<8>{}, Softmax{.normalise = Normalise::OverChosen});
  route<ScoreSums, Logit>(TopK<8>{}, Softmax{.normalise = Normalise::OverChosen});
  route<ScoreSums, Logit>(GroupLimitedTopK<8>{.groups = 8, .kept = 4}, Sigmoid{.scale = 2.5f});
  Router{TopK<8>{}, Sigmoid{}}.backward_into(CudaStream{nullptr}, MatrixView<Logit const, M>{}, RowOptions<M>{},
                                            MatrixView<ExpertId const, M>{}, RouterGradient<float, M>{},
                                            MatrixView<float, M>{}, WorkspaceView<M>{});
}

} // namespace cuda_resources

int main() {
  cuda_resources::rows<float>();
  cuda_resources::rows<moebal::BFloat16>();
}
