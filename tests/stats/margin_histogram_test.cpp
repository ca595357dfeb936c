// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "support/inputs.hpp"

#include <moebal/moebal.hpp>
#include <moebal/stats/margin_histogram.hpp>

#include <unsupported/Eigen/CXX11/ThreadPool>

using namespace moebal;
using namespace moebal_test;

namespace {

constexpr Index bins = 37;
using Histogram = stats::MarginHistogram<bins>;

template <class Real, class Gate>
std::vector<std::int64_t> expected(std::vector<Real> const& logits, Index experts, Index top_k, Options const& options,
                                   Gate gate) {
  std::vector<std::int64_t> counts(std::size_t(experts * bins));
  Real least = 0, most = 0;
  if (!options.bias.empty()) {
    least = *std::min_element(options.bias.begin(), options.bias.end());
    most = *std::max_element(options.bias.begin(), options.bias.end());
  }
  for (Index t = 0; t * experts < Index(logits.size()); ++t) {
    if (!options.padding.empty() && options.padding[std::size_t(t)]) continue;
    if (top_k == experts) continue;
    std::vector<Real> s, biased;
    for (Index e = 0; e < experts; ++e) {
      s.push_back(gate.score(logits[std::size_t(t * experts + e)]));
      biased.push_back(options.bias.empty() ? s.back() : s.back() + Real(options.bias[std::size_t(e)]));
    }
    std::sort(biased.begin(), biased.end(), std::greater<>());
    for (Index e = 0; e < experts; ++e) {
      Real const place =
          (biased[std::size_t(top_k)] - s[std::size_t(e)] - (least - 1)) * (Real(bins) / (most - least + 2));
      ++counts[std::size_t(e * bins + std::clamp(Index(place), Index(0), bins - 1))];
    }
  }
  return counts;
}

template <Index K, class Real> void check(Index tokens, Index experts, bool biased, bool padded) {
  auto const logits = logits_of<Real>(Kind::Bell, tokens, experts);
  Options options;
  if (biased) options.bias = bias_of(experts, 0.2f);
  if (padded) options.padding = padding_of(tokens);
  Router const router{TopK<K>{}, Sigmoid{}};
  auto const want = expected(logits, experts, K, options, Sigmoid{});
  Eigen::ThreadPool pool(3);
  for (auto const& exec : {EigenExec{}, EigenExec{&pool}.on_every_thread()}) {
    auto const [routing, load] =
        router.template route_with<stats::List<Histogram>>(exec, matrix(logits, tokens, experts), options.view());
    auto const got = load.template get<Histogram>();
    BOOST_TEST_CONTEXT("T " << tokens << " E " << experts << " K " << K << " biased " << biased << " padded " << padded)
    BOOST_TEST(std::equal(got.begin(), got.end(), want.begin(), want.end()));
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(stats_margin_histogram)

BOOST_AUTO_TEST_CASE(every_margin_in_its_bin) {
  for (bool const biased : {false, true})
    for (bool const padded : {false, true}) {
      for (Index const tokens : {0, 1, 7, 133}) {
        check<2, float>(tokens, 3, biased, padded);
        check<4, float>(tokens, 60, biased, padded);
        check<2, double>(tokens, 9, biased, padded);
      }
      check<1, float>(5, 1, biased, padded); // K = E
      check<3, float>(5, 3, biased, padded);
      check<8, float>(9, 384, biased, padded);
    }
}

BOOST_AUTO_TEST_CASE(sequences_add_up) {
  auto const logits = logits_of<float>(Kind::Wide, 50, 8);
  Router const router{TopK<2>{}, Softmax{}};
  Options options{.segments = {0, 10, 10, 50}};
  using Needs = stats::List<Histogram>;
  auto const parts = router.route_with<Needs>(EigenExec{}, matrix(logits, 50, 8), options.view()).second;
  auto const whole = router.route_with<Needs>(EigenExec{}, matrix(logits, 50, 8)).second;
  std::int64_t total = 0;
  for (Index i = 0; i < 8 * bins; ++i) {
    BOOST_TEST(parts.get<Histogram>(0)[i] + parts.get<Histogram>(1)[i] + parts.get<Histogram>(2)[i] ==
               whole.get<Histogram>()[i]);
    total += whole.get<Histogram>()[i];
  }
  BOOST_TEST(total == 50 * 8);
}

BOOST_AUTO_TEST_CASE(a_margin_that_is_no_number_is_not_counted) {
  std::vector<float> logits{1, 2, 3, std::numeric_limits<float>::quiet_NaN(), 2, 3};
  auto const load =
      Router{TopK<1>{}, Sigmoid{}}.route_with<stats::List<Histogram>>(EigenExec{}, matrix(logits, 2, 3)).second;
  std::vector<std::int64_t> sums(3);
  for (Index i = 0; i < 3 * bins; ++i) sums[std::size_t(i / bins)] += load.get<Histogram>()[i];
  BOOST_TEST(sums == (std::vector<std::int64_t>{1, 2, 2}), boost::test_tools::per_element());
}

// TransformerEngine d0067d0d, qb_topk_score_function_pytorch.T6E8K1b16, its third, fourth and fifth token: 16 bins over
// [-1.5, 1.5].
BOOST_AUTO_TEST_CASE(bins_as_transformer_engine) {
  stats::MarginBins<float> const bin_of{-1.5f, 16 / 3.0f, 16};
  float const cutoffs[] = {0.6975739f, 0.769184291f, 0.681940913f};
  float const scores[3][8] = {
      {0.516428292f, 0.173136368f, 0.706599355f, 0.73144263f, 0.69363445f, 0.364638954f, 0.384319961f, 0.519813359f},
      {0.766804397f, 0.669294357f, 0.309727222f, 0.552449942f, 0.720996857f, 0.393988967f, 0.21720171f, 0.362657756f},
      {0.403115779f, 0.56398946f, 0.217288807f, 0.262464821f, 0.290827423f, 0.603052914f, 0.235575497f, 0.852792978f}};
  Index const bins_of_peer[3][8] = {
      {8, 10, 7, 7, 8, 9, 9, 8}, {8, 8, 10, 9, 8, 10, 10, 10}, {9, 8, 10, 10, 10, 8, 10, 7}};
  for (int t = 0; t < 3; ++t)
    for (int e = 0; e < 8; ++e) BOOST_TEST(bin_of(cutoffs[t] - scores[t][e]) == bins_of_peer[t][e]);
}

BOOST_AUTO_TEST_CASE(what_lies_outside_counts_at_the_ends) {
  auto const bin_of = stats::MarginBins<float>::of_bias(-0.5f, 0.5f, 10);
  float const inf = std::numeric_limits<float>::infinity();
  BOOST_TEST(bin_of(-inf) == 0);
  BOOST_TEST(bin_of(-1.5f) == 0);
  BOOST_TEST(bin_of(1.49f) == 9);
  BOOST_TEST(bin_of(1.5f) == 9);
  BOOST_TEST(bin_of(inf) == 9);
  BOOST_TEST(bin_of(std::numeric_limits<float>::quiet_NaN()) == -1);
}

BOOST_AUTO_TEST_SUITE_END()
