// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What is named _into allocates nothing: this program counts.
#include "support/test.hpp"

#include "plan/reference.hpp"
#include "support/allocations.hpp"
#include "support/serial_exec.hpp"

#include <moebal/plan/combine.hpp>
#include <moebal/plan/kept_weights.hpp>
#include <moebal/plan/make_plan.hpp>

namespace mb = moebal;
using mb::Index;
using moebal_test::SerialExec;

BOOST_AUTO_TEST_SUITE(plan_allocation)

BOOST_AUTO_TEST_CASE(the_counter_counts) {
  std::int64_t const before = moebal_test::allocations();
  mb::Plan const plan(4, 2, 3, 8);
  BOOST_TEST(moebal_test::allocations() > before);
}

template <class Drop> void check(Drop drop) {
  Index const T = 4097, K = 4, E = 60, D = 8;
  auto const batch = reference::random_batch(T, K, E, 1);
  mb::MatrixView<mb::ExpertId const> const ids(batch.ids.data(), T, K);
  mb::MatrixView<float const> const weights(batch.weights.data(), T, K);
  mb::PlanPolicy const policy{.drop = drop, .capacity = mb::capacities::megatron(1.0)};
  SerialExec const exec{3};
  mb::Alignment const alignment{.block = 64};
  Index const slots = mb::aligned_slots(alignment, T * K, E);
  mb::Plan plan(T, K, E, T * K), aligned(T, K, E, slots);
  std::vector<mb::ExpertId> blocks(std::size_t(slots / 64));
  std::vector<float> x(std::size_t(T * D)), y(std::size_t(slots * D)), kept(std::size_t(T * K)), d_y(y);
  mb::MatrixView<float> const xv(x.data(), T, D), yv(y.data(), slots, D), kv(kept.data(), T, K),
      dv(d_y.data(), slots, D);
  mb::Workspace workspace(mb::plan_workspace_bytes(exec, policy, T, K, E));
  mb::PlanTarget<> const tight = plan.target(), padded = aligned.target();
  mb::WorkspaceView<> const scratch = workspace;
  mb::VectorView<mb::ExpertId> const block_view = blocks;

  std::int64_t const before = moebal_test::allocations();
  mb::plan_into(exec, policy, E, ids, weights, tight, scratch);
  mb::align_into(exec, alignment, tight, padded, block_view);
  mb::kept_weights_into(exec, {.after_drop = mb::AfterDrop::Renormalise}, padded, weights, kv);
  mb::gather_into(exec, padded, xv, yv);
  mb::combine_into(exec, padded, yv, kv, xv);
  mb::combine_backward_into(exec, padded, yv, kv, xv, dv, kv);
  mb::scatter_into(exec, mb::Scatter::Sum, padded, dv, xv);
  std::int64_t const after = moebal_test::allocations();
  BOOST_TEST(after == before);
}

BOOST_AUTO_TEST_CASE(into_forms_allocate_nothing) {
  check(mb::DropNone{});
  check(mb::DropByPosition<>{});
  check(mb::DropByProbability{});
  check(mb::DropBatchPrioritised{});
  check(mb::DropRandom{});
}

BOOST_AUTO_TEST_SUITE_END()
