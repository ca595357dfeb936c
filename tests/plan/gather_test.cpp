// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "plan/reference.hpp"
#include "support/serial_exec.hpp"

#include <moebal/plan/gather.hpp>
#include <moebal/plan/make_plan.hpp>

#include <cstring>

namespace mb = moebal;
using mb::ExpertId;
using mb::Index;
using moebal_test::SerialExec;

namespace {

mb::MatrixView<ExpertId const> ids_of(reference::Batch const& b) { return {b.ids.data(), b.tokens, b.top_k}; }
mb::MatrixView<float const> weights_of(reference::Batch const& b) { return {b.weights.data(), b.tokens, b.top_k}; }

/// Rows with any bits: NaN, -0 and denormals must survive a copy.
template <class T> std::vector<T> any_bits(Index n) {
  std::mt19937_64 random(std::uint64_t(n) + 3);
  std::vector<T> x(static_cast<std::size_t>(n));
  for (T& value : x) {
    std::uint64_t const bits = random();
    std::memcpy(static_cast<void*>(&value), &bits, sizeof(T));
  }
  return x;
}
template <class T> bool same_bits(T const* a, T const* b, Index n) {
  return n == 0 || std::memcmp(a, b, std::size_t(n) * sizeof(T)) == 0;
}

template <class T> void check_round_trip(Index T_, Index K, Index E, Index D) {
  auto const batch = reference::random_batch(T_, K, E, 77);
  mb::PlanPolicy const policy{.drop = mb::DropByPosition<>{}, .capacity = mb::capacities::absolute(T_ / 2 + 1)};
  mb::Plan const tight = mb::make_plan(SerialExec{}, policy, E, ids_of(batch), weights_of(batch));
  mb::AlignedPlan const aligned = mb::make_aligned(SerialExec{}, {.block = 4}, tight);
  auto const x = any_bits<T>(T_ * D);
  for (mb::Plan const* plan : {&tight, &aligned.plan}) {
    std::vector<T> y = any_bits<T>(plan->slots() * D), back = any_bits<T>(T_ * D);
    mb::gather_into(SerialExec{}, *plan, mb::MatrixView<T const>(x.data(), T_, D),
                    mb::MatrixView<T>(y.data(), plan->slots(), D));
    std::vector<T> const zeros(std::size_t(D), T{});
    for (Index s = 0; s < plan->slots(); ++s) {
      Index const pair = plan->order()[s];
      BOOST_TEST(same_bits(y.data() + s * D, pair == mb::no_slot ? zeros.data() : x.data() + pair / K * D, D));
    }
    mb::scatter_into(SerialExec{}, mb::Scatter::FirstKept, *plan, mb::MatrixView<T const>(y.data(), plan->slots(), D),
                     mb::MatrixView<T>(back.data(), T_, D));
    for (Index t = 0; t < T_; ++t) {
      bool kept = false;
      for (Index k = 0; k < K; ++k) kept = kept || plan->slot_of()(t, k) != mb::no_slot;
      BOOST_TEST(same_bits(back.data() + t * D, kept ? x.data() + t * D : zeros.data(), D));
    }
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(plan_gather)

BOOST_AUTO_TEST_CASE(scatter_of_gather_is_the_identity) {
  for (Index const T : {0, 1, 7, 97})
    for (auto const& [K, E] : {std::pair<Index, Index>{1, 1}, {1, 3}, {3, 3}, {8, 60}})
      for (Index const D : {0, 1, 5, 64, 67}) {
        check_round_trip<float>(T, K, E, D);
        check_round_trip<double>(T, K, E, D);
        check_round_trip<mb::BFloat16>(T, K, E, D);
      }
}

BOOST_AUTO_TEST_CASE(rows_that_lie_apart) {
  std::vector<ExpertId> const ids{1, 0, 1};
  mb::Plan const plan = mb::make_plan(SerialExec{}, 2, mb::MatrixView<ExpertId const>(ids.data(), 3, 1));
  std::vector<float> const x{1, 2, 0, 3, 4, 0, 5, 6, 0};
  std::vector<float> y(3 * 4, 9.0f);
  mb::gather_into(SerialExec{}, plan, mb::MatrixView<float const>(x.data(), 3, 2, 3),
                  mb::MatrixView<float>(y.data(), 3, 2, 4));
  BOOST_TEST((y == std::vector<float>{3, 4, 9, 9, 1, 2, 9, 9, 5, 6, 9, 9}));
}

BOOST_AUTO_TEST_CASE(rows_past_the_last_slot_become_zero) {
  std::vector<ExpertId> const ids{mb::no_expert, 0, mb::no_expert};
  mb::Plan plan(3, 1, 1, 3);
  mb::Workspace workspace(mb::plan_workspace_bytes(SerialExec{}, mb::PlanPolicy<>{}, 3, 1, 1));
  mb::PlanTarget<> const target = plan.target();
  mb::group_into(SerialExec{}, 1, mb::MatrixView<ExpertId const>(ids.data(), 3, 1), target, workspace);
  std::vector<float> const x{1, 2, 3};
  std::vector<float> y{9, 9, 9};
  mb::gather_into(SerialExec{}, target, mb::MatrixView<float const>(x.data(), 3, 1),
                  mb::MatrixView<float>(y.data(), 3, 1));
  BOOST_TEST((y == std::vector<float>{2, 0, 0}));
}

BOOST_AUTO_TEST_CASE(the_sum_is_the_backward_of_gather) {
  Index const T = 61, K = 4, E = 9, D = 37;
  auto const batch = reference::random_batch(T, K, E, 6);
  mb::PlanPolicy const policy{.drop = mb::DropRandom{}, .capacity = mb::capacities::absolute(12)};
  mb::Plan const plan = mb::make_plan(SerialExec{}, policy, E, ids_of(batch), weights_of(batch));
  std::vector<double> d_y(std::size_t(plan.slots() * D)), d_x(std::size_t(T * D), 5);
  for (std::size_t i = 0; i < d_y.size(); ++i) d_y[i] = std::sin(double(i));
  mb::scatter_into(SerialExec{}, mb::Scatter::Sum, plan, mb::MatrixView<double>(d_y.data(), plan.slots(), D),
                   mb::MatrixView<double>(d_x.data(), T, D));
  for (Index t = 0; t < T; ++t)
    for (Index c = 0; c < D; ++c) {
      double sum = 0;
      for (Index k = 0; k < K; ++k)
        for (Index s = 0; s < plan.slots(); ++s)
          if (plan.order()[s] == t * K + k) sum += d_y[std::size_t(s * D + c)];
      BOOST_TEST(d_x[std::size_t(t * D + c)] == sum); // the same order of additions: equal to the bit
    }
  // <gather(x), y> = <x, scatter(y)>
  std::vector<double> x(std::size_t(T * D)), y(std::size_t(plan.slots() * D));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::cos(double(3 * i));
  mb::gather_into(SerialExec{}, plan, mb::MatrixView<double>(x.data(), T, D),
                  mb::MatrixView<double>(y.data(), plan.slots(), D));
  double left = 0, right = 0;
  for (std::size_t i = 0; i < y.size(); ++i) left += y[i] * d_y[i];
  for (std::size_t i = 0; i < x.size(); ++i) right += x[i] * d_x[i];
  BOOST_TEST(left == right, boost::test_tools::tolerance(1e-9));
}

BOOST_AUTO_TEST_CASE(refuses) {
  auto const says = [](char const* text) {
    return [text](mb::ShapeError const& e) { return std::string(e.what()).find(text) != std::string::npos; };
  };
  std::vector<ExpertId> const ids{1, 0, 1};
  mb::Plan const plan = mb::make_plan(SerialExec{}, 2, mb::MatrixView<ExpertId const>(ids.data(), 3, 1));
  std::vector<float> x(6), y(8);
  mb::MatrixView<float> const xv(x.data(), 3, 2);
  SerialExec const exec;
  BOOST_CHECK_EXCEPTION(mb::gather_into(exec, plan, mb::MatrixView<float>(x.data(), 2, 2), xv), mb::ShapeError,
                        says("rows of x [T, D]: needed 3, had 2"));
  BOOST_CHECK_EXCEPTION(mb::gather_into(exec, plan, xv, mb::MatrixView<float>(y.data(), 3, 1)), mb::ShapeError,
                        says("columns of out [slots, D]: needed 2, had 1"));
  BOOST_CHECK_EXCEPTION(mb::gather_into(exec, plan, xv, mb::MatrixView<float>(y.data(), 2, 2)), mb::ShapeError,
                        says("rows of out [slots, D]: needed at least 3, had 2"));
  BOOST_CHECK_EXCEPTION(mb::gather_into(exec, plan, xv, mb::MatrixView<float>(y.data(), 4, 2)), mb::ShapeError,
                        says("rows of out [slots, D]: needed 3, had 4"));
  std::vector<mb::BFloat16> b(6);
  mb::MatrixView<mb::BFloat16> const bv(b.data(), 3, 2);
  BOOST_CHECK_EXCEPTION(mb::scatter_into(exec, mb::Scatter::Sum, plan, bv, bv), mb::ShapeError, says("Scatter::Sum"));
}

BOOST_AUTO_TEST_SUITE_END()
