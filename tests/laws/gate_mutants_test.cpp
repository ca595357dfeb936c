// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Laws that cannot fail are worthless: gates that are wrong in one way each, and the law that must say so.
#include "support/test.hpp"

#include "laws/lawful.hpp"

#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/laws/gate.hpp>

#include <atomic>

using namespace moebal;
using lawful::expect_caught;

namespace {

// Element-wise gates: a sigmoid but for one thing.
struct SteepSlope : Sigmoid {
  template <class V> MOEBAL_FN V slope(V, V s) const { return math::mul<V>(math::mul<V>(s, s), math::splat<V>(1) - s); }
};
struct Falling : Sigmoid {
  template <class V> MOEBAL_FN V score(V z) const { return math::sigmoid(-z); }
  template <class V> MOEBAL_FN V slope(V, V s) const { return -math::mul<V>(s, math::splat<V>(1) - s); }
};
struct HidesNan : Sigmoid {
  template <class V> MOEBAL_FN V score(V z) const {
    V const zero = math::splat<V>(0), s = math::sigmoid(z);
    return math::Ops<V>::select(s > zero, s, zero);
  }
};
struct FourthPower : Sigmoid {
  template <class V> MOEBAL_FN V score(V z) const {
    V const zero = math::splat<V>(0), square = math::mul<V>(z, z);
    return math::keep_nan(z, math::Ops<V>::select(z > zero, math::mul<V>(square, square), zero));
  }
  template <class V> MOEBAL_FN V slope(V z, V) const {
    V const zero = math::splat<V>(0), cube = math::mul<V>(math::mul<V>(z, z), z);
    return math::Ops<V>::select(z > zero, math::mul<V>(math::splat<V>(4), cube), zero);
  }
};
struct ClaimsShift : Sigmoid {};
struct Remembers : Sigmoid {
  template <class V> V score(V z) const {
    static std::atomic<int> asked = 0;
    return math::mul<V>(math::sigmoid(z), math::splat<V>(++asked % 1000 == 0 ? 0.75f : 1.0f));
  }
};
struct ByLane : Sigmoid { // a pack is not rounded like a number
  template <class V> MOEBAL_FN V score(V z) const {
    V const s = math::sigmoid(z);
    return std::is_floating_point_v<V> ? s : math::mul<V>(s, math::splat<V>(1.0000002f));
  }
};

// Row gates: a softmax but for one thing.
struct UnreadRow : Softmax {
  MOEBAL_FN bool weights_read_row(Index) const { return false; }
};
struct FirstExpertWins : Softmax {
  [[maybe_unused]] static constexpr bool opens_tiles = false;
  template <class Real, class Lanes, class X>
  MOEBAL_FN gate::SoftmaxRow<Real> open(Lanes lanes, X x, Index experts) const {
    auto row = gate::open_softmax<Real>(lanes, x, experts);
    row.inverse_sum = row.inverse_sum * (x(Index(0)) > 0 ? Real(0.5) : Real(1));
    return row;
  }
};
struct ChosenAlone : Softmax { // raw weights read the whole row, their gradient does not
  using Softmax::weigh_pull;
  template <class Real, class Lanes>
  MOEBAL_FN void weigh_pull(Lanes lanes, gate::SoftmaxRow<Real>, Real const* z, Index count, Index top_k, Real const* d_weight,
                            Real* factor, Real* value) const {
    Softmax::weigh_pull(lanes, z, count, top_k, d_weight, factor, value);
  }
};
struct Thousands : gate::SoftmaxBalance {
  template <class Real, class V> MOEBAL_FN V score(gate::SoftmaxRow<Real> row, V z) const {
    return math::mul<V>(row(z), math::splat<V>(5000));
  }
};
struct NoRoom : Softmax {
  MOEBAL_FN Thousands balance() const { return {}; }
};

} // namespace

template <> struct moebal::laws::Claims<ClaimsShift> : Everything {};

BOOST_AUTO_TEST_SUITE(laws_gate_mutants)

BOOST_AUTO_TEST_CASE(element_by_element) {
  expect_caught("SteepSlope", "the gradient of the weights is that of central differences",
                laws::check_gate(SteepSlope{}));
  expect_caught("SteepSlope", "the gradient of the balance scores is that of central differences",
                laws::check_gate(SteepSlope{}));
  expect_caught("Falling", "a larger logit never has a smaller score", laws::check_gate(Falling{}));
  expect_caught("HidesNan", "the score of NaN is NaN", laws::check_gate(HidesNan{}));
  expect_caught("FourthPower", "weights are finite", laws::check_gate(FourthPower{}));
  expect_caught("ClaimsShift", "a constant added to the logits changes nothing", laws::check_gate(ClaimsShift{}));
  expect_caught("Remembers", "the same bits when run again", laws::check_gate(Remembers{}));
}
BOOST_AUTO_TEST_CASE(packs_of_lanes) {
  if (CpuLanes<float>::width > 1)
    expect_caught("ByLane", "the same bits on every execution", laws::check_gate(ByLane{}));
}
BOOST_AUTO_TEST_CASE(row_by_row) {
  expect_caught("UnreadRow", "weights_read_row says whether weights need the whole row", laws::check_gate(UnreadRow{}));
  expect_caught("FirstExpertWins", "experts renamed, the same answer renamed", laws::check_gate(FirstExpertWins{}));
  expect_caught("ChosenAlone", "the gradient of the weights is that of central differences",
                laws::check_gate(ChosenAlone{}));
  expect_caught("NoRoom", "balance scores lie in [0, 1024]", laws::check_gate(NoRoom{}));
}

// As docs/your_own.md says: laws one by one, and one more.
BOOST_AUTO_TEST_CASE(single_laws) {
  laws::Findings findings;
  Falling const gate{};
  laws::scores_rise<float>(gate, {}, findings);
  findings.expect("small logits score 0", gate.score(-100.0f) == 0, [] { return "for -100: needed 0, had more"; });
  BOOST_TEST(findings.broken("a larger logit never has a smaller score"));
  BOOST_TEST(findings.broken("small logits score 0"));
  BOOST_TEST(!findings.broken("the score of NaN is NaN"));
  BOOST_TEST(findings.violations().size() == 2);
  BOOST_TEST(laws::words(findings.violations()[1]) == "small logits score 0: for -100: needed 0, had more");
}

BOOST_AUTO_TEST_SUITE_END()
