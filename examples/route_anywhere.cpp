// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One MoE layer, routed, planned and balanced on any machine, with the same bits. Machines differ in one line, the include of
// MACHINE; each header says how memory is made there and what the execution is.
#ifndef MACHINE
#define MACHINE "route_anywhere/cpu.hpp" // or "route_anywhere/kokkos.hpp", "route_anywhere/thrust.hpp"
#endif
#include MACHINE

#include <moebal/balance/loss_free_bias.hpp>
#include <moebal/balance/on_stream.hpp>
#include <moebal/balance/switch_loss.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/plan/combine.hpp>
#include <moebal/plan/group.hpp>
#include <moebal/router.hpp>
#include <moebal/select/group_limited_top_k.hpp>

#include <cstdio>

using namespace moebal;
constexpr Index T = 300, E = 64, K = 8, D = 16; // tokens, experts, choices of a token, width of a token

int main(int argc, char** argv) {
  machine::Session session(argc, argv);
  auto const exec = machine::execution(); // the first argument of everything below
  using Memory = decltype(exec)::memory;

  Router const router{GroupLimitedTopK<K>{.groups = 8, .kept = 4}, Sigmoid{.scale = 2.5f}};
  LossFreeBias const rule{.rate = 0.05f};
  SwitchLoss<> const loss{.coefficient = 0.1};
  using Needs = SwitchLoss<>::needs;
  using Pooled = SwitchLoss<>::pooled;

  machine::Array<float> x(T * D), logits(T * E), weights(T * K), rows(T * K * D), y(T * D), slopes(E), d_logits(T * E), bias(E);
  machine::Array<ExpertId> ids(T * K);
  machine::Array<std::int64_t> load(Needs::slots(E)), pooled(Pooled::slots(E));
  machine::Array<Index> offsets(E + 1), order(T * K), slot_of(T * K), loads(E), kept(E);
  auto const plan_bytes = plan_workspace_bytes<float>(exec, PlanPolicy<>{}, T, K, E);
  auto const route_bytes = router.workspace_bytes<Needs>(exec, T, E);
  machine::Array<std::byte> scratch(Index(plan_bytes > route_bytes ? plan_bytes : route_bytes));
  WorkspaceView<Memory> const workspace(scratch.data(), std::size_t(scratch.size()));

  auto const matrix = []<class X>(machine::Array<X>& array, Index columns) {
    return MatrixView<X, Memory>(array.data(), array.size() / columns, columns);
  };
  RoutingView<float, Memory> const routing{matrix(ids, K), matrix(weights, K)};
  PlanTarget<Memory> const plan{offsets.view(), order.view(), matrix(slot_of, K), loads.view(), kept.view()};
  LoadView<Needs, Memory> const load_view(load.data(), 1, E);
  LoadView<Pooled, Memory> const window(pooled.data(), 1, E);

  x.fill([](Index i) { return float(i * 40503 % 1021) / 512 - 1; });
// [a step]
  for (int step = 0; step < 5; ++step) {
    logits.fill([step](Index i) { return float((i + step) * 25717 % 4093) / 1024 - 2 + (i % E < 4 ? 1 : 0); });
    exec.fill(pooled.view(), std::int64_t(0));
    router.route_into<Needs>(exec, matrix(logits, E), RowOptions<Memory>{.bias = bias.view()}, routing, load_view, workspace);
    add_to_window(exec, loss, load_view, window);

    plan_into(exec, PlanPolicy<>{}, E, routing, plan, workspace);
    gather_into(exec, plan, matrix(x, D), matrix(rows, D)); // here the experts would multiply
    combine_into(exec, plan, matrix(rows, D), routing.weights, matrix(y, D));

    WindowOf const of{.top_k = K};
    slopes_into(exec, loss, of, load_view, window, matrix(slopes, E));
    router.backward_into(exec, matrix(logits, E), RowOptions<Memory>{.bias = bias.view()},
                         MatrixView<ExpertId const, Memory>(routing.expert_ids),
                         RouterGradient<float, Memory>{.slopes = matrix(slopes, E)}, matrix(d_logits, E), workspace);
    move_bias_into(exec, rule, of, window, bias.view());
  }
// [a step]
  machine::Checksum sum; // of bits
  sum.add(ids), sum.add(weights), sum.add(load), sum.add(offsets), sum.add(order), sum.add(y), sum.add(slopes), sum.add(bias);
  std::printf("checksum %016llx\n", static_cast<unsigned long long>(sum.value));
}
