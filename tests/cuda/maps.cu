// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every logit map, row-wise selection and zero expert inside kernels, as device code that needs no nvcc flag.
// Compiled and linked, not run.
#include <moebal/balance/choice_prediction.hpp>
#include <moebal/gate/cosine.hpp>
#include <moebal/gate/cosine_grap.hpp>
#include <moebal/gate/grap.hpp>
#include <moebal/gate/jitter.hpp>
#include <moebal/gate/linear.hpp>
#include <moebal/gate/noisy_load.hpp>
#include <moebal/gate/predictor.hpp>
#include <moebal/gate/random_logits.hpp>
#include <moebal/gate/relu.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/router.hpp>
#include <moebal/select/device_limited.hpp>
#include <moebal/select/hash.hpp>
#include <moebal/select/laser.hpp>
#include <moebal/select/second_expert.hpp>
#include <moebal/select/threshold.hpp>
#include <moebal/select/top_p.hpp>
#include <moebal/select/two_level.hpp>
#include <moebal/select/zero_outputs.hpp>
#include <moebal/stats/by_class.hpp>
#include <moebal/stats/counts.hpp>
#include <moebal/stats/token_sums.hpp>
#include <moebal/stats/weight_sums.hpp>

namespace cuda_maps {

using namespace moebal;
using M = DeviceMemory;

template <class F> __global__ void items_kernel(F f, Index n) {
  for (Index i = Index(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += Index(gridDim.x) * blockDim.x) f(i);
}
template <class Body> __global__ void rows_kernel(Body body, std::byte* scratch, Index n) {
  for (Index i = 0; i < n; ++i) body(SerialLanes{}, scratch, Index(0), i);
}
template <class T> __global__ void fill_kernel(VectorView<T, M> v, T value) {
  for (Index i = 0; i < v.size(); ++i) v[i] = value;
}

struct Kernels {
  using memory = M;
  Index workers() const { return 1; }
  Index copies() const { return 1; }
  template <class Body> void for_rows(Index n, std::size_t bytes, WorkspaceView<M> workspace, Body const& body) const {
    rows_kernel<<<1, 1>>>(body, workspace.take<std::byte>(Index(bytes)), n);
  }
  template <class F> void for_each(Index n, F const& f) const { items_kernel<<<64, 128>>>(f, n); }
  void exclusive_scan(VectorView<std::int64_t, M>) const {}
  void reduce_columns(MatrixView<std::int64_t const, M>, VectorView<std::int64_t, M>) const {}
  template <class T> void copy(VectorView<T const, M>, VectorView<T, M>) const {}
  template <class T> void fill(VectorView<T, M> v, T value) const { fill_kernel<<<1, 1>>>(v, value); }
};
static_assert(execution<Kernels>);

template <class Real, class Selection, class Gate> void route(Selection const& selection, Gate const& gate) {
  using Needs = stats::List<stats::Counts, stats::ByClass<2, stats::List<stats::Counts>>, stats::WeightSums>;
  Router const router{selection, gate};
  router.template route_into<Needs>(Kernels{}, MatrixView<Real const, M>{}, RowOptions<M>{}, RoutingView<Real, M>{},
                                    LoadView<Needs, M>{}, WorkspaceView<M>{});
  router.backward_into(Kernels{}, MatrixView<Real const, M>{}, RowOptions<M>{}, MatrixView<ExpertId const, M>{},
                       RouterGradient<Real, M>{}, MatrixView<Real, M>{}, WorkspaceView<M>{});
}

template <class Real> void every_map() {
  Kernels const exec;
  MatrixView<Real const, M> const in{};
  MatrixView<Real, M> const out{};
  VectorView<Real, M> const vector{};
  WorkspaceView<M> const ws{};
  logits_into(exec, Linear{}, in, in, vector, out);
  backward_into(exec, Linear{}, in, in, in, LinearGradient<Real, M>{out, out, vector});
  logits_into(exec, Cosine{}, in, in, out, ws);
  backward_into(exec, Cosine{}, in, in, in, in, CosineGradient<Real, M>{out, out, vector}, ws);
  logits_into(exec, GrAP{}, in, vector, out);
  backward_into(exec, GrAP{}, in, in, out, vector);
  grap_rows_into(exec, out);
  logits_into(exec, CosineGrAP{}, in, out);
  backward_into(exec, CosineGrAP{}, in, in, in, out);
  jitter_into(exec, InputJitter{}, in, out);
  logits_into(exec, RandomLogits{}, out);
  backward_into(exec, RandomLogits{}, in, out);
  logits_into(exec, Predictor{}, in, PredictorParameters<Real, M>{}, out, out, ws);
  backward_into(exec, Predictor{}, in, PredictorParameters<Real, M>{}, in, in, PredictorGradient<Real, M>{}, ws);
  MatrixView<ExpertId const, M> const ids{};
  choice_predictions_into(exec, in, ids, {}, vector);
  choice_predictions_backward_into(exec, in, ids, {}, Real(1), out);
  token_sums_into(exec, in, ids, in, MatrixView<std::int64_t, M>{});
  auto const noisy = [&](auto noise) {
    logits_into(exec, noise, in, in, out);
    backward_into(exec, noise, in, in, out, out);
    load_into(exec, NoisyLoad{}, noise, in, in, in, {}, VectorView<std::int64_t, M>{}, ws);
    load_backward_into(exec, NoisyLoad{}, noise, in, in, in, {}, vector, NoisyLoadGradient<Real, M>{out, out, out}, ws);
  };
  noisy(LearnedNoise{});
  noisy(FixedNoise{});
}
template <class Real> void every_selection() {
  route<Real>(TopP<4>{}, Softmax{});
  route<Real>(Threshold<4>{}, ReLU{});
  route<Real>(Laser<2, M>{}, Softmax{});
  route<Real>(HashLayer<2, M>{}, SoftmaxOverChosen{});
  route<Real>(device_limited_top_k<6>(), Softmax{});
  route<Real>(SecondExpert{}, Softmax{});
  route<Real>(TwoLevel<TopK<2>, M>{}, Softmax{});
  drop_second_into(Kernels{}, SecondExpert{}, RoutingView<Real, M>{});
}
template <class Real> void zero_experts() {
  Kernels const exec;
  MatrixView<Real const, M> const in{};
  MatrixView<Real, M> const out{};
  MatrixView<ExpertId const, M> const ids{};
  WorkspaceView<M> const ws{};
  split_into(exec, ZeroExperts{}, ids, MatrixView<ExpertId, M>{});
  without_zero_into(exec, ZeroExperts{}, ids, in, out);
  without_zero_backward_into(exec, ZeroExperts{}, ids, in, in, out);
  combine_zero_into(exec, ZeroExperts{}, in, ids, in, {}, out);
  combine_zero_backward_into(exec, ZeroExperts{}, in, ids, in, {}, in, ZeroOutputGradient<Real, M>{out, out, out, out},
                             ws);
}

} // namespace cuda_maps

int main() {
  cuda_maps::every_map<float>();
  cuda_maps::every_map<double>();
  cuda_maps::every_selection<float>();
  cuda_maps::every_selection<double>();
  cuda_maps::zero_experts<float>();
}
