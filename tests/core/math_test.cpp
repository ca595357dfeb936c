// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The score functions against long double, against their sequences written down once more, for monotonicity, and as
// stored bits.
#include "support/test.hpp"

#include <moebal/core/math.hpp>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace math = moebal::math;

namespace {

float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }
std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }

/// f(x) for one fp32 bit pattern in `step`, all signs and exponents.
template <class F> void each_float(std::uint32_t step, F f) {
  for (std::uint64_t b = 0; b <= 0xffffffffu; b += step) f(float_of(std::uint32_t(b)));
}

/// Distance of `got` from `exact` in units of the last place of the result's type.
template <class Real> double ulp(Real got, long double exact) {
  int exponent;
  std::frexp(exact, &exponent);
  long double const unit = std::ldexp(1.0L, exponent - std::numeric_limits<Real>::digits);
  return double(std::abs(static_cast<long double>(got) - exact) / unit);
}

long double exact_sigmoid(long double x) { return 1 / (1 + std::exp(-x)); }
long double exact_softplus(long double x) { return std::max(x, 0.0L) + std::log1p(std::exp(-std::abs(x))); }

class Fnv {
public:
  void add(float x) {
    for (int i = 0; i < 4; ++i) value_ = (value_ ^ (bits_of(x) >> (8 * i) & 0xffu)) * 0x100000001b3u;
  }
  std::uint64_t value() const { return value_; }

private:
  std::uint64_t value_ = 0xcbf29ce484222325u;
};

/// exp(x), x <= 0, as shared between all machines: see the comments of core/math.hpp. Another form of the same number,
/// in which the power of two is halved and the sum doubled.
float exp_written_out(float x) {
  float const magic = 12582912.0f + 126;
  float const y = x > -87.25f ? x : -87.25f;
  float const z = std::fma(y, 0x1.715476p+0f, magic);
  float const n = z - magic;
  float r = std::fma(n, -0x1.62e43p-1f, y);
  r = std::fma(n, 0x1.05c61p-29f, r);
  float const square = std::fma(r, r, 0.0f);
  float h = std::fma(0x1.6a2448p-10f, r, 0x1.1239d4p-7f);
  h = std::fma(h, r, 0x1.5558f2p-5f);
  h = std::fma(h, r, 0x1.555492p-3f);
  h = std::fma(h, r, 0x1.fffffcp-2f);
  float const u = std::fma(square, h, r);
  float const twice = std::fma(u, 2.0f, 2.0f);
  return std::fma(twice, float_of(bits_of(z) << 23), 0.0f);
}

/// Every float of n consecutive ones from `from` upwards.
template <class F> void rises(F f, float from, std::uint32_t n) {
  std::uint32_t bits = bits_of(from);
  float last = f(from);
  std::uint32_t violations = 0;
  for (std::uint32_t i = 1; i < n; ++i) {
    bits += bits & 0x80000000u ? -1u : 1u;
    if (bits == 0x7fffffffu) bits = 0; // from -0 to +0 (a step below the sign's bit pattern)
    float const value = f(float_of(bits));
    violations += value < last;
    last = value;
  }
  BOOST_TEST(violations == 0u, violations << " of " << n << " steps from " << from << " fall");
}

} // namespace

BOOST_AUTO_TEST_SUITE(core_math)

BOOST_AUTO_TEST_CASE(exp_within_its_bound) {
  double worst = 0;
  each_float(4096 - 1, [&](float x) {
    if (!(x <= 0)) return;
    float const got = math::exp_nonpositive(x);
    if (x < -0x1.5bf5bap+6f) {
      BOOST_REQUIRE_EQUAL(got, 0.0f);
      return;
    }
    worst = std::max(worst, ulp(got, std::exp(static_cast<long double>(x))));
  });
  BOOST_TEST(worst <= 1.02);
  BOOST_TEST(worst > 0.5); // the measure measures
  BOOST_TEST(math::exp_nonpositive(0.0f) == 1);
  BOOST_TEST(math::exp_nonpositive(-0.0f) == 1);
  BOOST_TEST(math::exp_nonpositive(-std::numeric_limits<float>::infinity()) == 0);
}

BOOST_AUTO_TEST_CASE(sigmoid_within_its_bound) {
  double worst = 0;
  each_float(4096 - 1, [&](float x) {
    float const got = math::sigmoid(x);
    if (std::isnan(x)) {
      BOOST_REQUIRE_EQUAL(bits_of(got), 0x7fc00000u);
      return;
    }
    BOOST_REQUIRE((got > 0 && got <= 1));
    if (std::abs(x) < 86) worst = std::max(worst, ulp(got, exact_sigmoid(x)));
  });
  BOOST_TEST(worst <= 2.5);
  BOOST_TEST(worst > 0.5);
  float const inf = std::numeric_limits<float>::infinity();
  BOOST_TEST(math::sigmoid(inf) == 1);
  BOOST_TEST(math::sigmoid(-inf) == math::sigmoid(-86.0f));
  BOOST_TEST(math::sigmoid(0.0f) == 0.5f);
}

BOOST_AUTO_TEST_CASE(softplus_within_its_bound) {
  double worst = 0, worst_root = 0;
  each_float(4096 - 1, [&](float x) {
    float const got = math::softplus(x);
    if (std::isnan(x)) {
      BOOST_REQUIRE_EQUAL(bits_of(got), 0x7fc00000u);
      return;
    }
    if (x >= -0x1.5bf5bap+6f && std::isfinite(x)) {
      long double const exact = exact_softplus(x);
      worst = std::max(worst, ulp(got, exact));
      worst_root = std::max(worst_root, ulp(std::sqrt(got), std::sqrt(exact)));
    } else {
      BOOST_REQUIRE_EQUAL(got, x > 0 ? x : 0.0f);
    }
  });
  BOOST_TEST(worst <= 2.5);
  BOOST_TEST(worst_root <= 2.0);
}

BOOST_AUTO_TEST_CASE(in_double_within_two_ulp) {
  double exp_worst = 0, sigmoid_worst = 0, softplus_worst = 0, log_worst = 0;
  for (int i = 0; i < 400000; ++i) {
    double const x = -700.0 * double(i) / 400000 * (i % 7 == 0 ? 1e-3 : 1) - 1e-9 * i;
    exp_worst = std::max(exp_worst, ulp(math::exp_nonpositive(x), std::exp(static_cast<long double>(x))));
    for (double const z : {x, -x}) {
      sigmoid_worst = std::max(sigmoid_worst, ulp(math::sigmoid(z), exact_sigmoid(z)));
      softplus_worst = std::max(softplus_worst, ulp(math::softplus(z), exact_softplus(z)));
    }
    double const sum = 1 + double(i) * double(i) * 1e-3 + 1e-8 * i;
    if (sum > 1.001)
      log_worst = std::max(log_worst, ulp(math::log_of_sum(sum), std::log(static_cast<long double>(sum))));
  }
  BOOST_TEST(exp_worst <= 1.1);
  BOOST_TEST(sigmoid_worst <= 2.5);
  BOOST_TEST(softplus_worst <= 2.5);
  BOOST_TEST(log_worst <= 2.5);
  BOOST_TEST(math::log_of_sum(1) == 0);
  BOOST_TEST(math::exp_nonpositive(-1e300) == 0);
  BOOST_TEST(math::sigmoid(-1e300) > 0);
}

BOOST_AUTO_TEST_CASE(exp_is_the_sequence_written_out) {
  std::uint32_t checked = 0;
  each_float(4096 - 1, [&](float x) {
    if (!(x <= 0)) return;
    BOOST_REQUIRE_EQUAL(bits_of(math::exp_nonpositive(x)), bits_of(exp_written_out(x)));
    ++checked;
  });
  BOOST_TEST(checked > 500000u);
}

BOOST_AUTO_TEST_CASE(exp_and_sigmoid_rise) {
  auto const exp = [](float x) { return math::exp_nonpositive(x); };
  auto const sigmoid = [](float x) { return math::sigmoid(x); };
  std::uint32_t const n = 1u << 21;
  for (float from : {-87.0f, -50.0f, -8.1f, -1.1f, -0.4f, -0.3f, -0.25f, -0.01f}) rises(exp, from, n);
  for (float from : {-86.1f, -40.0f, -17.0f, -8.1f, -1.1f, -0.3f, -0.25f, 0.24f, 0.3f, 0.9f, 3.9f, 15.9f})
    rises(sigmoid, from, n);
  // A function that falls once in a million is found.
  auto const dented = [&](float x) { return bits_of(x) % 1000003 == 0 ? sigmoid(x) * 0.999f : sigmoid(x); };
  std::uint32_t falls = 0;
  for (std::uint32_t i = 1; i < n; ++i)
    falls += dented(float_of(bits_of(1.0f) + i)) < dented(float_of(bits_of(1.0f) + i - 1));
  BOOST_TEST(falls > 0u);
}

// Made with plain C++ on one machine; a compiler or processor that disagrees breaks the promise of the same bits.
BOOST_AUTO_TEST_CASE(as_stored) {
  Fnv exp, sigmoid, softplus;
  each_float(4096 - 1, [&](float x) {
    if (x <= 0) exp.add(math::exp_nonpositive(x));
    sigmoid.add(math::sigmoid(x));
    softplus.add(math::softplus(x));
  });
  BOOST_TEST(exp.value() == 4944193284047947871u);
  BOOST_TEST(sigmoid.value() == 10793567793825688572u);
  BOOST_TEST(softplus.value() == 13312635787401869317u);
}

BOOST_AUTO_TEST_CASE(nan_by_bits) {
  for (std::uint32_t bits : {0x7fc00000u, 0xffc00000u, 0x7f800001u, 0xff800001u, 0x7fffffffu, 0xffffffffu}) {
    BOOST_TEST(math::is_nan(float_of(bits)));
    BOOST_TEST(!math::is_finite(float_of(bits)));
    BOOST_TEST(bits_of(math::keep_nan(float_of(bits), 1.0f)) == 0x7fc00000u);
  }
  for (std::uint32_t bits : {0u, 0x80000000u, 1u, 0x7f7fffffu, 0xff7fffffu}) {
    BOOST_TEST(!math::is_nan(float_of(bits)));
    BOOST_TEST(math::is_finite(float_of(bits)));
    BOOST_TEST(math::keep_nan(float_of(bits), 1.0f) == 1);
  }
  for (std::uint32_t bits : {0x7f800000u, 0xff800000u}) {
    BOOST_TEST(!math::is_nan(float_of(bits)));
    BOOST_TEST(!math::is_finite(float_of(bits)));
  }
}

BOOST_AUTO_TEST_CASE(to_fixed_rounds_to_the_nearest) {
  BOOST_TEST(math::to_fixed(0.5f, 0x1p32) == std::int64_t(1) << 31);
  BOOST_TEST(math::to_fixed(1.0f, 0x1p32) == std::int64_t(1) << 32);
  BOOST_TEST(math::to_fixed(0x1p-33f, 0x1p32) == 0); // half a unit: to even
  BOOST_TEST(math::to_fixed(0x1.8p-33f, 0x1p32) == 1);
  BOOST_TEST(math::to_fixed(-0x1.8p-33f, 0x1p32) == -1);
  BOOST_TEST(math::to_fixed(std::numeric_limits<float>::quiet_NaN(), 0x1p32) == 0);
  BOOST_TEST(math::to_fixed(1.0 / 3, 0x1p42) == std::int64_t(std::llround(std::ldexp(1.0L / 3, 42))));
}

BOOST_AUTO_TEST_CASE(products_are_rounded_once) {
  BOOST_TEST(math::mul(0x1.000002p0f, 0x1.000002p0f) == 0x1.000004p0f);
  BOOST_TEST(math::fma(0x1.000002p0f, 0x1.000002p0f, -0x1.000004p0f) == 0x1p-46f);
  BOOST_TEST(std::signbit(math::abs(-0.0f)) == false);
  BOOST_TEST(math::abs(-3.5) == 3.5);
}

BOOST_AUTO_TEST_SUITE_END()
