// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/rows.hpp"

#include <moebal/gate/sigmoid.hpp>

#include <limits>

using namespace moebal;
using namespace gate_rows;

static_assert(std::is_trivially_copyable_v<Sigmoid> && std::is_aggregate_v<Sigmoid>);

BOOST_AUTO_TEST_SUITE(gate_sigmoid)

BOOST_AUTO_TEST_CASE(scores_and_slopes) {
  Sigmoid const gate;
  for (double z = -80; z <= 80; z += 0.37) {
    double const s = gate.score(z);
    BOOST_TEST(std::abs(s - reference::sigmoid(z)) <= 1e-15 * reference::sigmoid(z));
    BOOST_TEST(std::abs(gate.slope(z, s) - reference::sigmoid_slope(z)) <=
               2e-14 * reference::sigmoid_slope(z) + 2.3e-16);
    BOOST_TEST(gate.score(z + 0.01) >= s); // a logit ranks as its score does
    float const f = gate.score(float(z));
    BOOST_TEST(std::abs(double(f) - reference::sigmoid(double(float(z)))) <= 3e-7 * double(f));
  }
}

BOOST_AUTO_TEST_CASE(nan_gives_the_one_nan) {
  for (float nan : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::signaling_NaN()})
    BOOST_TEST(__builtin_bit_cast(std::uint32_t, Sigmoid{}.score(nan)) == 0x7fc00000u);
}

BOOST_AUTO_TEST_CASE(defaults_normalise_and_keep_the_gradient_of_a_single_choice) {
  reference::Gate const plain{.score = reference::Score::Sigmoid, .normalise = true, .epsilon = 1e-20};
  BOOST_TEST(close(weights(Sigmoid{}, logits, chosen), reference::weights(plain, logits, chosen), 1e-15));
  double sum = 0;
  for (double w : weights(Sigmoid{}, logits, chosen)) sum += w;
  BOOST_TEST(std::abs(sum - 1) < 1e-15);
  BOOST_TEST(std::abs(weights(Sigmoid{}, logits, {4})[0] - reference::sigmoid(-4)) < 1e-15);
  BOOST_TEST(weights(Sigmoid{.single_choice = SingleChoice::Normalised}, logits, {4})[0] == 1);
  BOOST_TEST(
      close(weights(Sigmoid{.scale = 2.5f}, logits, chosen),
            reference::weights({.score = reference::Score::Sigmoid, .normalise = true, .scale = 2.5, .epsilon = 1e-20},
                               logits, chosen),
            1e-15));
}

BOOST_AUTO_TEST_CASE(gradients) {
  reference::Gate const gate{.score = reference::Score::Sigmoid, .normalise = true, .epsilon = 1e-20};
  BOOST_TEST(close(weights_gradient(Sigmoid{}, logits, chosen, pulls),
                   reference::weights_gradient(gate, logits, chosen, pulls), 1e-13));
  BOOST_TEST(close(balance(Sigmoid{}, logits), reference::normalised_scores(gate.score, logits), 1e-14));
  BOOST_TEST(close(balance_gradient(Sigmoid{}, logits, slopes),
                   reference::normalised_scores_gradient(gate.score, logits, slopes), 1e-13));
  for (double d : weights_gradient(Sigmoid{.single_choice = SingleChoice::Normalised}, logits, {4}, {1.0}))
    BOOST_TEST(std::abs(d) < 1e-15);
  BOOST_TEST(weights_gradient(Sigmoid{}, logits, {4}, {1.0})[4] > 1e-3); // alive
}

BOOST_AUTO_TEST_CASE(never_zero) {
  BOOST_TEST(Sigmoid{}.score(-1e30f) > 0);
  BOOST_TEST(Sigmoid{}.score(-1e300) > 0);
  BOOST_TEST(Sigmoid{}.score(1e30f) == 1);
}

BOOST_AUTO_TEST_SUITE_END()
