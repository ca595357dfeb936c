// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/balance/quantile.hpp>

#include <limits>
#include <random>

using namespace moebal;
namespace tt = boost::test_tools;

namespace {

using Scores = std::vector<double>;
MatrixView<double const> matrix(Scores const& s, Index experts) {
  return {s.data(), Index(s.size()) / experts, experts};
}
QuantileDuals<double> duals_of(Scores const& s, std::vector<double> const& beta, Index top_k,
                               Duals duals = Duals::Free) {
  return quantile_duals<double>(matrix(s, Index(beta.size())), beta, top_k, duals);
}
Scores random_scores(Index tokens, Index experts, std::uint64_t seed, double skew = 0.3) {
  std::mt19937_64 random(seed);
  Scores s;
  for (Index i = 0; i < tokens * experts; ++i)
    s.push_back(double(random() >> 11) * 0x1p-53 + skew * double(i % experts) / double(experts));
  return s;
}
/// The dual objective: sum max(0, s - alpha - beta) + K sum alpha + q sum beta.
double objective(Scores const& s, QuantileDuals<double> const& d, Index top_k) {
  std::size_t const experts = d.beta.size(), tokens = d.alpha.size();
  double sum = 0;
  for (std::size_t t = 0; t < tokens; ++t) {
    sum += double(top_k) * d.alpha[t];
    for (std::size_t e = 0; e < experts; ++e) sum += std::max(0.0, s[t * experts + e] - d.alpha[t] - d.beta[e]);
  }
  for (double const b : d.beta) sum += double(tokens) * double(top_k) / double(experts) * b;
  return sum;
}

} // namespace

BOOST_AUTO_TEST_SUITE(balance_quantile)

// The worked example of the Kimi K3 report: all of four tokens prefer expert 0.
Scores const example{.9, .5, .8, .7, .7, .2, .6, .45};

BOOST_AUTO_TEST_CASE(the_worked_example) {
  auto const first = duals_of(example, {0, 0}, 1);
  BOOST_TEST(first.alpha == (std::vector<double>{.5, .7, .2, .45}), tt::tolerance(1e-12) << tt::per_element());
  BOOST_TEST(first.beta == (std::vector<double>{.15, 0}), tt::tolerance(1e-12) << tt::per_element());
  auto const second = duals_of(example, first.beta, 1);
  BOOST_TEST(second.alpha == (std::vector<double>{.5, .65, .2, .45}), tt::tolerance(1e-12) << tt::per_element());
  BOOST_TEST(std::abs(second.beta[0] - .15) < 1e-12);
  BOOST_TEST(std::abs(second.beta[1]) < 1e-12);
  // Two tokens each, the fourth tied up to rounding; 2.75 is the best sum of scores.
  Index first_expert = 0, second_expert = 0;
  for (std::size_t t = 0; t < 4; ++t) {
    double const gap = (example[2 * t] - second.beta[0]) - (example[2 * t + 1] - second.beta[1]);
    first_expert += gap > 1e-9;
    second_expert += gap < -1e-9;
  }
  BOOST_TEST(first_expert == 2);
  BOOST_TEST(second_expert == 1);
}

// Megatron-LM d98e8a64, qb_dual_update with 8 tokens, 8 experts, K = 7: q + 1 = 8, the smallest of a column.
BOOST_AUTO_TEST_CASE(as_megatron) {
  Scores const s{
      -1.20605409,  -0.963226557, -1.12945664,  -0.820555568,  0.239907205,  0.607060254,  1.15136182,   -0.337813884,
      0.0652151406, -0.80828768,  0.348347813,  -0.068517141,  -0.533514857, -0.762016654, -0.544944167, 2.1777575,
      0.778053582,  -0.186065629, 2.70384407,   0.00631727371, -0.30174759,  0.217651442,  1.13089049,   -0.790573359,
      0.41935122,   1.36175621,   -0.133895531, 0.697573245,   0.943058193,  1.66840053,   0.553259969,  0.0598193631,
      0.867188573,  0.148118466,  0.129108787,  0.687064052,   -0.744271994, 0.770315945,  0.308679938,  2.4105494,
      0.352536768,  1.64415145,   -0.236237824, -1.59351492,   0.12789993,   1.46489787,   -0.308231711, -1.67170525,
      -0.388909638, -0.393872112, -1.09209859,  1.15579832,    -1.48173547,  -1.31752276,  1.06134963,   1.4968735,
      -0.852555513, 1.08161879,   -0.546145439, -0.160335869,  -0.303190887, -0.302056402, -1.41356099,  0.0997281671};
  std::vector<double> const beta{-0.041556254, -0.0115889655, 0.015618138,   0.175195798,
                                 0.0731319264, 0.135181338,   -0.0289728791, 0.0389411412};
  auto const result = duals_of(s, beta, 7);
  BOOST_TEST(result.beta == (std::vector<double>{-0.041556254, 0.0889103115, 0.015618138, 0.175195798, 0.0731319264,
                                                 0.135181338, -0.0289728791, 0.0389411412}),
             tt::tolerance(1e-7) << tt::per_element());
}

BOOST_AUTO_TEST_CASE(steps_descend_and_balance) {
  for (auto const& [tokens, experts, top_k] : {std::array<Index, 3>{60, 6, 2}, {96, 16, 4}, {50, 5, 1}}) {
    auto const s = random_scores(tokens, experts, 3);
    QuantileDuals<double> d{{}, std::vector<double>(std::size_t(experts))};
    double last = std::numeric_limits<double>::infinity();
    for (int i = 0; i < 20; ++i) {
      d = duals_of(s, d.beta, top_k);
      BOOST_TEST(objective(s, d, top_k) <= last + 1e-9);
      last = objective(s, d, top_k);
    }
    // At each expert's price q of its tokens want it, but for those that do not mind (up to rounding).
    for (Index e = 0; e < experts; ++e) {
      Index above = 0, not_below = 0;
      for (Index t = 0; t < tokens; ++t) {
        double const gain = s[std::size_t(t * experts + e)] - d.alpha[std::size_t(t)] - d.beta[std::size_t(e)];
        above += gain > 1e-12;
        not_below += gain > -1e-12;
      }
      BOOST_TEST(above <= tokens * top_k / experts);
      BOOST_TEST(not_below > tokens * top_k / experts);
    }
  }
}

BOOST_AUTO_TEST_CASE(prices_that_only_push_down) {
  auto const s = random_scores(40, 5, 7, 2);
  auto const d = duals_of(s, std::vector<double>(5), 1, Duals::NonNegative);
  auto const free = duals_of(s, std::vector<double>(5), 1);
  bool below = false;
  for (std::size_t e = 0; e < 5; ++e) {
    BOOST_TEST(d.beta[e] == std::max(0.0, free.beta[e]));
    below = below || free.beta[e] < 0;
  }
  BOOST_TEST(below);
}

BOOST_AUTO_TEST_CASE(order_of_tokens_and_names_of_experts_do_not_matter) {
  Index const tokens = 30, experts = 6;
  auto const s = random_scores(tokens, experts, 9);
  Scores turned(s.size());
  for (Index t = 0; t < tokens; ++t)
    for (Index e = 0; e < experts; ++e)
      turned[std::size_t((tokens - 1 - t) * experts + (e + 1) % experts)] = s[std::size_t(t * experts + e)];
  auto const a = duals_of(s, std::vector<double>(6), 2), b = duals_of(turned, std::vector<double>(6), 2);
  for (std::size_t e = 0; e < 6; ++e) BOOST_TEST(a.beta[e] == b.beta[(e + 1) % 6]);
}

BOOST_AUTO_TEST_CASE(any_shape) {
  BOOST_TEST(duals_of({}, {.5, .25}, 1).beta == (std::vector<double>{.5, .25}), tt::per_element()); // no tokens
  BOOST_TEST(duals_of({1, 2, 3, 4}, {.5, .25}, 2).beta == (std::vector<double>{.5, .25}), tt::per_element()); // K = E
  BOOST_TEST(duals_of({3}, {0}, 1).alpha[0] == 3.0);
  double const nan = std::numeric_limits<double>::quiet_NaN();
  auto const d = duals_of({nan, 1, 2, 4}, {0, 0}, 1); // NaN comes last
  BOOST_TEST(std::isnan(d.alpha[0]));
  BOOST_TEST(d.alpha[1] == 2.0);
  BOOST_CHECK_THROW(quantile_duals<double>({example.data(), 4, 2}, std::vector<double>(3), 1), ShapeError);
  BOOST_CHECK_THROW(duals_of(example, {0, 0}, 0), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
