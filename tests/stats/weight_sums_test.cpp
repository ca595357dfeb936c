// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "support/inputs.hpp"

#include <moebal/moebal.hpp>
#include <moebal/stats/weight_sums.hpp>

using namespace moebal;
using namespace moebal_test;
using Needs = stats::List<stats::WeightSums>;

namespace {
std::vector<double> sums(auto const& router, std::vector<float> const& logits, Index experts,
                         RowOptions<> options = {}) {
  auto const load =
      router.template route_with<Needs>(EigenExec{}, matrix(logits, Index(logits.size()) / experts, experts), options)
          .second;
  std::vector<double> all;
  for (std::int64_t const s : load.template get<stats::WeightSums>())
    all.push_back(double(s) / stats::score_one<float>);
  return all;
}
} // namespace

BOOST_AUTO_TEST_SUITE(stats_weight_sums)

BOOST_AUTO_TEST_CASE(what_the_weights_add_up_to) {
  for (Index const tokens : {0, 1, 7, 65})
    for (Index const experts : {3, 60}) {
      auto const logits = logits_of<float>(Kind::Bell, tokens, experts);
      Router const router{TopK<3>{}, SoftmaxOverChosen{}};
      auto const padding = padding_of(tokens);
      auto const routing = router.route(EigenExec{}, matrix(logits, tokens, experts), {.padding = padding});
      std::vector<double> expected(static_cast<std::size_t>(experts));
      for (Index t = 0; t < tokens; ++t)
        for (Index k = 0; k < 3; ++k)
          if (routing.expert_ids()(t, k) != no_expert)
            expected[std::size_t(routing.expert_ids()(t, k))] += double(routing.weights()(t, k));
      auto const found = sums(router, logits, experts, {.padding = padding});
      if (tokens > 0)
        for (std::size_t e = 0; e < expected.size(); ++e) BOOST_TEST(std::abs(found[e] - expected[e]) < 1e-7);
    }
}

BOOST_AUTO_TEST_CASE(what_is_no_share_counts_as_one_or_nothing) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> const logits{nan, nan, 3, 0.25f};
  auto const found = sums(Router{TopK<2>{}, ReLU{.normalise = Normalise::None}}, logits, 2);
  BOOST_TEST(found[0] == 1.0);
  BOOST_TEST(found[1] == 0.25);
}

BOOST_AUTO_TEST_SUITE_END()
