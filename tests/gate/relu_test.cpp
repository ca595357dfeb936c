// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/maps.hpp"
#include "gate/rows.hpp"

#include <moebal/gate/relu.hpp>

#include <limits>

using namespace moebal;
using namespace gate_rows;

static_assert(std::is_trivially_copyable_v<ReLU> && std::is_aggregate_v<ReLU>);

BOOST_AUTO_TEST_SUITE(gate_relu)

BOOST_AUTO_TEST_CASE(scores_and_slopes) {
  BOOST_TEST(ReLU{}.score(2.5f) == 2.5f);
  BOOST_TEST(ReLU{}.score(-2.5) == 0);
  BOOST_TEST(ReLU{}.slope(2.5f, 2.5f) == 1);
  BOOST_TEST(ReLU{}.slope(0.0, 0.0) == 0);
  BOOST_TEST(ReLU{}.slope(-1.0, 0.0) == 0);
  BOOST_TEST(__builtin_bit_cast(std::uint32_t, ReLU{}.score(-std::numeric_limits<float>::quiet_NaN())) == 0x7fc00000u);
}

BOOST_AUTO_TEST_CASE(weights_are_the_scores) {
  BOOST_TEST(close(weights(ReLU{}, logits, {2, 5, 1}), {2.5, 1.1, 0}, 1e-15));
  BOOST_TEST(close(weights(ReLU{.scale = 2}, logits, {2, 5, 1}), {5, 2.2, 0}, 1e-15));
  BOOST_TEST(
      close(weights(ReLU{.normalise = Normalise::OverChosen}, logits, {2, 5, 1}), {2.5 / 3.6, 1.1 / 3.6, 0}, 1e-15));
  BOOST_TEST(close(weights(ReLU{.normalise = Normalise::OverChosen}, {-1, -2}, {0, 1}), {0, 0}, 1e-15)); // finite
  double const sum = 0.3 + 2.5 + 1.1 + 1.1;
  BOOST_TEST(close(balance(ReLU{}, logits), {0.3 / sum, 0, 2.5 / sum, 0, 0, 1.1 / sum, 1.1 / sum}, 1e-14));
  for (double q : balance<float>(ReLU{}, {-1, -2, -3})) BOOST_TEST(q == 0);
}

BOOST_AUTO_TEST_CASE(gradients_by_central_differences) {
  reference::Row z = logits;
  z[3] = -0.5; // away from the corner
  auto const dot = [](reference::Row const& a, reference::Row const& b) {
    double s = 0;
    for (std::size_t i = 0; i < a.size(); ++i) s += a[i] * b[i];
    return s;
  };
  for (ReLU const gate : {ReLU{.scale = 1.5f}, ReLU{.normalise = Normalise::OverChosen}}) {
    auto const d = weights_gradient(gate, z, {2, 5, 1}, pulls);
    BOOST_TEST(maps::gradient_error(z, d, [&] { return dot(weights(gate, z, {2, 5, 1}), pulls); }) < 1e-8);
  }
  auto const d = balance_gradient(ReLU{}, z, slopes);
  BOOST_TEST(maps::gradient_error(z, d, [&] { return dot(balance(ReLU{}, z), slopes); }) < 1e-8);
  for (double v : balance_gradient<float>(ReLU{}, {-1, -2, -3}, {1, 2, 3})) BOOST_TEST(v == 0);
}

BOOST_AUTO_TEST_SUITE_END()
