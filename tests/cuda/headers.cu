// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every row body and every functor of the library inside a kernel, as device code that needs no nvcc flag: each gate,
// selection, statistic and plan step on one row. Compiled and linked; CTest does not run it.
#include <moebal/core/execution.hpp>
#include <moebal/core/topology.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/gate/sqrt_softplus.hpp>
#include <moebal/plan/combine.hpp>
#include <moebal/plan/kept_weights.hpp>
#include <moebal/plan/make_plan.hpp>
#include <moebal/router.hpp>
#include <moebal/select/group_limited_top_k.hpp>
#include <moebal/select/top_k.hpp>
#include <moebal/select/with_top_k.hpp>
#include <moebal/stats/counts.hpp>
#include <moebal/stats/log_sum_exp_squares.hpp>
#include <moebal/stats/score_sums.hpp>

namespace cuda_headers {

using namespace moebal;
using All = stats::List<stats::Counts, stats::FirstChoiceCounts, stats::UnbiasedCounts,
                        stats::UnbiasedFirstChoiceCounts, stats::ScoreSums, stats::LogSumExpSquares>;

template <class Body> __global__ void rows_kernel(Body body, std::byte* scratch, Index n) {
  for (Index row = 0; row < n; ++row) body(SerialLanes{}, scratch, Index(0), row);
}
template <class F> __global__ void items_kernel(F f, Index n) {
  for (Index i = Index(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += Index(gridDim.x) * blockDim.x) f(i);
}

/// The smallest device execution: one thread for rows, the null stream.
struct BareCuda {
  using memory = DeviceMemory;
  Index workers() const { return 1; }
  Index copies() const { return 1; }
  template <class Body>
  void for_rows(Index n, std::size_t bytes, WorkspaceView<DeviceMemory> workspace, Body const& body) const {
    rows_kernel<<<1, 1>>>(body, workspace.take<std::byte>(Index(bytes)), n);
  }
  template <class F> void for_each(Index n, F const& f) const { items_kernel<<<64, 128>>>(f, n); }
  void exclusive_scan(VectorView<std::int64_t, DeviceMemory>) const {}
  void reduce_columns(MatrixView<std::int64_t const, DeviceMemory>, VectorView<std::int64_t, DeviceMemory>) const {}
  template <class T> void copy(VectorView<T const, DeviceMemory>, VectorView<T, DeviceMemory>) const {}
  template <class T> void fill(VectorView<T, DeviceMemory>, T) const {}
};
static_assert(execution<BareCuda>);

template <class Logit, class Selection, class Gate> void route_and_back(Selection selection, Gate gate) {
  using Real = compute_t<Logit>;
  Router const router{selection, gate};
  MatrixView<Logit const, DeviceMemory> const logits;
  router.template route_into<All>(BareCuda{}, logits, RowOptions<DeviceMemory>{}, RoutingView<Real, DeviceMemory>{},
                                  LoadView<All, DeviceMemory>{}, WorkspaceView<DeviceMemory>{});
  router.backward_into(BareCuda{}, logits, RowOptions<DeviceMemory>{}, MatrixView<ExpertId const, DeviceMemory>{},
                       RouterGradient<Real, DeviceMemory>{}, MatrixView<Real, DeviceMemory>{},
                       WorkspaceView<DeviceMemory>{});
}
template <class Logit> void every_router() {
  route_and_back<Logit>(TopK<8>{}, Sigmoid{});
  route_and_back<Logit>(TopK<1>{}, Softmax{});
  route_and_back<Logit>(TopK<2>{}, SoftmaxOverChosen{});
  route_and_back<Logit>(GroupLimitedTopK<4>{}, SqrtSoftplus{});
}

template <class Real, class Drop> void plan_with(Drop drop) {
  MatrixView<ExpertId const, DeviceMemory> const ids;
  MatrixView<Real const, DeviceMemory> const weights, rows;
  MatrixView<Real, DeviceMemory> const out;
  PlanTarget<DeviceMemory> const plan;
  WorkspaceView<DeviceMemory> const workspace;
  plan_into(BareCuda{}, PlanPolicy<Drop>{.drop = drop}, 8, ids, weights, plan, workspace);
  align_into(BareCuda{}, Alignment{.block = 16}, plan, plan);
  gather_into(BareCuda{}, plan, rows, out);
  scatter_into(BareCuda{}, Scatter::Sum, plan, rows, out);
  combine_into(BareCuda{}, plan, rows, weights, out);
  combine_backward_into(BareCuda{}, plan, rows, weights, rows, out, out);
  kept_weights_into(BareCuda{}, KeptWeights{.after_drop = AfterDrop::Renormalise}, plan, weights, out);
  kept_weights_backward_into(BareCuda{}, KeptWeights{}, plan, weights, rows, out);
}
template <class Real> void every_plan() {
  plan_with<Real>(DropNone{});
  plan_with<Real>(DropByPosition<>{});
  plan_with<Real>(DropByPosition<ChoiceOrder::Equal>{});
  plan_with<Real>(DropByProbability{});
  plan_with<Real>(DropBatchPrioritised{});
  plan_with<Real>(DropRandom{});
}

} // namespace cuda_headers

int main() {
  using namespace cuda_headers;
  every_router<float>();
  every_router<double>();
  every_router<BFloat16>();
  every_router<Half>();
  every_plan<float>();
  every_plan<double>();
}
