// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/windows.hpp"
#include "support/inputs.hpp"

#include <moebal/balance/quantile_histogram.hpp>
#include <moebal/moebal.hpp>

using namespace moebal;
namespace tt = boost::test_tools;

namespace {

// The worked example of the Kimi K3 report: s [4, 2], K = 1, no bias.
double const s[4][2] = {{.9, .5}, {.8, .7}, {.7, .2}, {.6, .45}};

template <Index bins>
std::vector<float> bias_of_example(QuantileHistogram<bins> rule, std::vector<float> bias = {0, 0}) {
  windows::OneWindow<QuantileHistogram<bins>> window(2, 1, 4);
  std::vector<std::int64_t> counts(std::size_t(2 * bins));
  auto const bin_of = stats::MarginBins<double>::of_bias(std::min(bias[0], bias[1]), std::max(bias[0], bias[1]), bins);
  for (auto const& row : s) {
    double const alpha = std::min(row[0] + bias[0], row[1] + bias[1]);
    for (int e = 0; e < 2; ++e) ++counts[std::size_t(e * bins + bin_of(alpha - row[e]))];
  }
  window.template set<stats::MarginHistogram<bins>>(counts);
  std::vector<float> moved(2);
  rule.move(window.view(), bias, moved);
  return moved;
}

} // namespace

BOOST_AUTO_TEST_SUITE(balance_quantile_histogram)

BOOST_AUTO_TEST_CASE(the_worked_example) {
  auto const b = bias_of_example(QuantileHistogram<>{}); // -0.398 and 0.001 before the mean is taken off
  BOOST_TEST(b[1] - b[0] == 0.399f, tt::tolerance(1e-5f));
  BOOST_TEST(b[0] + b[1] == 0.0f);
  Index first = 0;
  for (auto const& row : s) first += row[0] + double(b[0]) > row[1] + double(b[1]);
  BOOST_TEST(first == 2);
}

BOOST_AUTO_TEST_CASE(a_part_of_the_old_bias_may_stay) {
  auto const all = bias_of_example(QuantileHistogram<>{}, {-.1f, .1f});
  auto const half = bias_of_example(QuantileHistogram<>{.keep = 0.5f}, {-.1f, .1f});
  auto const none = bias_of_example(QuantileHistogram<>{.keep = 1}, {-.1f, .1f});
  for (std::size_t e = 0; e < 2; ++e) BOOST_TEST(half[e] == (all[e] + (e == 0 ? -.1f : .1f)) / 2, tt::tolerance(1e-5f));
  BOOST_TEST(none == (std::vector<float>{-.1f, .1f}), tt::tolerance(1e-6f) << tt::per_element());
}

BOOST_AUTO_TEST_CASE(fewer_bins_are_off_by_less_than_one) {
  auto const fine = bias_of_example(QuantileHistogram<100000>{}), coarse = bias_of_example(QuantileHistogram<50>{});
  for (std::size_t e = 0; e < 2; ++e) BOOST_TEST(std::abs(fine[e] - coarse[e]) <= 2.0f / 50);
}

BOOST_AUTO_TEST_CASE(nothing_counted_moves_nothing_but_the_mean) {
  windows::OneWindow<QuantileHistogram<8>> window(3, 1, 0);
  std::vector<float> const bias{1, 2, 3};
  std::vector<float> moved(3);
  QuantileHistogram<8>{}.move(window.view(), bias, moved);
  BOOST_TEST(moved == (std::vector<float>{-1, 0, 1}), tt::per_element());
}

// A skewed router is balanced after a few steps, without a rate, and far faster than by signs.
BOOST_AUTO_TEST_CASE(a_skewed_router_is_balanced_at_once) {
  constexpr Index tokens = 2000, experts = 16;
  auto logits = moebal_test::logits_of<float>(moebal_test::Kind::Bell, tokens, experts);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] += float(i % experts) * 0.25f;
  auto const x = moebal_test::matrix(logits, tokens, experts);
  auto const max_vio_after = [&](auto rule, int steps) {
    Pipeline layer{Router{TopK<2>{}, Sigmoid{}},
                   Balancer{GlobalBatch<>{}, rule, BalancerShape{.experts = experts, .top_k = 2}}};
    for (int i = 0; i < steps; ++i) {
      layer.begin_step(1);
      layer.forward(EigenExec{}, 0, x);
      layer.end_step();
    }
    auto const counts =
        layer.router()
            .template route_with<stats::List<stats::Counts>>(EigenExec{}, x, {.bias = layer.balancer().bias()})
            .second;
    return stats::max_vio(counts.template get<stats::Counts>());
  };
  BOOST_TEST(max_vio_after(QuantileHistogram<>{}, 0) > 1.5);
  double const after = max_vio_after(QuantileHistogram<>{}, 8);
  BOOST_TEST(after < 0.15);
  BOOST_TEST(max_vio_after(LossFreeBias{}, 8) > 10 * after);
}

BOOST_AUTO_TEST_SUITE_END()
