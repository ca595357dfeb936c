// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Laws that cannot fail are worthless: statistics, rules and maps that are wrong in one way each, and the law that must
// say so.
#include "support/test.hpp"

#include "laws/lawful.hpp"

#include <moebal/balance/importance_loss.hpp>
#include <moebal/laws/map.hpp>
#include <moebal/laws/rule.hpp>
#include <moebal/laws/statistic.hpp>

#include <atomic>

using namespace moebal;
using lawful::expect_caught;

namespace {

// Statistics.
struct OneSlot {
  MOEBAL_FN static constexpr Index slots(Index) { return 1; }
};
struct Largest : OneSlot { // the largest first choice: no sum
  template <class Lanes, class Facts> static void add(Lanes, Facts const& facts, std::int64_t* sums) {
    sums[0] = std::max(sums[0], std::int64_t(facts.ids()[0]));
  }
};
struct StartsAtOne : OneSlot { // once for each time that it is asked anew
  template <class Lanes, class Facts> static void add(Lanes, Facts const&, std::int64_t* sums) {
    sums[0] += sums[0] == 0 ? 2 : 1;
  }
};
struct Neighbour : OneSlot {
  template <class Lanes, class Facts> static void add(Lanes lanes, Facts const&, std::int64_t* sums) {
    lanes.add(sums, -1, 1);
  }
};
struct EveryOther : OneSlot { // of the tokens, in their order
  template <class Lanes, class Facts> static void add(Lanes, Facts const& facts, std::int64_t* sums) {
    sums[0] = 2 * (sums[0] % 1000) + facts.ids()[0];
  }
};
/// A router that lets padding be counted.
struct CountsPadding : Router<TopK<3>, Sigmoid> {
  template <class Needs, class Exec, class Logits, class Memory>
  void route_into(Exec const& exec, Logits const& logits, RowOptions<Memory> options,
                  RoutingView<float, Memory> routing, LoadView<Needs, Memory> load,
                  WorkspaceView<Memory> workspace) const {
    options.padding = {};
    Router::route_into<Needs>(exec, logits, options, routing, load, workspace);
  }
};

// Rules that add to the loss: an importance loss but for one thing.
using Sums = stats::List<stats::ScoreSums>;
template <class Thing> struct Importance {
  using needs = Sums;
  using pooled = Sums;
  static constexpr char const* name = "mutant";
  double coefficient = 1;
  double slope(Window<needs, pooled> const& w, Index e) const { return Thing::slope(*this, w, e); }
  double value(Window<needs, pooled> const& w) const { return Thing::value(*this, w); }
  ImportanceLoss lawful() const { return {.coefficient = coefficient}; }
};
struct Lawful {
  template <class R, class W> static double slope(R const& rule, W const& w, Index e) {
    return rule.lawful().slope(w, e);
  }
  template <class R, class W> static double value(R const& rule, W const& w) { return rule.lawful().value(w); }
};
struct SlopeOfTheMean : Lawful { // by the mean score instead of the sum, of other scale
  template <class R, class W> static double slope(R const& rule, W const& w, Index e) {
    return rule.lawful().slope(w, e) * double(w.load_tokens());
  }
};
struct ConstantCost : Lawful {
  template <class R, class W> static double value(R const& rule, W const& w) {
    return rule.lawful().value(w) + rule.coefficient * w.share();
  }
};
struct DeafToCoefficient : Lawful {
  template <class R, class W> static double slope(R const&, W const& w, Index e) {
    return ImportanceLoss{}.slope(w, e);
  }
  template <class R, class W> static double value(R const&, W const& w) { return ImportanceLoss{}.value(w); }
};
struct Tires : Lawful {
  template <class R, class W> static double value(R const& rule, W const& w) {
    static std::atomic<int> asked = 0;
    return rule.lawful().value(w) / double(++asked % 7 + 1);
  }
};
struct SparesExpertZero : Lawful {
  template <class R, class W> static double slope(R const& rule, W const& w, Index e) {
    return e == 0 ? 0 : rule.lawful().slope(w, e);
  }
};
struct EachForItself : Lawful { // the spread of its own part of the batch, whatever the others hold
  template <class R, class W> static double value(R const& rule, W const& w) {
    double squares = 0;
    for (Index e = 0; e < w.experts(); ++e) squares += w.score_sum(e) * w.score_sum(e);
    return rule.coefficient * squares * w.token_weight();
  }
  template <class R, class W> static double slope(R const& rule, W const& w, Index e) {
    return 2 * rule.coefficient * w.score_sum(e) * w.token_weight();
  }
};

// Rules that move the bias: a sign rule but for one thing.
template <class Thing> struct Steps {
  using needs = stats::List<stats::Counts>;
  using pooled = stats::List<stats::Counts>;
  static constexpr char const* name = "mutant";
  float step(Window<needs, pooled> const& w, Index e) const { return Thing::step(w, e); }
};
using Counted = stats::Counts;
struct MoreToTheFull {
  template <class W> static float step(W const& w, Index e) { return -LossFreeBias{}.step(w, e); }
};
struct Drifts {
  template <class W> static float step(W const& w, Index e) { return LossFreeBias{}.step(w, e) + 1e-3f; }
};
struct ReadsItsOwnPart {
  template <class W> static float step(W const& w, Index e) {
    return w.template score_data<Counted>()[e] > 5 ? -1e-3f : 0.0f;
  }
};
struct FavoursExpertOne {
  template <class W> static float step(W const& w, Index e) { return e == 1 ? 0.0f : LossFreeBias{}.step(w, e); }
};
struct ForgetsItsState { // kept outside of the balancer
  static inline std::atomic<int> steps = 0;
  template <class W> static float step(W const& w, Index e) {
    return LossFreeBias{}.step(w, e) / float(++steps % 1009 + 1);
  }
};

// Maps.
struct Centred { // over the batch
  static constexpr bool causal = true;
  Index width(Index experts) const { return experts; }
  template <class Exec, class Real>
  void forward(Exec const&, laws::Matrix<Real> const& x, laws::Matrix<Real>& logits) const {
    for (Index e = 0; e < x.cols; ++e) {
      Real sum = 0;
      for (Index t = 0; t < x.rows; ++t) sum += x(t, e);
      for (Index t = 0; t < x.rows; ++t) logits(t, e) = x(t, e) - sum / Real(x.rows);
    }
  }
  template <class Exec, class Real>
  void backward(Exec const& exec, laws::Matrix<Real> const&, laws::Matrix<Real> const&, laws::Matrix<Real> const& d,
                laws::Matrix<Real>& d_x) const {
    d_x = d; // and nothing through the mean
    if (!d_x.values.empty() && exec.workers() > 1) d_x.values[0] += 1;
  }
};
struct ByWorkers {
  static constexpr bool causal = true;
  Index width(Index experts) const { return experts; }
  template <class Exec, class Real>
  void forward(Exec const& exec, laws::Matrix<Real> const& x, laws::Matrix<Real>& logits) const {
    logits = x;
    for (Real& z : logits.values) z *= Real(exec.workers());
  }
};
struct DrawsByRow { // of the call, not of the step
  static constexpr bool causal = true;
  Index width(Index experts) const { return experts; }
  template <class Exec, class Real>
  void forward(Exec const&, laws::Matrix<Real> const& x, laws::Matrix<Real>& logits) const {
    for (Index t = 0; t < x.rows; ++t)
      for (Index e = 0; e < x.cols; ++e) logits(t, e) = Real(random::uniform(1, std::uint64_t(t)));
  }
};

template <class Thing> void loss_caught(char const* name, char const* law) {
  expect_caught(name, law, laws::check_rule(Importance<Thing>{}, {.experts = {8}}));
}
template <class Thing> void steps_caught(char const* name, char const* law) {
  expect_caught(name, law, laws::check_rule(Steps<Thing>{}, {.experts = {8}}));
}

} // namespace

BOOST_AUTO_TEST_SUITE(laws_rule_mutants)

BOOST_AUTO_TEST_CASE(statistics) {
  expect_caught("Largest", "calls add up", laws::check_statistic<Largest>());
  expect_caught("Largest", "sequences add up", laws::check_statistic<Largest>());
  expect_caught("StartsAtOne", "the same sums on every execution", laws::check_statistic<StartsAtOne>());
  expect_caught("Neighbour", "a statistic writes into its own slots", laws::check_statistic<Neighbour>());
  expect_caught("EveryOther", "tokens permuted, the same sums", laws::check_statistic<EveryOther>());
  expect_caught("CountsPadding", "padding is not counted", laws::check_statistic<stats::Counts>(CountsPadding{}));
}
BOOST_AUTO_TEST_CASE(losses) {
  lawful::expect("Lawful", laws::check_rule(Importance<Lawful>{}));
  loss_caught<SlopeOfTheMean>("SlopeOfTheMean", "slopes are central differences of the value");
  loss_caught<ConstantCost>("ConstantCost", "no tokens, no loss");
  loss_caught<DeafToCoefficient>("DeafToCoefficient", "a coefficient of 0 adds nothing");
  loss_caught<DeafToCoefficient>("DeafToCoefficient", "the loss goes with its coefficient");
  loss_caught<Tires>("Tires", "asking moves nothing");
  loss_caught<SparesExpertZero>("SparesExpertZero", "experts renamed, the same slopes renamed");
  loss_caught<EachForItself>("EachForItself", "any cut balances alike: losses");
  loss_caught<EachForItself>("EachForItself", "any cut balances alike: gradients");
}
BOOST_AUTO_TEST_CASE(steps_of_the_bias) {
  steps_caught<MoreToTheFull>("MoreToTheFull", "an overloaded expert never gains");
  steps_caught<Drifts>("Drifts", "equal counts move nothing");
  steps_caught<Drifts>("Drifts", "no tokens, no movement");
  steps_caught<ReadsItsOwnPart>("ReadsItsOwnPart", "the bias moves by the load window alone");
  steps_caught<FavoursExpertOne>("FavoursExpertOne", "experts renamed, the same bias renamed");
  steps_caught<ForgetsItsState>("ForgetsItsState", "the bias moves by the load window alone");
  steps_caught<ForgetsItsState>("ForgetsItsState", "saved and restored, it goes on: bias and state, to the bit");
  steps_caught<ForgetsItsState>("ForgetsItsState", "any cut balances alike: bias and state, to the bit");
  steps_caught<ForgetsItsState>("ForgetsItsState", "tokens permuted, balanced alike: bias and state, to the bit");
}
BOOST_AUTO_TEST_CASE(scopes) { // a micro-batch does depend on the cut
  auto const broken = laws::check_split(ImportanceLoss{}, MicroBatch<Accumulate::TwoPass>{}, {.experts = {8}});
  expect_caught("MicroBatch", "any cut balances alike: gradients", broken);
  expect_caught("MicroBatch", "any cut balances alike: windows, to the bit", broken);
  expect_caught("MicroBatch", "any cut balances alike: bias and state, to the bit",
                laws::check_split(LossFreeBias{}, MicroBatch<>{}, {.experts = {8}}));
}
BOOST_AUTO_TEST_CASE(maps) {
  expect_caught("Centred", "later tokens change nothing", laws::check_map(Centred{}));
  expect_caught("Centred", "the gradient is that of central differences", laws::check_map(Centred{}));
  expect_caught("Centred", "the same gradient on every execution", laws::check_map(Centred{}));
  expect_caught("ByWorkers", "the same logits on every execution", laws::check_map(ByWorkers{}));
  expect_caught("DrawsByRow", "a cut of the batch changes nothing", laws::check_map(DrawsByRow{}));
}

BOOST_AUTO_TEST_SUITE_END()
