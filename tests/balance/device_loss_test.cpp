// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/windows.hpp"

#include <moebal/balance/communication_loss.hpp>
#include <moebal/balance/device_loss.hpp>

using namespace moebal;
using namespace windows;
namespace tt = boost::test_tools;

namespace {
using Devices = ExpertBlocks<3>;
using Rule = DeviceLoss<Devices>;
/// Expert e on device e % 2: not neighbours, and not all of one size.
struct Striped {
  static constexpr Index groups = 2;
  static Index of(Index expert, Index) { return expert % 2; }
};
std::vector<std::int64_t> const counts{5, 1, 2, 4, 6, 2};
std::vector<double> const sums{1.5, 2, 0.5, 3, 2, 1};
} // namespace

BOOST_AUTO_TEST_SUITE(balance_device_loss)

BOOST_AUTO_TEST_CASE(the_formula) {
  OneWindow<Rule> window(6, 2, 10);
  window.set<stats::Counts>(counts);
  window.set_scores(sums);
  // f = 6 c / 20; f' = means of pairs; P' = sums of pairs / 10.
  double const expected = (0.3 * 3) * 0.35 + (0.3 * 3) * 0.35 + (0.3 * 4) * 0.3;
  BOOST_TEST(Rule{.coefficient = 0.5}.value(window.view()) == 0.5 * expected, tt::tolerance(1e-10));
  BOOST_TEST(slope_error(Rule{.coefficient = 1}, window, sums) < 1e-9);
}

BOOST_AUTO_TEST_CASE(devices_of_unequal_size) {
  OneWindow<DeviceLoss<Striped>> window(5, 1, 10);
  window.set<stats::Counts>({1, 2, 3, 4, 0});
  window.set_scores({1, 1, 1, 1, 6});
  double const even = 5 * (4 / 3.0) / 10, odd = 5 * 3.0 / 10;
  BOOST_TEST(DeviceLoss<Striped>{.coefficient = 1}.value(window.view()) == even * 0.8 + odd * 0.2,
             tt::tolerance(1e-10));
}

BOOST_AUTO_TEST_CASE(balance_costs_the_coefficient) {
  OneWindow<Rule> window(6, 2, 6);
  window.set<stats::Counts>({2, 2, 2, 2, 2, 2});
  window.set_scores({1, 1, 1, 1, 1, 1});
  BOOST_TEST(Rule{}.value(window.view()) == 0.05, tt::tolerance(1e-10));
}

BOOST_AUTO_TEST_CASE(one_expert_a_device_is_the_switch_loss) {
  OneWindow<DeviceLoss<ExpertBlocks<6>>> window(6, 2, 10);
  window.set<stats::Counts>(counts);
  window.set_scores(sums);
  OneWindow<SwitchLoss<>> plain(6, 2, 10);
  plain.set<stats::Counts>(counts);
  plain.set_scores(sums);
  BOOST_TEST((DeviceLoss<ExpertBlocks<6>>{.coefficient = 1}.value(window.view())) ==
                 SwitchLoss<>{.coefficient = 1}.value(plain.view()),
             tt::tolerance(1e-14));
}

BOOST_AUTO_TEST_CASE(no_tokens_and_more_devices_than_experts) {
  OneWindow<Rule> window(2, 1, 0);
  BOOST_TEST(Rule{}.value(window.view()) == 0.0);
  OneWindow<Rule> few(2, 1, 4);
  few.set<stats::Counts>({3, 1});
  few.set_scores({2, 2});
  BOOST_TEST(Rule{.coefficient = 1}.value(few.view()) == 1.0, tt::tolerance(1e-10));
}

BOOST_AUTO_TEST_CASE(together_they_are_the_losses_of_deepseek_v2) {
  // k_e = a1 f_e + a2 f'_dev(e) + a3 f''_dev(e), per sequence.
  using Tokens = stats::DeviceTokens<Devices>;
  Load<stats::List<stats::Counts, Tokens, stats::ScoreSums>> load(1, 6);
  auto const view = load.view();
  view.tokens() = 10;
  std::vector<std::int64_t> const sent{5, 6, 8};
  for (Index e = 0; e < 6; ++e) {
    view.get<stats::Counts>()[e] = counts[std::size_t(e)];
    view.get<stats::ScoreSums>()[e] = std::llround(sums[std::size_t(e)] * stats::score_one<float>);
  }
  for (Index j = 0; j < 3; ++j) view.get<Tokens>()[j] = sent[std::size_t(j)];
  Balancer balancer{Sequence<>{},
                    Rules{SwitchLoss<>{.coefficient = 0.003}, Rule{.coefficient = 0.05},
                          CommunicationLoss<Devices>{.coefficient = 0.02, .devices_per_token = 2}},
                    BalancerShape{.experts = 6, .top_k = 2}};
  balancer.begin_step(1);
  balancer.observe(0, load);
  auto const terms = balancer.terms(0);
  double loss = 0;
  for (Index e = 0; e < 6; ++e) {
    double const f = 0.3 * double(counts[std::size_t(e)]);
    double const of_device = 0.3 * double(counts[std::size_t(e / 2 * 2)] + counts[std::size_t(e / 2 * 2 + 1)]) / 2;
    double const received = 3.0 / (2 * 10) * double(sent[std::size_t(e / 2)]);
    double const k = 0.003 * f + 0.05 * of_device + 0.02 * received;
    BOOST_TEST(terms.slopes(0, e) == k / 10, tt::tolerance(1e-12));
    loss += k * sums[std::size_t(e)] / 10;
  }
  BOOST_TEST(terms.loss == loss, tt::tolerance(1e-9));
}

BOOST_AUTO_TEST_SUITE_END()
