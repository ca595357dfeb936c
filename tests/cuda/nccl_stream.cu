// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Loss-free balancing whose counts, their sum over ranks and the step of the bias stay on one CUDA stream: nothing waits between the
// first routing and the last step. 0 if ids and bias have the bits of the host's; 77 without a GPU.
#include <moebal/backend/thrust.hpp>
#include <moebal/balance/loss_free_bias.hpp>
#include <moebal/balance/on_stream.hpp>
#include <moebal/comm/nccl.hpp>
#include <moebal/communicator.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/router.hpp>
#include <moebal/select/top_k.hpp>

#include "support/inputs.hpp"

namespace cuda_nccl {

using namespace moebal;
constexpr Index T = 101, E = 60, K = 8, steps = 5;

/// ids [T, K] of the last step, then the bits of the bias [E]. sum(pooled): over the ranks.
template <template <class...> class Vector, class Exec, class Sum> std::vector<std::int64_t> steps_of(Exec const& exec, Sum const& sum) {
  using M = typename Exec::memory;
  using Needs = LossFreeBias::needs;
  using Pooled = LossFreeBias::pooled;
  auto const at = [](auto& v) { return thrust::raw_pointer_cast(v.data()); };
  std::vector<float> const values = moebal_test::logits_of(moebal_test::Kind::Bell, T, E);
  Vector<float> const logits(values.begin(), values.end());
  Vector<float> weights(T * K), bias(E, 0.0f);
  Vector<ExpertId> ids(T * K);
  Vector<std::int64_t> load(Needs::slots(E)), pooled(Pooled::slots(E));
  Router const router{TopK<K>{}, Sigmoid{}};
  LossFreeBias const rule{.rate = 0.05f};
  std::size_t const bytes = router.template workspace_bytes<Needs>(exec, T, E);
  Vector<std::byte> scratch(bytes);
  LoadView<Needs, M> const load_view(at(load), 1, E);
  LoadView<Pooled, M> const window(at(pooled), 1, E);
  for (Index step = 0; step < steps; ++step) {
    exec.fill(as_vector(pooled), std::int64_t(0));
    router.template route_into<Needs>(exec, MatrixView<float const, M>(at(logits), T, E), RowOptions<M>{.bias = as_vector(bias)},
                                      RoutingView<float, M>{{at(ids), T, K}, {at(weights), T, K}}, load_view,
                                      WorkspaceView<M>(at(scratch), bytes));
    add_to_window(exec, rule, load_view, window);
    auto const summed = sum(as_vector(pooled));
    move_bias_into(exec, rule, WindowOf{.top_k = K}, window, as_vector(bias));
  }
  exec.fence();
  std::vector<std::int64_t> all;
  thrust::host_vector<ExpertId> const chosen(ids.begin(), ids.end());
  thrust::host_vector<float> const moved(bias.begin(), bias.end());
  for (ExpertId const id : chosen) all.push_back(std::int64_t(id));
  for (float const b : moved) all.push_back(std::int64_t(__builtin_bit_cast(std::uint32_t, b)));
  return all;
}

} // namespace cuda_nccl

int main() {
  using namespace cuda_nccl;
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) return 77;
  cudaStream_t stream{};
  if (cudaStreamCreate(&stream) != cudaSuccess) return 1;
  Communicator<Nccl> const comm{Nccl({.id = Nccl::make_id(), .stream = stream})};
  auto const over_ranks = [&comm](auto pooled) { return comm.start_all_reduce_sum(pooled); };
  auto const alone = [](auto) { return 0; };
  return steps_of<thrust::device_vector>(ThrustExec{stream}, over_ranks) == steps_of<thrust::host_vector>(ThrustExec{thrust::host}, alone)
             ? 0
             : 1;
}
