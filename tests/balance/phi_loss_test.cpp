// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/windows.hpp"

#include <moebal/balance/phi_loss.hpp>
#include <moebal/comm/threads.hpp>

using namespace moebal;
using namespace windows;
namespace tt = boost::test_tools;

BOOST_AUTO_TEST_SUITE(balance_phi_loss)

BOOST_AUTO_TEST_CASE(the_gradient_of_the_potential_at_the_average) {
  std::vector<double> const sums{4, 2, 2};
  OneWindow<PhiLoss> window(3, 1, 8);
  window.state = {0.5f, 0.375f, 0.125f};
  window.set_scores(sums);
  double const entropy = (std::log(0.5) + 1) * 0.5 + (std::log(0.375) + 1) * 0.25 + (std::log(0.125) + 1) * 0.25;
  BOOST_TEST(PhiLoss{.coefficient = 1}.value(window.view()) == entropy, tt::tolerance(1e-9));
  BOOST_TEST((PhiLoss{.coefficient = 1, .potential = Potential::Euclidean}.value(window.view())) ==
                 0.5 * 0.5 + 0.5 * 0.25,
             tt::tolerance(1e-10));
  for (auto const potential : {Potential::NegativeEntropy, Potential::Euclidean})
    BOOST_TEST(slope_error(PhiLoss{.coefficient = 1, .potential = potential}, window, sums) < 1e-8);
}

// g = grad Phi: along m it is the derivative of the potential.
BOOST_AUTO_TEST_CASE(slopes_are_derivatives_of_the_potential) {
  auto const phi = [](std::vector<float> const& m, Potential p) {
    double sum = 0;
    for (double const x : m) sum += p == Potential::Euclidean ? x * x / 2 : x * std::log(x);
    return sum;
  };
  OneWindow<PhiLoss> window(3, 1, 1);
  std::vector<float> const m{0.5f, 0.375f, 0.125f};
  window.state = m;
  for (auto const p : {Potential::NegativeEntropy, Potential::Euclidean})
    for (std::size_t e = 0; e < 3; ++e) {
      auto up = m, down = m;
      up[e] += 0x1p-10f;
      down[e] -= 0x1p-10f;
      double const slope = PhiLoss{.coefficient = 1, .potential = p}.slope(window.view(), Index(e));
      BOOST_TEST(std::abs((phi(up, p) - phi(down, p)) * 0x1p9 - slope) < 1e-4);
    }
}

BOOST_AUTO_TEST_CASE(the_average_follows_the_mean_scores) {
  Load<PhiLoss::needs> load(1, 2);
  load.view().tokens() = 4;
  load.view().get<stats::ScoreSums>()[0] = 3 * std::int64_t(stats::score_one<float>); // mean scores 3/4, 1/4
  load.view().get<stats::ScoreSums>()[1] = 1 * std::int64_t(stats::score_one<float>);
  Balancer balancer{GlobalBatch<>{}, PhiLoss{.coefficient = 1, .rate = 0.5, .potential = Potential::Euclidean},
                    BalancerShape{.experts = 2, .top_k = 1}};
  std::vector<double> seen; // coefficient * m_0 / tokens
  for (int i = 0; i < 3; ++i) {
    balancer.begin_step(1);
    balancer.observe(0, load);
    seen.push_back(balancer.terms(0).slopes(0, 0) * 4);
    balancer.end_step();
  }
  BOOST_TEST(seen == (std::vector<double>{.5, .625, .6875}), tt::tolerance(1e-7) << tt::per_element());
  balancer.begin_step(1);
  balancer.abandon_step();
  Balancer other{GlobalBatch<>{}, PhiLoss{.coefficient = 1, .rate = 0.5, .potential = Potential::Euclidean},
                 BalancerShape{.experts = 2, .top_k = 1}};
  std::istringstream in(saved(balancer));
  other.restore(in);
  other.begin_step(1);
  other.observe(0, load);
  BOOST_TEST(other.terms(0).slopes(0, 0) * 4 == 0.71875, tt::tolerance(1e-7));
}

BOOST_AUTO_TEST_CASE(ranks_share_the_average) {
  std::vector<std::string> bytes(3);
  run_ranks(3, [&](Communicator<Threads> comm) {
    Balancer balancer{GlobalBatch<>{}, PhiLoss{}, BalancerShape{.experts = 2, .top_k = 1}, comm};
    for (int i = 0; i < 2; ++i) {
      Load<PhiLoss::needs> load(1, 2);
      load.view().tokens() = comm.rank();
      load.view().get<stats::ScoreSums>()[comm.rank() % 2] = comm.rank() * std::int64_t(stats::score_one<float>);
      balancer.begin_step(1);
      balancer.observe(0, load);
      balancer.end_step();
    }
    bytes[std::size_t(comm.rank())] = saved(balancer);
  });
  BOOST_TEST(bytes[0] == bytes[1]);
  BOOST_TEST(bytes[0] == bytes[2]);
}

BOOST_AUTO_TEST_CASE(equal_shares_pull_nowhere_and_a_share_of_zero_is_finite) {
  OneWindow<PhiLoss> window(4, 1, 4);
  window.set_scores({1, 1, 1, 1});
  double const slope = PhiLoss{}.slope(window.view(), 0);
  for (Index e = 1; e < 4; ++e) BOOST_TEST(PhiLoss{}.slope(window.view(), e) == slope);
  window.state = {0, 0, 0, 1};
  BOOST_TEST(std::isfinite(PhiLoss{}.value(window.view())));
}

BOOST_AUTO_TEST_SUITE_END()
