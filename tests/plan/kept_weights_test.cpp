// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "plan/reference.hpp"
#include "support/serial_exec.hpp"

#include <moebal/plan/kept_weights.hpp>
#include <moebal/plan/make_plan.hpp>

namespace mb = moebal;
using mb::ExpertId;
using mb::Index;
using moebal_test::SerialExec;

namespace {

struct Setup {
  Index tokens, top_k, experts;
  mb::Plan plan;
  std::vector<double> weights;
};
Setup setup(Index T, Index K, Index E) {
  auto const batch = reference::random_batch(T, K, E, 21);
  mb::PlanPolicy const policy{.drop = mb::DropByPosition<>{}, .capacity = mb::capacities::absolute(T / 12 + 1)};
  Setup s{T,
          K,
          E,
          mb::make_plan(SerialExec{}, policy, E, mb::MatrixView(batch.ids.data(), T, K),
                        mb::MatrixView(batch.weights.data(), T, K)),
          {}};
  std::mt19937_64 random(5);
  for (Index i = 0; i < T * K; ++i) s.weights.push_back(double(1 + random() % 1000) / 1000);
  return s;
}
mb::MatrixView<double> matrix(std::vector<double>& v, Setup const& s) { return {v.data(), s.tokens, s.top_k}; }

} // namespace

BOOST_AUTO_TEST_SUITE(plan_kept_weights)

BOOST_AUTO_TEST_CASE(kept_or_renormalised) {
  for (auto const& [T, K, E] :
       {std::tuple<Index, Index, Index>{0, 2, 3}, {1, 1, 1}, {7, 3, 3}, {97, 8, 60}, {97, 1, 3}}) {
    Setup s = setup(T, K, E);
    std::vector<double> kept(s.weights.size(), 9), renormalised(s.weights.size(), 9), floor(s.weights.size(), 9);
    mb::kept_weights_into(SerialExec{}, {}, s.plan, matrix(s.weights, s), matrix(kept, s));
    mb::kept_weights_into(SerialExec{}, {.after_drop = mb::AfterDrop::Renormalise, .scale = 2.5}, s.plan,
                          matrix(s.weights, s), matrix(renormalised, s));
    mb::kept_weights_into(
        SerialExec{},
        {.after_drop = mb::AfterDrop::Renormalise, .epsilon = 0.5, .epsilon_rule = mb::EpsilonRule::AtLeast}, s.plan,
        matrix(s.weights, s), matrix(floor, s));
    bool lost_all = false, lost_some = false;
    for (Index t = 0; t < T; ++t) {
      double sum = 0, total = 0;
      Index count = 0;
      for (Index k = 0; k < K; ++k)
        if (s.plan.slot_of()(t, k) != mb::no_slot) {
          sum += s.weights[std::size_t(t * K + k)];
          ++count;
        }
      lost_all = lost_all || count == 0;
      lost_some = lost_some || (count > 0 && count < K);
      for (Index k = 0; k < K; ++k) {
        std::size_t const i = std::size_t(t * K + k);
        bool const here = s.plan.slot_of()(t, k) != mb::no_slot;
        BOOST_TEST(kept[i] == (here ? s.weights[i] : 0));
        BOOST_TEST(renormalised[i] == (here ? 2.5 * s.weights[i] / sum : 0), boost::test_tools::tolerance(1e-14));
        BOOST_TEST(floor[i] == (here ? s.weights[i] / std::max(sum, 0.5) : 0), boost::test_tools::tolerance(1e-14));
        total += renormalised[i];
      }
      BOOST_TEST(total == (count > 0 ? 2.5 : 0.0), boost::test_tools::tolerance(1e-14));
    }
    if (T == 97) BOOST_TEST((K == 1 ? lost_all : lost_some));
  }
}

BOOST_AUTO_TEST_CASE(a_sum_of_zero_stays_finite) {
  std::vector<ExpertId> const ids{0, 1};
  mb::Plan const plan = mb::make_plan(SerialExec{}, 2, mb::MatrixView<ExpertId const>(ids.data(), 1, 2));
  std::vector<float> w{0, 0}, out{5, 5};
  mb::kept_weights_into(SerialExec{}, {.after_drop = mb::AfterDrop::Renormalise}, plan,
                        mb::MatrixView<float>(w.data(), 1, 2), mb::MatrixView<float>(out.data(), 1, 2));
  BOOST_TEST((out == std::vector<float>{0, 0}));
}

BOOST_AUTO_TEST_CASE(in_place) {
  Setup s = setup(97, 3, 5);
  std::vector<double> out(s.weights.size());
  mb::KeptWeights const rule{.after_drop = mb::AfterDrop::Renormalise};
  mb::kept_weights_into(SerialExec{}, rule, s.plan, matrix(s.weights, s), matrix(out, s));
  mb::kept_weights_into(SerialExec{}, rule, s.plan, matrix(s.weights, s), matrix(s.weights, s));
  BOOST_TEST((out == s.weights));
}

// DeepSpeed edaa7221, topkgating, T = 16, E = 8, k = 2, factor 0.5, minimum 2, drop_policy probs: the gates of the
// chosen experts, then the locations (-1: dropped) and the renormalised gates that its own code printed.
BOOST_AUTO_TEST_CASE(deepspeed_keeps_the_best_gates) {
  std::vector<ExpertId> const ids{4, 1, 0, 3, 0, 7, 6, 0, 3, 1, 3, 0, 4, 6, 0, 1,
                                  1, 7, 5, 1, 4, 7, 7, 0, 0, 4, 0, 4, 1, 5, 6, 1};
  std::vector<float> const gates{0.3445614f, 0.2150218f, 0.4319167f, 0.3859840f, 0.3500023f, 0.3092680f, 0.3099146f,
                                 0.2052305f, 0.3176962f, 0.1842714f, 0.2264767f, 0.2240249f, 0.2638266f, 0.2380786f,
                                 0.3008988f, 0.2910589f, 0.3708564f, 0.2148833f, 0.3181423f, 0.2373945f, 0.2187096f,
                                 0.2067984f, 0.2342148f, 0.2206448f, 0.3491738f, 0.1522814f, 0.2312152f, 0.2057055f,
                                 0.2596844f, 0.2550254f, 0.3977902f, 0.1469448f};
  int const locations[32] = {0, -1, 0, 0,  1,  0,  0, -1, 1,  -1, -1, -1, 1,  -1, -1, 0,
                             1, -1, 0, -1, -1, -1, 1, -1, -1, -1, -1, -1, -1, 1,  1,  -1};
  float const expected[32] = {1, 0, 0.5280796f, 0.4719204f, 0.5308934f, 0.4691065f, 1, 0, 1, 0, 0, 0, 1, 0, 0, 1,
                              1, 0, 1,          0,          0,          0,          1, 0, 0, 0, 0, 0, 0, 1, 1, 0};
  mb::PlanPolicy const policy{.drop = mb::DropByProbability{}, .capacity = mb::capacities::deepspeed(0.5, 2)};
  mb::MatrixView<float const> const weights(gates.data(), 16, 2);
  mb::Plan const plan =
      mb::make_plan(SerialExec{}, policy, 8, mb::MatrixView<ExpertId const>(ids.data(), 16, 2), weights);
  mb::KeptWeights const rule{
      .after_drop = mb::AfterDrop::Renormalise, .epsilon = 1.1920929e-7, .epsilon_rule = mb::EpsilonRule::AtLeast};
  std::vector<float> out(32);
  mb::kept_weights_into(SerialExec{}, rule, plan, weights, mb::MatrixView<float>(out.data(), 16, 2));
  for (Index pair = 0; pair < 32; ++pair) {
    Index const slot = plan.slot_of().data()[pair];
    BOOST_TEST((slot == mb::no_slot ? -1 : slot - plan.offsets()[ids[std::size_t(pair)]]) == locations[pair]);
    BOOST_TEST(std::abs(out[std::size_t(pair)] - expected[pair]) < 3e-7f);
  }
}

BOOST_AUTO_TEST_CASE(gradient_against_central_differences) {
  for (auto const& rule :
       {mb::KeptWeights{}, mb::KeptWeights{.after_drop = mb::AfterDrop::Renormalise, .scale = 1.5},
        mb::KeptWeights{.after_drop = mb::AfterDrop::Renormalise, .epsilon = 0.25},
        mb::KeptWeights{
            .after_drop = mb::AfterDrop::Renormalise, .epsilon = 0.7, .epsilon_rule = mb::EpsilonRule::AtLeast}})
    for (auto const& [T, K, E] : {std::tuple<Index, Index, Index>{0, 2, 3}, {7, 3, 3}, {31, 5, 9}, {31, 1, 2}}) {
      Setup s = setup(T, K, E);
      std::vector<double> cotangent(s.weights.size()), gradient(s.weights.size(), 9);
      for (std::size_t i = 0; i < cotangent.size(); ++i) cotangent[i] = std::sin(double(7 * i + 1));
      auto const loss = [&] {
        std::vector<double> out(s.weights.size());
        mb::kept_weights_into(SerialExec{}, rule, s.plan, matrix(s.weights, s), matrix(out, s));
        double sum = 0;
        for (std::size_t i = 0; i < out.size(); ++i) sum += out[i] * cotangent[i];
        return sum;
      };
      mb::kept_weights_backward_into(SerialExec{}, rule, s.plan, matrix(s.weights, s), matrix(cotangent, s),
                                     matrix(gradient, s));
      for (std::size_t i = 0; i < gradient.size(); ++i) {
        double const old = s.weights[i];
        s.weights[i] = old + 1e-6;
        double const up = loss();
        s.weights[i] = old - 1e-6;
        double const down = loss();
        s.weights[i] = old;
        BOOST_TEST(std::abs(gradient[i] - (up - down) / 2e-6) < 1e-5);
      }
    }
}

BOOST_AUTO_TEST_CASE(refuses) {
  Setup s = setup(7, 3, 3);
  std::vector<double> out(21);
  BOOST_CHECK_EXCEPTION(
      mb::kept_weights_into(SerialExec{}, {}, s.plan, matrix(s.weights, s), mb::MatrixView<double>(out.data(), 7, 2)),
      mb::ShapeError, [](mb::ShapeError const& e) {
        return std::string(e.what()).find("columns of the weights [T, K]: needed 3, had 2") != std::string::npos;
      });
}

BOOST_AUTO_TEST_SUITE_END()
