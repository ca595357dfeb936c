// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/random_rows.hpp"
#include "select/rows.hpp"

#include <moebal/gate/softmax.hpp>
#include <moebal/select/device_limited.hpp>
#include <moebal/select/top_k.hpp>

using namespace moebal;
using select_rows::choose;

BOOST_AUTO_TEST_SUITE(select_device_limited)

BOOST_AUTO_TEST_CASE(devices_rank_by_their_best_expert) {
  //                          device 0  device 1  device 2
  std::vector<float> const p{0.30f, 0.01f, 0.20f, 0.19f, 0.25f, 0.05f};
  BOOST_TEST((choose(device_limited_top_k<2>(3, 1), p) == reference::Ids{0, 1}));
  BOOST_TEST((choose(device_limited_top_k<3>(3, 2), p) == reference::Ids{0, 4, 5}));
  BOOST_TEST((choose(device_limited_top_k<3>(3, 3), p) == choose(TopK<3>{}, p)));
}

BOOST_AUTO_TEST_CASE(a_token_reaches_three_devices_at_most) {
  auto const x = moebal_test::logits_of(moebal_test::Kind::Bell, 50, 160);
  auto const routing =
      Router{device_limited_top_k<6>(), Softmax{.scale = 16}}.route(EigenExec{}, moebal_test::matrix(x, 50, 160));
  for (Index t = 0; t < 50; ++t) {
    unsigned devices = 0;
    for (int id : select_rows::ids_of(routing, t)) devices |= 1u << (id / 20);
    BOOST_TEST(__builtin_popcount(devices) <= 3);
    BOOST_TEST(select_rows::ids_of(routing, t).size() == 6);
  }
  BOOST_TEST(select_rows::keeps_the_contract(device_limited_top_k<6>(), Softmax{}, 160));
}

BOOST_AUTO_TEST_SUITE_END()
