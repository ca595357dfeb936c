// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "support/inputs.hpp"

#include <moebal/core/rank.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

using namespace moebal;
using namespace moebal_test;

BOOST_AUTO_TEST_SUITE(core_rank)

template <class Real> void order_of_keys() {
  constexpr Real inf = std::numeric_limits<Real>::infinity(), nan = std::numeric_limits<Real>::quiet_NaN();
  constexpr Real least = std::numeric_limits<Real>::denorm_min(), most = std::numeric_limits<Real>::max();
  Real const rising[] = {nan,
                         -inf,
                         -most,
                         -1,
                         -std::numeric_limits<Real>::min(),
                         -least,
                         0,
                         least,
                         2 * least,
                         std::numeric_limits<Real>::min(),
                         1,
                         std::nextafter(Real(1), Real(2)),
                         most,
                         inf};
  for (std::size_t i = 0; i + 1 < std::size(rising); ++i)
    BOOST_TEST((order_key(rising[i]) < order_key(rising[i + 1])), "step " << i);
  BOOST_TEST((order_key(nan) == 0));
  BOOST_TEST((order_key(-nan) == 0));
  BOOST_TEST((order_key(std::numeric_limits<Real>::signaling_NaN()) == 0));
  BOOST_TEST((order_key(Real(-0.0)) == order_key(Real(0))));
}
BOOST_AUTO_TEST_CASE(keys_order_like_numbers_in_float) { order_of_keys<float>(); }
BOOST_AUTO_TEST_CASE(keys_order_like_numbers_in_double) { order_of_keys<double>(); }

BOOST_AUTO_TEST_CASE(any_two_keys) {
  auto const x = logits_of(Kind::AnyBits, 1, 3000);
  for (std::size_t i = 1; i < x.size(); ++i) {
    float const a = x[i - 1], b = x[i];
    if (std::isnan(a) || std::isnan(b)) continue;
    BOOST_TEST_REQUIRE((order_key(a) < order_key(b)) == (a < b));
    BOOST_TEST_REQUIRE((order_key(double(a)) < order_key(double(b))) == (a < b));
  }
}

template <class Real> void order_of_words() {
  Real const nan = std::numeric_limits<Real>::quiet_NaN(), inf = std::numeric_limits<Real>::infinity();
  Index const last = 0x7ffffffd; // E is at most 2^31 - 2
  BOOST_TEST((rank_word(Real(1), 5) > rank_word(Real(0.5), 2)));
  BOOST_TEST((rank_word(Real(1), 2) > rank_word(Real(1), 5))); // the lower id first
  BOOST_TEST((rank_word(Real(0), 2) > rank_word(Real(-0.0), 5)));
  BOOST_TEST((rank_word(Real(-0.0), 2) > rank_word(Real(0), 5)));
  BOOST_TEST((rank_word(-inf, last) > rank_word(nan, 0)));
  BOOST_TEST((rank_word(nan, 1) > rank_word(nan, 2)));
  BOOST_TEST((rank_word(nan, last) > 0)); // 0 is below every candidate
  for (Index id : {Index(0), Index(1), Index(77), last})
    for (Real key : {Real(-3), Real(0), nan, inf}) BOOST_TEST(id_of(rank_word(key, id)) == id);
  auto const a = rank_word(Real(1), 0), b = rank_word(Real(2), 0);
  BOOST_TEST((below(a, b) == a));
  BOOST_TEST((below(b, a) == 0));
  BOOST_TEST((below(a, a) == 0));
}
BOOST_AUTO_TEST_CASE(words_carry_the_tie_contract_in_float) { order_of_words<float>(); }
BOOST_AUTO_TEST_CASE(words_carry_the_tie_contract_in_double) { order_of_words<double>(); }

BOOST_AUTO_TEST_SUITE_END()
