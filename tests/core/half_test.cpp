// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Widening, for each of the 65536 values of both types, against their definitions; and narrowing.
#include "support/test.hpp"

#include <moebal/core/half.hpp>

#include <bit>
#include <cmath>
#include <type_traits>

using moebal::BFloat16;
using moebal::Half;
using moebal::to_bfloat16;
using moebal::to_half;
using moebal::widen;

namespace {

std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }

/// binary16 from its definition: sign, 5 bits of exponent, 10 of fraction.
double half_value(std::uint16_t bits) {
  int const exponent = bits >> 10 & 31, fraction = bits & 1023;
  double const sign = bits >> 15 ? -1 : 1;
  if (exponent == 31) return fraction == 0 ? sign * HUGE_VAL : std::nan("");
  return sign * (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25));
}

} // namespace

BOOST_AUTO_TEST_SUITE(core_half)

BOOST_AUTO_TEST_CASE(every_binary16) {
  for (std::uint32_t b = 0; b < 65536; ++b) {
    Half const h{std::uint16_t(b)};
    double const exact = half_value(h.bits);
    float const wide = widen(h);
    if (std::isnan(exact)) {
      BOOST_TEST_REQUIRE(std::isnan(wide));
      BOOST_TEST_REQUIRE((bits_of(wide) & 0x007fffffu) == (b & 0x3ffu) << 13); // the payload stays
    } else {
      BOOST_TEST_REQUIRE(double(wide) == exact);
    }
    BOOST_TEST_REQUIRE(std::signbit(wide) == bool(b >> 15));
  }
}

BOOST_AUTO_TEST_CASE(every_bfloat16) {
  for (std::uint32_t b = 0; b < 65536; ++b) BOOST_TEST_REQUIRE(bits_of(widen(BFloat16{std::uint16_t(b)})) == b << 16);
}

BOOST_AUTO_TEST_CASE(wider_types_stay) {
  BOOST_TEST(widen(1.25f) == 1.25f);
  BOOST_TEST(widen(0.1) == 0.1);
  BOOST_TEST((std::is_same_v<moebal::compute_t<double>, double>));
  BOOST_TEST((std::is_same_v<moebal::compute_t<float>, float>));
  BOOST_TEST((std::is_same_v<moebal::compute_t<Half>, float>));
  BOOST_TEST((std::is_same_v<moebal::compute_t<BFloat16>, float>));
}

BOOST_AUTO_TEST_CASE(narrowed_to_the_nearest) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) { // what is representable stays
    float const half = widen(Half{std::uint16_t(bits)}), brain = widen(BFloat16{std::uint16_t(bits)});
    if (std::isnan(half))
      BOOST_REQUIRE(std::isnan(widen(to_half(half))));
    else
      BOOST_REQUIRE(to_half(half).bits == bits);
    if (std::isnan(brain))
      BOOST_REQUIRE(std::isnan(widen(to_bfloat16(brain))));
    else
      BOOST_REQUIRE(to_bfloat16(brain).bits == bits);
  }
  for (std::uint32_t bits = 0; bits < 0x7bff;
       ++bits) { // between neighbours the nearer one; the middle goes to the even one
    float const low = widen(Half{std::uint16_t(bits)}), high = widen(Half{std::uint16_t(bits + 1)}),
                middle = low + (high - low) / 2;
    BOOST_REQUIRE(to_half(middle).bits == (bits & 1 ? bits + 1 : bits));
    BOOST_REQUIRE(to_half(std::nextafter(middle, 0.0f)).bits == bits);
    BOOST_REQUIRE(to_half(std::nextafter(middle, 1e9f)).bits == bits + 1);
  }
  BOOST_TEST(to_half(65519.996f).bits == 0x7bff);
  BOOST_TEST(to_half(65520.0f).bits == 0x7c00);
  BOOST_TEST(to_bfloat16(1.00390625f).bits == 0x3f80); // 1 + 2^-8, the middle
  BOOST_TEST(to_bfloat16(1.01171875f).bits == 0x3f82); // 1 + 3 2^-8
}

BOOST_AUTO_TEST_SUITE_END()
