// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/rows.hpp"

#include <moebal/gate/sqrt_softplus.hpp>

#include <limits>

using namespace moebal;
using namespace gate_rows;

static_assert(std::is_trivially_copyable_v<SqrtSoftplus> && std::is_aggregate_v<SqrtSoftplus>);

BOOST_AUTO_TEST_SUITE(gate_sqrt_softplus)

BOOST_AUTO_TEST_CASE(scores_and_slopes) {
  SqrtSoftplus const gate;
  for (double z = -80; z <= 80; z += 0.37) {
    double const s = gate.score(z);
    BOOST_TEST(std::abs(s - reference::sqrt_softplus(z)) <= 1e-15 * reference::sqrt_softplus(z));
    BOOST_TEST(std::abs(gate.slope(z, s) - reference::sqrt_softplus_slope(z)) <=
               2e-14 * reference::sqrt_softplus_slope(z) + 2.3e-16);
    BOOST_TEST(gate.score(z + 0.01) >= s); // a logit ranks as its score does
    float const f = gate.score(float(z));
    BOOST_TEST(std::abs(double(f) - reference::sqrt_softplus(double(float(z)))) <= 3e-7 * double(f));
  }
}

BOOST_AUTO_TEST_CASE(nan_gives_the_one_nan) {
  for (float nan : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::signaling_NaN()})
    BOOST_TEST(__builtin_bit_cast(std::uint32_t, SqrtSoftplus{}.score(nan)) == 0x7fc00000u);
}

BOOST_AUTO_TEST_CASE(defaults_normalise_and_keep_the_gradient_of_a_single_choice) {
  reference::Gate const plain{.score = reference::Score::SqrtSoftplus, .normalise = true, .epsilon = 1e-20};
  BOOST_TEST(close(weights(SqrtSoftplus{}, logits, chosen), reference::weights(plain, logits, chosen), 1e-15));
  double sum = 0;
  for (double w : weights(SqrtSoftplus{}, logits, chosen)) sum += w;
  BOOST_TEST(std::abs(sum - 1) < 1e-15);
  BOOST_TEST(std::abs(weights(SqrtSoftplus{}, logits, {4})[0] - reference::sqrt_softplus(-4)) < 1e-15);
  BOOST_TEST(weights(SqrtSoftplus{.single_choice = SingleChoice::Normalised}, logits, {4})[0] == 1);
  BOOST_TEST(close(
      weights(SqrtSoftplus{.scale = 2.5f}, logits, chosen),
      reference::weights({.score = reference::Score::SqrtSoftplus, .normalise = true, .scale = 2.5, .epsilon = 1e-20},
                         logits, chosen),
      1e-15));
}

BOOST_AUTO_TEST_CASE(gradients) {
  reference::Gate const gate{.score = reference::Score::SqrtSoftplus, .normalise = true, .epsilon = 1e-20};
  BOOST_TEST(close(weights_gradient(SqrtSoftplus{}, logits, chosen, pulls),
                   reference::weights_gradient(gate, logits, chosen, pulls), 1e-13));
  BOOST_TEST(close(balance(SqrtSoftplus{}, logits), reference::normalised_scores(gate.score, logits), 1e-14));
  BOOST_TEST(close(balance_gradient(SqrtSoftplus{}, logits, slopes),
                   reference::normalised_scores_gradient(gate.score, logits, slopes), 1e-13));
  for (double d : weights_gradient(SqrtSoftplus{.single_choice = SingleChoice::Normalised}, logits, {4}, {1.0}))
    BOOST_TEST(std::abs(d) < 1e-15);
  BOOST_TEST(weights_gradient(SqrtSoftplus{}, logits, {4}, {1.0})[4] > 1e-3); // alive
}

BOOST_AUTO_TEST_CASE(zero_scores_have_zero_slopes_and_weights) {
  SqrtSoftplus const gate;
  BOOST_TEST(gate.score(-100.0f) == 0);
  BOOST_TEST(gate.slope(-100.0f, gate.score(-100.0f)) == 0);
  for (double w : weights<float>(gate, reference::Row(7, -100.0), chosen))
    BOOST_TEST(w == 0); // 0 / (0 + 1e-20), and not NaN
  for (double w : weights<float>(SqrtSoftplus{.epsilon = 0}, reference::Row(7, -100.0), chosen)) BOOST_TEST(w == 0);
}

BOOST_AUTO_TEST_SUITE_END()
