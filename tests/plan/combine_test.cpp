// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "plan/reference.hpp"
#include "support/serial_exec.hpp"

#include <moebal/plan/combine.hpp>
#include <moebal/plan/make_plan.hpp>

namespace mb = moebal;
using mb::ExpertId;
using mb::Index;
using moebal_test::SerialExec;

namespace {

mb::MatrixView<ExpertId const> ids_of(reference::Batch const& b) { return {b.ids.data(), b.tokens, b.top_k}; }
mb::MatrixView<float const> weights_of(reference::Batch const& b) { return {b.weights.data(), b.tokens, b.top_k}; }

template <class T> std::vector<T> normal(Index n, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> distribution;
  std::vector<T> x(static_cast<std::size_t>(n));
  for (T& value : x) value = T(distribution(random));
  return x;
}

mb::Plan some_plan(Index T, Index K, Index E) {
  auto const batch = reference::random_batch(T, K, E, 12);
  mb::PlanPolicy const policy{.drop = mb::DropByPosition<>{}, .capacity = mb::capacities::absolute(T / 2 + 1)};
  return mb::make_plan(SerialExec{}, policy, E, ids_of(batch), weights_of(batch));
}

struct Shape {
  Index tokens, top_k, experts, columns;
};
Shape const shapes[] = {{0, 2, 3, 5}, {1, 1, 1, 1}, {7, 3, 3, 33}, {97, 8, 60, 64}, {33, 1, 3, 31}, {5, 2, 4, 0}};

/// Every element by std::fma in the order of k.
template <class Real> void check_forward() {
  for (auto const& [T, K, E, D] : shapes) {
    mb::Plan const plan = some_plan(T, K, E);
    mb::AlignedPlan const aligned = mb::make_aligned(SerialExec{}, {.block = 8}, plan);
    for (mb::Plan const* p : {&plan, &aligned.plan}) {
      auto const y = normal<Real>(p->slots() * D, 1), w = normal<Real>(T * K, 2);
      std::vector<Real> out(std::size_t(T * D), Real(7));
      mb::combine_into(SerialExec{}, *p, mb::MatrixView<Real const>(y.data(), p->slots(), D),
                       mb::MatrixView<Real const>(w.data(), T, K), mb::MatrixView<Real>(out.data(), T, D));
      for (Index t = 0; t < T; ++t)
        for (Index c = 0; c < D; ++c) {
          Real sum = 0;
          for (Index k = 0; k < K; ++k)
            if (Index const s = p->slot_of()(t, k); s != mb::no_slot)
              sum = std::fma(w[std::size_t(t * K + k)], y[std::size_t(s * D + c)], sum);
          BOOST_TEST(out[std::size_t(t * D + c)] == sum);
        }
    }
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(plan_combine)

BOOST_AUTO_TEST_CASE(forward_bits) {
  check_forward<float>();
  check_forward<double>();
}

BOOST_AUTO_TEST_CASE(sixteen_bit_rows) {
  mb::Plan const plan = some_plan(9, 2, 3);
  std::vector<mb::BFloat16> b;
  std::vector<mb::Half> h;
  std::vector<float> wide_b, wide_h;
  std::mt19937_64 random(4);
  for (Index i = 0; i < plan.slots() * 5; ++i) {
    b.push_back({std::uint16_t(0x3f00u + random() % 256)});
    h.push_back({std::uint16_t(0x3800u + random() % 1024)});
    wide_b.push_back(mb::widen(b.back()));
    wide_h.push_back(mb::widen(h.back()));
  }
  auto const w = normal<float>(18, 2);
  auto const run = [&](auto const& y) {
    using T = typename std::decay_t<decltype(y)>::value_type;
    std::vector<float> out(45);
    mb::combine_into(SerialExec{}, plan, mb::MatrixView<T const>(y.data(), plan.slots(), 5),
                     mb::MatrixView<float const>(w.data(), 9, 2), mb::MatrixView<float>(out.data(), 9, 5));
    return out;
  };
  BOOST_TEST((run(b) == run(wide_b)));
  BOOST_TEST((run(h) == run(wide_h)));
}

BOOST_AUTO_TEST_CASE(weights_of_dropped_pairs_are_not_read) {
  std::vector<ExpertId> const ids{0, 1, 0, 1, 0, 1};
  std::vector<float> w{1, 2, NAN, NAN, NAN, 4};
  mb::PlanPolicy const policy{.drop = mb::DropByProbability{}, .capacity = mb::capacities::absolute(2)};
  std::vector<float> const rank{9, 9, 1, 1, 2, 9};
  mb::Plan plan = mb::make_plan(SerialExec{}, policy, 2, mb::MatrixView<ExpertId const>(ids.data(), 3, 2),
                                mb::MatrixView<float const>(rank.data(), 3, 2));
  w[4] = 3; // pairs 2 and 3 were dropped
  std::vector<float> const y{1, 10, 100, 1000};
  std::vector<float> out(3);
  mb::combine_into(SerialExec{}, plan, mb::MatrixView<float const>(y.data(), 4, 1),
                   mb::MatrixView<float>(w.data(), 3, 2), mb::MatrixView<float>(out.data(), 3, 1));
  BOOST_TEST((out == std::vector<float>{1 + 200, 0, 30 + 4000}));
}

BOOST_AUTO_TEST_CASE(gradients_against_central_differences) {
  for (Shape const& shape : shapes) {
    Index const T = shape.tokens, K = shape.top_k, D = shape.columns;
    mb::Plan const tight = some_plan(T, K, shape.experts);
    mb::Plan const plan = mb::make_aligned(SerialExec{}, {.block = 4}, tight).plan;
    Index const S = plan.slots();
    auto y = normal<double>(S * D, 1), w = normal<double>(T * K, 2);
    auto const cotangent = normal<double>(T * D, 3);
    auto const loss = [&] {
      std::vector<double> out(std::size_t(T * D));
      mb::combine_into(SerialExec{}, plan, mb::MatrixView<double>(y.data(), S, D),
                       mb::MatrixView<double>(w.data(), T, K), mb::MatrixView<double>(out.data(), T, D));
      double sum = 0;
      for (std::size_t i = 0; i < out.size(); ++i) sum += out[i] * cotangent[i];
      return sum;
    };
    std::vector<double> d_y(y.size(), 5), d_w(w.size(), 5);
    mb::combine_backward_into(SerialExec{}, plan, mb::MatrixView<double>(y.data(), S, D),
                              mb::MatrixView<double>(w.data(), T, K),
                              mb::MatrixView<double const>(cotangent.data(), T, D),
                              mb::MatrixView<double>(d_y.data(), S, D), mb::MatrixView<double>(d_w.data(), T, K));
    auto const slope = [&](double& x) {
      double const old = x;
      x = old + 1e-4;
      double const up = loss();
      x = old - 1e-4;
      double const down = loss();
      x = old;
      return (up - down) / 2e-4; // the loss is linear in each variable
    };
    for (std::size_t i = 0; i < w.size(); ++i) BOOST_TEST(std::abs(d_w[i] - slope(w[i])) < 1e-7);
    for (std::size_t i = 0; i < y.size(); i += 7) BOOST_TEST(std::abs(d_y[i] - slope(y[i])) < 1e-7);
    // Fillers and dropped pairs have a gradient of exactly zero.
    for (Index s = 0; s < S; ++s)
      if (plan.order()[s] == mb::no_slot)
        for (Index c = 0; c < D; ++c) BOOST_TEST(d_y[std::size_t(s * D + c)] == 0);
    for (Index pair = 0; pair < T * K; ++pair)
      if (plan.slot_of().data()[pair] == mb::no_slot) BOOST_TEST(d_w[std::size_t(pair)] == 0);
  }
}

BOOST_AUTO_TEST_CASE(weight_gradients_follow_the_canonical_order) {
  for (Index const n : {0, 1, 31, 32, 33, 100, 1000}) {
    auto const a = normal<float>(n, 8), b = normal<float>(n, 9);
    float const expected = mb::SerialLanes{}.dot<float>(
        n, [&](Index c) { return a[std::size_t(c)]; }, [&](Index c) { return b[std::size_t(c)]; });
    BOOST_TEST(mb::detail::row_dot(a.data(), b.data(), n) == expected);
  }
}

BOOST_AUTO_TEST_CASE(only_the_gradient_that_is_wanted) {
  mb::Plan const plan = some_plan(7, 3, 3);
  Index const S = plan.slots();
  auto const y = normal<float>(S * 4, 1), w = normal<float>(21, 2), d = normal<float>(28, 3);
  std::vector<float> d_y(y.size()), d_w(w.size()), d_y_alone(y.size()), d_w_alone(w.size());
  mb::MatrixView<float const> const yv(y.data(), S, 4), wv(w.data(), 7, 3), dv(d.data(), 7, 4), none;
  auto const m = [](std::vector<float>& v, Index r, Index c) { return mb::MatrixView<float>(v.data(), r, c); };
  mb::combine_backward_into(SerialExec{}, plan, yv, wv, dv, m(d_y, S, 4), m(d_w, 7, 3));
  mb::combine_backward_into(SerialExec{}, plan, none, wv, dv, m(d_y_alone, S, 4), mb::MatrixView<float>{});
  mb::combine_backward_into(SerialExec{}, plan, yv, none, dv, mb::MatrixView<float>{}, m(d_w_alone, 7, 3));
  BOOST_TEST((d_y == d_y_alone));
  BOOST_TEST((d_w == d_w_alone));
}

BOOST_AUTO_TEST_CASE(refuses) {
  auto const says = [](char const* text) {
    return [text](mb::ShapeError const& e) { return std::string(e.what()).find(text) != std::string::npos; };
  };
  std::vector<ExpertId> const ids{1, 0, 1};
  mb::Plan const plan = mb::make_plan(SerialExec{}, 2, mb::MatrixView<ExpertId const>(ids.data(), 3, 1));
  std::vector<float> y(6), w(6), out(6);
  auto const m = [](std::vector<float>& v, Index r, Index c) { return mb::MatrixView<float>(v.data(), r, c); };
  SerialExec const exec;
  BOOST_CHECK_EXCEPTION(mb::combine_into(exec, plan, m(y, 3, 2), m(w, 3, 2), m(out, 3, 2)), mb::ShapeError,
                        says("columns of the weights [T, K]: needed 1, had 2"));
  BOOST_CHECK_EXCEPTION(mb::combine_into(exec, plan, m(y, 2, 2), m(w, 3, 1), m(out, 3, 2)), mb::ShapeError,
                        says("rows of y [slots, D]: needed at least 3, had 2"));
  BOOST_CHECK_EXCEPTION(mb::combine_into(exec, plan, m(y, 3, 1), m(w, 3, 1), m(out, 3, 2)), mb::ShapeError,
                        says("columns of y [slots, D]: needed 2, had 1"));
  BOOST_CHECK_EXCEPTION(mb::combine_into(exec, plan, m(y, 3, 2), m(w, 3, 1), m(out, 2, 2)), mb::ShapeError,
                        says("rows of out [T, D]: needed 3, had 2"));
}

BOOST_AUTO_TEST_SUITE_END()
