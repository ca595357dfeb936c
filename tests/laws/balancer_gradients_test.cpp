// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "laws/balancer_cuts.hpp"

// The mean over ranks of the losses is the loss of the step, and the mean over ranks of the slopes its gradient:
// against plain loops and central differences, with ranks that hold unequal numbers of tokens.

using namespace moebal;
using namespace cuts;

namespace {

Index const experts = 6, top_k = 2;
BalancerShape const shape{.experts = experts, .top_k = top_k};

template <class F> void each_rule(F const& f) {
  f(SwitchLoss<>{}), f(SwitchLoss<Choices::First>{}), f(SwitchLoss<Choices::All, CountSource::Unbiased>{});
  f(SwitchLoss<Choices::First, CountSource::Unbiased>{}),
      f(SwitchLoss<>{.coefficient = 3, .divide_by = DivideBy::Tokens});
  f(ZLoss{}), f(CvSquared{});
}
std::vector<synthetic::Step> uneven_steps() {
  std::mt19937_64 random(11);
  std::vector<synthetic::Step> steps;
  for (Index const ranks : {1, 2, 3, 4})
    for (Index const micro_batches : {1, 2, 5})
      steps.push_back(
          deal(synthetic::tokens(47, experts, top_k, std::uint64_t(ranks)), ranks, micro_batches, 2, random));
  return steps;
}
double mean_loss(std::vector<Seen> const& ranks) {
  double mean = 0;
  for (auto const& rank : ranks) mean += rank.loss / double(ranks.size());
  return mean;
}

} // namespace

BOOST_AUTO_TEST_SUITE(laws_balancer_gradients)

BOOST_AUTO_TEST_CASE(losses) {
  for (auto const& step : uneven_steps())
    each_rule([&](auto rule) {
      each_scope([&]<class Scope>(Scope scope) {
        double const expected = step_loss<Scope>(step, loss_of(rule), experts);
        BOOST_TEST(expected > 0.0);
        BOOST_TEST(relative(mean_loss(run(step, scope, rule, shape)), expected) < 1e-12);
      });
    });
}

BOOST_AUTO_TEST_CASE(slopes_are_central_differences_of_the_loss_over_all_ranks) {
  std::mt19937_64 random(12);
  for (auto step : uneven_steps()) // a copy: it is disturbed
    each_rule([&]<class Rule>(Rule rule) {
      each_scope([&]<class Scope>(Scope scope) {
        // Running lets no gradient through what was pooled before, so only a loss that is linear in its own scores
        // has one.
        if (std::same_as<Rule, CvSquared> && Scope::accumulate == Accumulate::Running) return;
        auto const seen = run(step, scope, rule, shape);
        auto const difference = [&](auto& number, auto h) {
          auto const at = number;
          number = at + h;
          double const up = step_loss<Scope>(step, loss_of(rule), experts);
          number = at - h;
          double const down = step_loss<Scope>(step, loss_of(rule), experts);
          number = at;
          return (up - down) / 2;
        };
        for (int trial = 0; trial < 4; ++trial) {
          std::size_t const j = random() % step.size(), g = random() % step[j].size(), s = random() % 2,
                            e = random() % std::size_t(experts);
          if (step[j][g][s].empty()) continue;
          synthetic::Token& token = step[j][g][s].back();
          if constexpr (square_rule<Rule>) {
            double const expected = difference(token.square, 0.5) / 0.5;
            BOOST_TEST(relative(seen[j].z_slopes[g][s] / double(step.size()), expected) < 1e-9);
          } else {
            double const expected = difference(token.scores[e], std::int64_t(1) << 20) / 0x1p-12;
            BOOST_TEST(std::abs(seen[j].slopes[g][s][e] / double(step.size()) - expected) < 1e-7);
          }
        }
      });
    });
}

BOOST_AUTO_TEST_CASE(a_user_who_adds_ranks_says_so) {
  for (auto const& step : uneven_steps())
    each_rule([&](auto rule) {
      each_scope([&](auto scope) {
        auto const mean = run(step, scope, rule, shape);
        auto const sum = run(step, scope, rule, {.experts = experts, .top_k = top_k, .reduction = Reduction::Sum});
        double const ranks = double(step.size());
        for (std::size_t j = 0; j < step.size(); ++j) {
          BOOST_TEST(relative(sum[j].loss * ranks, mean[j].loss) < 1e-13);
          for (std::size_t g = 0; g < step[j].size(); ++g)
            for (std::size_t s = 0; s < 2; ++s) {
              for (std::size_t e = 0; !sum[j].slopes[g].empty() && e < std::size_t(experts); ++e)
                BOOST_TEST(relative(sum[j].slopes[g][s][e] * ranks, mean[j].slopes[g][s][e]) < 1e-13);
              if (!sum[j].z_slopes[g].empty())
                BOOST_TEST(relative(sum[j].z_slopes[g][s] * ranks, mean[j].z_slopes[g][s]) < 1e-13);
            }
        }
      });
    });
}

// 2501.11873 eq. 4-6: with the counts of all ranks, each rank's own mean scores average to the global loss. p of two
// tokens on each of two ranks, counts (2, 0, 0) and (1, 1, 0).
BOOST_AUTO_TEST_CASE(micro_against_global) {
  double const p[4][3] = {{.7, .2, .1}, {.6, .3, .1}, {.5, .1, .4}, {.2, .5, .3}};
  synthetic::Step step(2, synthetic::Rank(1, synthetic::MicroBatch(1)));
  for (std::size_t t = 0; t < 4; ++t) {
    synthetic::Token token{{t == 3 ? 1 : 0}, {0}, {}, 0};
    for (double const x : p[t]) token.scores.push_back(std::llround(x * 0x1p32));
    step[t / 2][0][0].push_back(token);
  }
  BalancerShape const three{.experts = 3, .top_k = 1};
  SwitchLoss<> const rule{.coefficient = 1};
  BOOST_TEST(relative(mean_loss(run(step, MicroBatch<>{}, rule, three)), 1.4625) < 1e-9);
  BOOST_TEST(relative(mean_loss(run(step, GlobalBatch<>{}, rule, three)), 1.33125) < 1e-9);
}

BOOST_AUTO_TEST_SUITE_END()
