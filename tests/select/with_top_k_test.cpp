// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/select/with_top_k.hpp>

using namespace moebal;

BOOST_AUTO_TEST_SUITE(select_with_top_k)

BOOST_AUTO_TEST_CASE(a_run_time_k_becomes_a_constant) {
  for (Index k : {1, 2, 8}) {
    int calls = 0;
    int const answer = with_top_k<1, 2, 8>(k, [&](auto K) {
      static_assert(K() >= 1);
      ++calls;
      return 10 * int(K);
    });
    BOOST_TEST(answer == 10 * int(k));
    BOOST_TEST(calls == 1);
  }
  int seen = 0;
  with_top_k<3, 5>(5, [&](auto K) { seen = K; }); // nothing to return
  BOOST_TEST(seen == 5);
}

BOOST_AUTO_TEST_CASE(another_k_is_refused_with_the_list) {
  BOOST_CHECK_EXCEPTION((with_top_k<1, 2, 8>(4, [](auto) { return 0; })), ShapeError, [](ShapeError const& e) {
    return std::string(e.what()) == "moebal: K for with_top_k: needed one of 1, 2, 8, had 4";
  });
}

BOOST_AUTO_TEST_SUITE_END()
