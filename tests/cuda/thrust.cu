// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One MoE layer's routing, statistics, backward, plan and combine on a CUDA stream through Thrust, with device_vector
// as memory, launched one by one and as a CUDA graph. CTest compiles and links it. Where a GPU is, running it compares
// every bit with the host: 0 if they agree, 77 without a GPU.
#include <moebal/backend/thrust.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/plan/align.hpp>
#include <moebal/plan/combine.hpp>
#include <moebal/plan/group.hpp>
#include <moebal/router.hpp>
#include <moebal/select/group_limited_top_k.hpp>
#include <moebal/select/top_k.hpp>
#include <moebal/stats/counts.hpp>
#include <moebal/stats/log_sum_exp_squares.hpp>
#include <moebal/stats/score_sums.hpp>

#include "support/inputs.hpp"

#include <cstdio>

namespace cuda_thrust {

using namespace moebal;
using moebal_test::Kind;
using All = stats::List<stats::Counts, stats::UnbiasedCounts, stats::ScoreSums, stats::LogSumExpSquares>;

/// Vectors in the memory that Exec reaches.
template <class Exec, class T>
using Vector = std::conditional_t<std::same_as<typename Exec::memory, DeviceMemory>, thrust::device_vector<T>,
                                  thrust::host_vector<T>>;
template <class Exec, class T> Vector<Exec, T> sent(std::vector<T> const& v) {
  return Vector<Exec, T>(v.begin(), v.end());
}
template <class Exec, class V> auto matrix(V& v, Index rows, Index cols) {
  auto* const p = thrust::raw_pointer_cast(v.data());
  return MatrixView<std::remove_pointer_t<decltype(p)>, typename Exec::memory>(p, rows, cols);
}

enum class How {
  Calls,
  Graph // captured, then launched twice
};
/// `work` as a CUDA graph of the stream of a device.
template <class Device, class Work> void run_as_graph(Device const& device, Work const& work) {
  cudaGraph_t graph{};
  cudaGraphExec_t launchable{};
  detail::require_cuda(cudaStreamBeginCapture(device.stream(), cudaStreamCaptureModeGlobal), "begin of a capture");
  work();
  detail::require_cuda(cudaStreamEndCapture(device.stream(), &graph), "end of a capture");
  detail::require_cuda(cudaGraphInstantiate(&launchable, graph, 0), "a graph");
  for (int time = 0; time < 2; ++time) detail::require_cuda(cudaGraphLaunch(launchable, device.stream()), "a graph");
  device.fence();
  detail::require_cuda(cudaGraphExecDestroy(launchable), "a graph");
  detail::require_cuda(cudaGraphDestroy(graph), "a graph");
}

template <class Real> struct Outcome {
  std::vector<ExpertId> ids;
  std::vector<Real> weights, d_logits, combined;
  std::vector<std::int64_t> load, offsets, order, slot_of, aligned_offsets, aligned_order, aligned_slot_of;
  std::vector<ExpertId> block_experts;

  bool same_as(Outcome const& o) const {
    auto const same = [](auto const& a, auto const& b) {
      for (std::size_t i = 0; i < a.size(); ++i)
        if (__builtin_memcmp(&a[i], &b[i], sizeof(a[i])) != 0 && !(a[i] != a[i] && b[i] != b[i])) return false;
      return a.size() == b.size();
    };
    return same(ids, o.ids) && same(weights, o.weights) && same(d_logits, o.d_logits) && same(combined, o.combined) &&
           same(load, o.load) && same(offsets, o.offsets) && same(order, o.order) && same(slot_of, o.slot_of) &&
           same(aligned_offsets, o.aligned_offsets) && same(aligned_order, o.aligned_order) &&
           same(aligned_slot_of, o.aligned_slot_of) && same(block_experts, o.block_experts);
  }
};

template <class Logit, class Exec, class Selection, class Gate>
Outcome<compute_t<Logit>> layer(Exec const& exec, Router<Selection, Gate> router, Index T, Index E, Index S, How how) {
  using Real = compute_t<Logit>;
  using M = typename Exec::memory;
  constexpr Index K = Selection::top_k, D = 24;
  constexpr Alignment blocks{.block = 16};
  auto const logits = sent<Exec>(moebal_test::logits_of<Logit>(Kind::Specials, T, E));
  auto const bias = sent<Exec>(moebal_test::bias_of(E, 0.1f));
  auto const padding = sent<Exec>(moebal_test::padding_of(T));
  auto const segments = sent<Exec>(S > 1 ? moebal_test::segments_of(T, S) : std::vector<Index>{});
  auto const d_weights = sent<Exec>(moebal_test::logits_of<Real>(Kind::Bell, T, K, 2));
  auto const slopes = sent<Exec>(moebal_test::logits_of<Real>(Kind::Bell, S, E, 3));
  auto const z_slopes = sent<Exec>(moebal_test::logits_of<Real>(Kind::Bell, 1, S, 4));
  auto const rows = sent<Exec>(moebal_test::logits_of<Real>(Kind::Bell, T * K, D, 5));
  Vector<Exec, ExpertId> ids(T * K);
  Vector<Exec, Real> weights(T * K), d_logits(T * E), combined(T * D);
  Vector<Exec, std::int64_t> load(S * All::slots(E));
  Vector<Exec, Index> offsets(E + 1), order(T * K), slot_of(T * K), loads(E), kept(E);
  Index const slots = aligned_slots(blocks, T * K, E);
  Vector<Exec, Index> aligned_offsets(E + 1), aligned_order(slots), aligned_slot_of(T * K), aligned_loads(E),
      aligned_kept(E);
  Vector<Exec, ExpertId> block_experts(slots / blocks.block);
  auto const policy = PlanPolicy<DropByProbability>{.drop = {}, .capacity = capacities::megatron(1)};
  std::size_t const bytes = std::max(router.template workspace_bytes<All, Logit>(exec, T, E, S),
                                     plan_workspace_bytes<Real>(exec, policy, T, K, E));
  Vector<Exec, std::byte> scratch(bytes);
  WorkspaceView<M> const workspace(thrust::raw_pointer_cast(scratch.data()), bytes);

  auto const z = matrix<Exec>(logits, T, E);
  RowOptions<M> const options{as_vector(bias), as_vector(padding), as_vector(segments)};
  RoutingView<Real, M> const routing{matrix<Exec>(ids, T, K), matrix<Exec>(weights, T, K)};
  PlanTarget<M> const plan{as_vector(offsets), as_vector(order), matrix<Exec>(slot_of, T, K), as_vector(loads),
                           as_vector(kept)};
  PlanTarget<M> const aligned{as_vector(aligned_offsets), as_vector(aligned_order), matrix<Exec>(aligned_slot_of, T, K),
                              as_vector(aligned_loads), as_vector(aligned_kept)};
  auto const work = [&] {
    router.template route_into<All>(exec, z, options, routing,
                                    LoadView<All, M>(thrust::raw_pointer_cast(load.data()), S, E), workspace);
    router.backward_into(
        exec, z, options, MatrixView<ExpertId const, M>(routing.expert_ids),
        RouterGradient<Real, M>{matrix<Exec>(d_weights, T, K), matrix<Exec>(slopes, S, E), as_vector(z_slopes)},
        matrix<Exec>(d_logits, T, E), workspace);
    plan_into(exec, policy, E, routing, plan, workspace);
    align_into(exec, blocks, plan, aligned, as_vector(block_experts));
    combine_into(exec, plan, matrix<Exec>(rows, T * K, D), routing.weights, matrix<Exec>(combined, T, D));
  };
  if constexpr (std::same_as<M, DeviceMemory>) {
    if (how == How::Graph)
      run_as_graph(exec, work);
    else
      work();
  } else {
    work();
  }
  exec.fence();

  auto const back = [](auto const& v) {
    using Element = typename std::remove_cvref_t<decltype(v)>::value_type;
    std::vector<Element> host(v.size());
    thrust::copy(v.begin(), v.end(), host.begin());
    return host;
  };
  return {back(ids),     back(weights),         back(d_logits),      back(combined),        back(load),         back(offsets),
          back(order),   back(slot_of),         back(aligned_offsets), back(aligned_order), back(aligned_slot_of),
          back(block_experts)};
}

template <class Logit, class Router, class Device>
bool agrees(Device const& device, Router router, Index T, Index E, Index S = 3) {
  auto const expected = layer<Logit>(ThrustExec{thrust::host}, router, T, E, S, How::Calls);
  bool same = true;
  for (How const how : {How::Calls, How::Graph}) same = layer<Logit>(device, router, T, E, S, how).same_as(expected) && same;
  std::printf("T = %lld, E = %lld, S = %lld: %s\n", static_cast<long long>(T), static_cast<long long>(E),
              static_cast<long long>(S), same ? "same bits" : "OTHER BITS");
  return same;
}

} // namespace cuda_thrust

int main() {
  using namespace cuda_thrust;
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) return 77;
  cudaStream_t stream{};
  if (cudaStreamCreate(&stream) != cudaSuccess) return 1;
  ThrustExec const device{stream};
  static_assert(std::same_as<std::remove_const_t<decltype(device)>::memory, DeviceMemory>);
  static_assert(std::same_as<decltype(as_vector(std::declval<thrust::device_vector<float>&>())),
                             VectorView<float, DeviceMemory>>);
  Router const sigmoid{TopK<8>{}, Sigmoid{.scale = 2.5f}};
  Router const grouped{GroupLimitedTopK<8>{.groups = 8, .kept = 4}, Sigmoid{.scale = 2.5f}};
  bool same = true;
  for (Index const T : {0, 1, 7, 101, 4097}) // every number of words a lane, and the row form
    for (Index const E : {9, 60, 128, 160, 384, 512, 600}) same = agrees<float>(device, sigmoid, T, E) && same;
  same = agrees<float>(device, sigmoid, 4097, 256, 1) && same;
  same = agrees<float>(device, sigmoid, 4097, 256, 40) && same; // sums that no block can hold
  same = agrees<BFloat16>(device, sigmoid, 4097, 256) && same;
  same = agrees<BFloat16>(device, sigmoid, 101, 160) && same;
  same = agrees<double>(device, sigmoid, 101, 160) && same;
  same = agrees<float>(device, grouped, 101, 160) && same;
  same = agrees<float>(device, Router{TopK<2>{}, Softmax{}}, 101, 60) && same;
  return same ? 0 : 1;
}
