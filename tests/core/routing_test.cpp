// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/core/routing.hpp>

using namespace moebal;

BOOST_AUTO_TEST_SUITE(core_routing)

BOOST_AUTO_TEST_CASE(an_owner_and_its_view) {
  Routing<double> r(3, 2);
  BOOST_TEST((r.tokens() == 3 && r.top_k() == 2));
  RoutingView<double> const view = r.view();
  view.expert_ids(2, 1) = 9;
  view.weights(0, 1) = 0.5;
  Routing<double> const copy = r;
  view.weights(0, 1) = 1;
  BOOST_TEST(copy.expert_ids()(2, 1) == 9);
  BOOST_TEST(copy.weights()(0, 1) == 0.5);
  BOOST_TEST((r.expert_ids().rows() == 3 && r.weights().cols() == 2));
  BOOST_TEST((Routing<>().tokens() == 0 && Routing<>().expert_ids().empty()));
  BOOST_TEST(Routing<>(0, 4).weights().cols() == 4);
}

BOOST_AUTO_TEST_CASE(options_start_empty) {
  RowOptions<> const none;
  BOOST_TEST((none.bias.empty() && none.padding.empty() && none.segments.empty()));
}

BOOST_AUTO_TEST_SUITE_END()
