// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/synthetic.hpp"

#include <moebal/balancer.hpp>

using namespace moebal;

namespace {

template <class... S> using List = stats::List<S...>;

// A rule asks for one thing, is told by name, and cannot be anything else.
static_assert(score_rule<SwitchLoss<Choices::First, CountSource::Unbiased>> && !square_rule<SwitchLoss<>> &&
              !bias_rule<SwitchLoss<>>);
static_assert(square_rule<ZLoss> && !score_rule<ZLoss> && loss_rule<ZLoss>);
static_assert(bias_rule<LossFreeBias> && !loss_rule<LossFreeBias>);
static_assert(!balance_rule<int> && !balance_rule<Rules<SwitchLoss<>>> && !balance_rule<GlobalBatch<>>);

struct Nameless {
  using needs = List<stats::Counts>;
  using pooled = needs;
  float step(Window<needs, pooled> const&, Index) const { return 0; }
};
static_assert(!bias_rule<Nameless>);
struct DoubleStep : LossFreeBias {
  double step(Window<needs, pooled> const&, Index) const { return 0; }
};
static_assert(!bias_rule<DoubleStep>); // the bias is fp32
struct Valueless {
  using needs = List<stats::ScoreSums>;
  using pooled = stats::None;
  static constexpr char const* name = "valueless";
  double slope(Window<needs, pooled> const&, Index) const { return 0; }
};
static_assert(!loss_rule<Valueless>);
struct Heavy {
  using needs = List<stats::Counts>;
  using pooled = needs;
  [[maybe_unused]] static constexpr char const* name = "heavy";
  std::vector<float> table;
  float step(Window<needs, pooled> const&, Index) const { return 0; }
};
static_assert(!bias_rule<Heavy>); // not trivially copyable

using Both = Rules<SwitchLoss<>, LossFreeBias, ZLoss, SwitchLoss<>>;
static_assert(std::is_trivially_copyable_v<Both>);
using Merged = detail::Traits<Both>;
static_assert(Merged::has_loss && Merged::has_slopes && Merged::has_z_slopes && Merged::has_bias);
static_assert(!detail::Traits<Rules<LossFreeBias>>::has_loss && !detail::Traits<Rules<ZLoss>>::has_slopes);

template <class L> void row_of_ascending_numbers(L const& load, std::int64_t first) {
  for (Index i = 0; i < load.slots(); ++i) load.data()[i] = first + i;
}

} // namespace

BOOST_AUTO_TEST_SUITE(balance_rules)

BOOST_AUTO_TEST_CASE(together_they_need_each_statistic_once) {
  BOOST_TEST(Merged::needs::slots(10) == List<>::header + 10 + 10 + 2);
  BOOST_TEST(Merged::pooled::slots(10) == List<>::header + 10);
  static_assert(Merged::needs::has<stats::Counts> && Merged::needs::has<stats::ScoreSums> &&
                Merged::needs::has<stats::LogSumExpSquares>);
}

BOOST_AUTO_TEST_CASE(they_are_visited_in_order) {
  std::string names;
  Rules{ZLoss{}, SwitchLoss<>{}, LossFreeBias{}, ZLoss{}}.each(
      [&](auto const& r) { names.append(r.name).append(" "); });
  BOOST_TEST(names == "z switch loss_free_bias z ");
  Rules{}.each([](auto const&) { BOOST_FAIL("there is none"); });
}

BOOST_AUTO_TEST_CASE(a_narrow_window_shows_the_same_numbers) {
  using Wide =
      Window<List<stats::ScoreSums, stats::LogSumExpSquares, stats::Counts>, List<stats::ScoreSums, stats::Counts>>;
  Index const experts = 3;
  Load<List<stats::ScoreSums, stats::LogSumExpSquares, stats::Counts>> scores(1, experts);
  Load<List<stats::ScoreSums, stats::Counts>> loads(1, experts);
  row_of_ascending_numbers(scores.view(), 100);
  row_of_ascending_numbers(loads.view(), 200);
  Wide const wide(2, scores.view(), loads.view(), 0.25, 0.5, 4);
  Window<List<stats::Counts, stats::ScoreSums>, List<stats::Counts>> const narrow = wide;
  Window<List<stats::LogSumExpSquares>, stats::None> const squares = wide;

  BOOST_TEST(narrow.experts() == 3);
  BOOST_TEST(narrow.top_k() == 2);
  BOOST_TEST(narrow.load_tokens() == 200);
  BOOST_TEST(narrow.score_tokens() == 100);
  for (Index e = 0; e < experts; ++e) {
    BOOST_TEST(narrow.load<stats::Counts>(e) == 200 + 2 + 3 + e);
    BOOST_TEST(narrow.score_sum(e) == 4.0 * double(100 + 2 + e));
    BOOST_TEST(wide.load_mean_score(e) == 4.0 * double(200 + 2 + e) / 200);
  }
  BOOST_TEST(narrow.load_total<stats::Counts>() == 205 + 206 + 207);
  BOOST_TEST(narrow.token_weight() == 0.25);
  BOOST_TEST(narrow.share() == 0.5);
  BOOST_TEST(squares.square_sum() == 105 + 106 / stats::square_one);
}

BOOST_AUTO_TEST_CASE(losses_and_slopes_add) {
  Index const experts = 6, k = 2;
  auto const load =
      synthetic::load_of({synthetic::tokens(9, experts, k, 1), synthetic::tokens(4, experts, k, 2)}, experts);
  BalancerShape const shape{.experts = experts, .top_k = k};
  Balancer one{MicroBatch<>{}, SwitchLoss<>{.coefficient = 0.5}, shape};
  Balancer twice{MicroBatch<>{},
                 Rules{SwitchLoss<>{.coefficient = 0.5}, LossFreeBias{}, SwitchLoss<>{.coefficient = 0.5}}, shape};
  one.begin_step(1);
  twice.begin_step(1);
  one.observe(0, load);
  twice.observe(0, load);
  auto const a = one.terms(0), b = twice.terms(0);
  BOOST_TEST(a.loss > 0.0);
  BOOST_TEST(b.loss == 2 * a.loss);
  BOOST_TEST(b.slopes.rows() == 2);
  BOOST_TEST(b.z_slopes.empty());
  for (Index s = 0; s < 2; ++s)
    for (Index e = 0; e < experts; ++e) {
      BOOST_TEST(b.slopes(s, e) == 2 * a.slopes(s, e));
      BOOST_TEST(b.router_slopes(s, e) == float(b.slopes(s, e)));
    }
}

BOOST_AUTO_TEST_CASE(no_rules_no_terms) {
  Balancer none{GlobalBatch<>{}, Rules{}, BalancerShape{.experts = 4, .top_k = 1}};
  none.begin_step(1);
  none.observe(0, Load<stats::None>(3, 4));
  auto const terms = none.terms(0);
  BOOST_TEST(terms.loss == 0.0);
  BOOST_TEST(terms.slopes.empty());
  BOOST_TEST(terms.z_slopes.empty());
  none.end_step();
  BOOST_TEST(none.bias().empty());
}

BOOST_AUTO_TEST_CASE(z_loss_is_a_mean_of_squares) {
  Index const experts = 5;
  auto const tokens = synthetic::tokens(11, experts, 1, 8);
  double sum = 0;
  for (auto const& t : tokens) sum += t.square;
  Balancer balancer{MicroBatch<>{}, ZLoss{.coefficient = 0.5}, BalancerShape{.experts = experts, .top_k = 1}};
  balancer.begin_step(1);
  balancer.observe(0, synthetic::load_of({tokens, {}}, experts));
  auto const terms = balancer.terms(0);
  BOOST_TEST(terms.loss == 0.5 * sum / 11, boost::test_tools::tolerance(1e-11));
  BOOST_TEST(terms.slopes.empty());
  BOOST_TEST(terms.z_slopes.size() == 2);
  for (double const slope : terms.z_slopes) BOOST_TEST(slope == 0.5 / 11, boost::test_tools::tolerance(1e-14));
  BOOST_TEST(terms.router_z_slopes[1] == float(terms.z_slopes[1]));
}

BOOST_AUTO_TEST_SUITE_END()
