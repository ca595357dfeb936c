// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One MoE layer on Kokkos's default space (CUDA) and on its default host space: routing, statistics, backward, plan and combine.
// 0 if all bits agree. Built where a Kokkos with CUDA is (docs/gpu.md); main ends with 77 where there is no GPU.
#include <moebal/backend/kokkos.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/plan/combine.hpp>
#include <moebal/plan/group.hpp>
#include <moebal/router.hpp>
#include <moebal/select/group_limited_top_k.hpp>
#include <moebal/select/top_k.hpp>
#include <moebal/stats/counts.hpp>
#include <moebal/stats/log_sum_exp_squares.hpp>
#include <moebal/stats/score_sums.hpp>

#include "support/bits.hpp"
#include "support/inputs.hpp"

#include <cstdio>

namespace cuda_kokkos {

using namespace moebal;
using moebal_test::Kind;
using All = stats::List<stats::Counts, stats::UnbiasedCounts, stats::ScoreSums, stats::LogSumExpSquares>;

/// n elements in the memory of Space. Our own types in a View of theirs.
template <class Space, class T> struct Array {
  Kokkos::View<T*, Space> values;
  explicit Array(Index n) : values("array", std::size_t(n)) {}
  explicit Array(std::vector<T> const& from) : Array(Index(from.size())) {
    auto const host = Kokkos::create_mirror_view(values);
    for (std::size_t i = 0; i < from.size(); ++i) host(i) = from[i];
    Kokkos::deep_copy(values, host);
  }
  using Memory = typename KokkosExec<Space>::memory;
  VectorView<T, Memory> view() const { return {values.data(), Index(values.extent(0))}; }
  MatrixView<T, Memory> matrix(Index columns) const {
    return {values.data(), columns == 0 ? 0 : Index(values.extent(0)) / columns, columns};
  }
  /// Appends the bits; every NaN is the same NaN.
  void add_to(std::vector<std::uint64_t>& bits) const {
    auto const host = Kokkos::create_mirror_view(values);
    Kokkos::deep_copy(host, values);
    std::vector<std::uint64_t> const mine = moebal_test::bits_of(host.data(), Index(host.extent(0)));
    bits.insert(bits.end(), mine.begin(), mine.end());
  }
};

template <class Exec, class Logit, class Router>
std::vector<std::uint64_t> layer(Router router, Index T, Index E, Index S) {
  using Real = compute_t<Logit>;
  using M = typename Exec::memory;
  constexpr Index K = Router::top_k, D = 24;
  Exec const exec;
  using Space = std::remove_cvref_t<decltype(exec.space())>;
  Array<Space, Logit> const logits(moebal_test::logits_of<Logit>(Kind::Specials, T, E));
  Array<Space, float> const bias(moebal_test::bias_of(E, 0.1f));
  Array<Space, std::uint8_t> const padding(moebal_test::padding_of(T));
  Array<Space, Index> const segments(S > 1 ? moebal_test::segments_of(T, S) : std::vector<Index>{});
  Array<Space, Real> const d_weights(moebal_test::logits_of<Real>(Kind::Bell, T, K, 2)),
      slopes(moebal_test::logits_of<Real>(Kind::Bell, S, E, 3)), z_slopes(moebal_test::logits_of<Real>(Kind::Bell, 1, S, 4)),
      rows(moebal_test::logits_of<Real>(Kind::Bell, T * K, D, 5));
  Array<Space, ExpertId> const ids(T * K);
  Array<Space, Real> const weights(T * K), d_logits(T * E), combined(T * D);
  Array<Space, std::int64_t> const load(S * All::slots(E));
  Array<Space, Index> const offsets(E + 1), order(T * K), slot_of(T * K), loads(E), kept(E);
  auto const policy = PlanPolicy<DropByProbability>{.drop = {}, .capacity = capacities::megatron(1)};
  std::size_t const bytes = std::max(router.template workspace_bytes<All, Logit>(exec, T, E, S),
                                     plan_workspace_bytes<Real>(exec, policy, T, K, E));
  Kokkos::View<std::byte*, Space> const scratch("scratch", bytes);
  WorkspaceView<M> const workspace(scratch.data(), bytes);

  MatrixView<Logit const, M> const z(logits.values.data(), T, E);
  RowOptions<M> const options{bias.view(), padding.view(), segments.view()};
  RoutingView<Real, M> const routing{{ids.values.data(), T, K}, {weights.values.data(), T, K}};
  PlanTarget<M> const plan{offsets.view(), order.view(), {slot_of.values.data(), T, K}, loads.view(), kept.view()};
  router.template route_into<All>(exec, z, options, routing, LoadView<All, M>(load.values.data(), S, E), workspace);
  router.backward_into(exec, z, options, MatrixView<ExpertId const, M>(routing.expert_ids),
                       RouterGradient<Real, M>{{d_weights.values.data(), T, K}, slopes.matrix(E), z_slopes.view()},
                       MatrixView<Real, M>(d_logits.values.data(), T, E), workspace);
  plan_into(exec, policy, E, routing, plan, workspace);
  combine_into(exec, plan, MatrixView<Real const, M>(rows.values.data(), T * K, D), routing.weights,
               MatrixView<Real, M>(combined.values.data(), T, D));
  exec.fence();
  std::vector<std::uint64_t> bits;
  ids.add_to(bits), weights.add_to(bits), load.add_to(bits), d_logits.add_to(bits), offsets.add_to(bits), order.add_to(bits),
      slot_of.add_to(bits), combined.add_to(bits);
  return bits;
}

template <class Logit, KokkosRows rows = KokkosRows::Fastest, class Router>
bool agrees(Router router, Index T, Index E, Index S = 3) {
  bool const same = layer<KokkosExec<Kokkos::DefaultExecutionSpace, rows>, Logit>(router, T, E, S) ==
                    layer<KokkosExec<Kokkos::DefaultHostExecutionSpace>, Logit>(router, T, E, S);
  std::printf("T = %lld, E = %lld, S = %lld: %s\n", static_cast<long long>(T), static_cast<long long>(E),
              static_cast<long long>(S), same ? "same bits" : "OTHER BITS");
  return same;
}

} // namespace cuda_kokkos

int main(int argc, char** argv) {
  using namespace cuda_kokkos;
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) return 77;
  Kokkos::ScopeGuard const guard(argc, argv);
  static_assert(std::same_as<KokkosExec<>::memory, DeviceMemory>);
  static_assert(std::same_as<decltype(as_vector(std::declval<Kokkos::View<float*>&>())), VectorView<float, DeviceMemory>>);
  static_assert(std::same_as<decltype(as_vector(std::declval<Kokkos::View<float*, Kokkos::HostSpace>&>())), VectorView<float>>);
  Router const sigmoid{TopK<8>{}, Sigmoid{.scale = 2.5f}};
  bool same = true;
  for (Index const T : {0, 1, 7, 101, 4097})
    for (Index const E : {9, 60, 160, 384}) same = agrees<float>(sigmoid, T, E) && same;
  same = agrees<BFloat16>(sigmoid, 4097, 256, 1) && same;
  same = agrees<float>(Router{GroupLimitedTopK<8>{.groups = 8, .kept = 4}, Sigmoid{.scale = 2.5f}}, 101, 160) && same;
  same = agrees<float>(Router{TopK<2>{}, Softmax{}}, 101, 60) && same;
  same = agrees<float, KokkosRows::VectorLanes>(sigmoid, 101, 160) && same;
  return same ? 0 : 1;
}
