// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/rows.hpp"

#include <moebal/gate/chosen.hpp>

using namespace moebal;

namespace {
struct Options {
  Normalise normalise = Normalise::OverChosen;
  SingleChoice single_choice = SingleChoice::Raw;
  float scale = 1;
  float epsilon = 0;
  EpsilonRule epsilon_rule = EpsilonRule::Add;
};
std::vector<double> weigh(Options o, std::vector<double> const& scores) {
  std::vector<double> w(scores.size());
  gate::weigh(SerialLanes{}, gate::weight_rule<double>(o, Index(scores.size())), scores.data(), Index(scores.size()),
              w.data());
  return w;
}
std::vector<double> pull(Options o, std::vector<double> const& scores, std::vector<double> const& v) {
  std::vector<double> d(scores.size());
  gate::weigh_backward(SerialLanes{}, gate::weight_rule<double>(o, Index(scores.size())), scores.data(),
                       Index(scores.size()), v.data(), d.data());
  return d;
}
} // namespace

BOOST_AUTO_TEST_SUITE(gate_chosen)

BOOST_AUTO_TEST_CASE(every_option_by_hand) {
  BOOST_TEST((weigh({}, {1, 3}) == std::vector<double>{0.25, 0.75}));
  BOOST_TEST((weigh({.normalise = Normalise::None, .scale = 2}, {1, 3}) == std::vector<double>{2, 6}));
  BOOST_TEST((weigh({.scale = 2}, {1, 3}) == std::vector<double>{0.5, 1.5}));
  BOOST_TEST((weigh({.epsilon = 4}, {1, 3}) == std::vector<double>{0.125, 0.375}));
  BOOST_TEST(
      (weigh({.epsilon = 8, .epsilon_rule = EpsilonRule::AtLeast}, {1, 3}) == std::vector<double>{0.125, 0.375}));
  BOOST_TEST((weigh({.epsilon = 2, .epsilon_rule = EpsilonRule::AtLeast}, {1, 3}) == std::vector<double>{0.25, 0.75}));
  BOOST_TEST((weigh({}, {3}) == std::vector<double>{3}));
  BOOST_TEST((weigh({.single_choice = SingleChoice::Normalised}, {3}) == std::vector<double>{1}));
  BOOST_TEST((weigh({}, {0, 0}) == std::vector<double>{0, 0}));
}

BOOST_AUTO_TEST_CASE(gradients_by_hand) {
  BOOST_TEST((pull({.normalise = Normalise::None, .scale = 2}, {1, 3}, {5, 7}) == std::vector<double>{10, 14}));
  // w = s / 4: v - sum(v w) = 5 - 6.5, 7 - 6.5, over 4
  BOOST_TEST((pull({}, {1, 3}, {5, 7}) == std::vector<double>{-0.375, 0.125}));
  // below the bound the divisor is a constant
  BOOST_TEST(
      (pull({.epsilon = 8, .epsilon_rule = EpsilonRule::AtLeast}, {1, 3}, {8, 16}) == std::vector<double>{1, 2}));
  BOOST_TEST((pull({.single_choice = SingleChoice::Normalised}, {4}, {3}) == std::vector<double>{0}));
  BOOST_TEST((pull({}, {4}, {3}) == std::vector<double>{3}));
}

BOOST_AUTO_TEST_SUITE_END()
