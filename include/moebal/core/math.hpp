// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Score functions whose bits are the same on every machine. Each is a fixed sequence of correctly rounded operations (fma,
// add, subtract, multiply, divide, square root) over a value type V: float, double, or a pack of floats that a backend
// describes through Ops<V>. No product reaches an add except through fma, because compilers contract a*b + c at will; no
// step makes or needs a denormal, so flush-to-zero modes change nothing. NaN is decided on the bits.
//
// fp32: exp is at most 1.02 ulp off, sigmoid 2.48 ulp, both monotone, checked over every fp32 input. The polynomials are
// minimax for fp32; for fp64 they are Taylor (exp) and atanh (log) series cut below half an ulp.

#include "config.hpp"

#include <cstdint>
#include <type_traits>

namespace moebal::math {

/// How to compute on V. A backend specialises it for its packs; the members are those of Ops<float>, and is_nan, smaller and
/// larger where it has them in one instruction.
template <class V> struct Ops;

inline constexpr std::uint64_t fixed_shift = __builtin_bit_cast(std::uint64_t, 0x1.8p52); // of shifted_fixed

template <> struct Ops<float> {
  using real = float;
  using bits = std::uint32_t;
  MOEBAL_FN static float splat(float x) { return x; }
  MOEBAL_FN static float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
  MOEBAL_FN static float sqrt(float x) { return __builtin_sqrtf(x); }
  MOEBAL_FN static std::uint32_t to_bits(float x) { return __builtin_bit_cast(std::uint32_t, x); }
  MOEBAL_FN static float from_bits(std::uint32_t x) { return __builtin_bit_cast(float, x); }
  template <class T> MOEBAL_FN static T select(bool mask, T yes, T no) { return mask ? yes : no; }
  // Adding 1.5 * 2^52 rounds to the nearest integer and leaves it in the low bits.
  MOEBAL_FN static std::uint64_t shifted_fixed(double scaled) {
    return __builtin_bit_cast(std::uint64_t, scaled + 0x1.8p52);
  }
  MOEBAL_FN static std::int64_t unshifted(std::uint64_t sum, int n) {
    return std::int64_t(sum - std::uint64_t(n) * fixed_shift);
  }
  MOEBAL_FN static double to_double(float x) { return x; }
};

template <> struct Ops<double> {
  using real = double;
  using bits = std::uint64_t;
  MOEBAL_FN static double splat(double x) { return x; }
  MOEBAL_FN static double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
  MOEBAL_FN static double sqrt(double x) { return __builtin_sqrt(x); }
  MOEBAL_FN static std::uint64_t to_bits(double x) { return __builtin_bit_cast(std::uint64_t, x); }
  MOEBAL_FN static double from_bits(std::uint64_t x) { return __builtin_bit_cast(double, x); }
  template <class T> MOEBAL_FN static T select(bool mask, T yes, T no) { return mask ? yes : no; }
  MOEBAL_FN static std::uint64_t shifted_fixed(double scaled) { return Ops<float>::shifted_fixed(scaled); }
  MOEBAL_FN static std::int64_t unshifted(std::uint64_t sum, int n) { return Ops<float>::unshifted(sum, n); }
  MOEBAL_FN static double to_double(double x) { return x; }
};

template <class V> using real_of = typename Ops<V>::real;
template <class V> MOEBAL_FN inline V splat(real_of<V> x) { return Ops<V>::splat(x); }
/// A number of the row, in the type that its elements are computed in: itself, or one copy a lane.
template <class V, class Real> MOEBAL_FN inline V spread(Real x) {
  if constexpr (std::is_same_v<V, Real>)
    return x;
  else
    return Ops<V>::splat(x);
}
template <class V> MOEBAL_FN inline V fma(V a, V b, V c) { return Ops<V>::fma(a, b, c); }
/// x where it is smaller (larger) than limit, else limit; so limit where x is a NaN.
template <class V> MOEBAL_FN inline V smaller(V x, V limit) {
  if constexpr (requires { Ops<V>::smaller(x, limit); }) return Ops<V>::smaller(x, limit);
  return Ops<V>::select(x < limit, x, limit);
}
template <class V> MOEBAL_FN inline V larger(V x, V limit) {
  if constexpr (requires { Ops<V>::larger(x, limit); }) return Ops<V>::larger(x, limit);
  return Ops<V>::select(x > limit, x, limit);
}
/// a * b rounded once, even where the result is added to something next.
template <class V> MOEBAL_FN inline V mul(V a, V b) { return Ops<V>::fma(a, b, splat<V>(0)); }
template <class V> MOEBAL_FN inline V abs(V x) {
  using Bits = typename Ops<V>::bits;
  return Ops<V>::from_bits(Ops<V>::to_bits(x) & (~Bits{} >> 1));
}

// The layout of IEEE numbers, and the constants of the sequences below.
template <class Real> struct Ieee;
template <> struct Ieee<float> {
  static constexpr int mantissa = 23;
  static constexpr std::uint32_t infinity = 0x7f800000u, nan = 0x7fc00000u, sign = 0x80000000u;
  static constexpr float exponent_magic = 12582912.0f + 127; // 1.5 * 2^23 + bias: the low bits of x + magic are a power's
  static constexpr float log2e = 0x1.715476p+0f, ln2_high = 0x1.62e43p-1f, ln2_low = -0x1.05c61p-29f;
  static constexpr float exp_zero = -0x1.5bf5bap+6f; // below it exp is 0; the smallest result is a normal number
  static constexpr float sigmoid_limit = 86;
};
template <> struct Ieee<double> {
  static constexpr int mantissa = 52;
  static constexpr std::uint64_t infinity = 0x7ff0000000000000u, nan = 0x7ff8000000000000u, sign = 0x8000000000000000u;
  static constexpr double exponent_magic = 0x1.8p52 + 1023;
  static constexpr double log2e = 0x1.71547652b82fep+0, ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr double exp_zero = -708;
  static constexpr double sigmoid_limit = 707;
};

/// Whether x is a NaN, by its bits (a comparison may be compiled away or answer differently).
template <class V> MOEBAL_FN inline auto is_nan(V x) {
  if constexpr (requires { Ops<V>::is_nan(x); }) return Ops<V>::is_nan(x);
  using Bits = typename Ops<V>::bits;
  return (Ops<V>::to_bits(x) & (~Bits{} >> 1)) > Bits{} + Ieee<real_of<V>>::infinity;
}
template <class V> MOEBAL_FN inline auto is_finite(V x) {
  using Bits = typename Ops<V>::bits;
  return (Ops<V>::to_bits(x) & (~Bits{} >> 1)) < Bits{} + Ieee<real_of<V>>::infinity;
}
/// result, or the one canonical NaN where `input` is a NaN.
template <class V> MOEBAL_FN inline V keep_nan(V input, V result) {
  return Ops<V>::select(is_nan(input), Ops<V>::from_bits(typename Ops<V>::bits{} + Ieee<real_of<V>>::nan), result);
}

namespace detail {

/// h such that e^r = 1 + r + r^2 h, for |r| <= ln(2) / 2.
template <class V> MOEBAL_FN inline V exp_tail(V r) {
  auto const c = [](real_of<V> x) { return splat<V>(x); };
  if constexpr (sizeof(real_of<V>) == 4) {
    V h = fma(c(0x1.6a2448p-10f), r, c(0x1.1239d4p-7f));
    h = fma(h, r, c(0x1.5558f2p-5f));
    h = fma(h, r, c(0x1.555492p-3f));
    return fma(h, r, c(0x1.fffffcp-2f));
  } else {
    V h = c(1.0 / 6227020800); // 1 / 13!
    constexpr double factorials[] = {479001600, 39916800, 3628800, 362880, 40320, 5040, 720, 120, 24, 6, 2};
    for (double const f : factorials) h = fma(h, r, c(1.0 / f));
    return h;
  }
}

/// log(1 + u) = u * P(u) for u in [0, 1]: the factor P.
template <class V> MOEBAL_FN inline V log1p_factor(V u) {
  auto const c = [](real_of<V> x) { return splat<V>(x); };
  if constexpr (sizeof(real_of<V>) == 4) {
    V p = c(-0.0033184723f);
    constexpr float coefficients[] = {0.020204581f, -0.057664435f, 0.10680554f,  -0.15355395f, 0.19695400f,
                                      -0.24958587f, 0.33330512f,   -0.49999931f, 1.0f};
    for (float const a : coefficients) p = fma(p, u, c(a));
    return p;
  } else { // log(1 + u) = 2 atanh(s) = u - s (u - 2 s^2 (1/3 + s^2/5 + ...)), s = u / (2 + u) <= 1/3: little rides on s
    V const t = c(1) / (u + c(2));
    V const s = u * t;
    V const w = s * s;
    V sum = c(2.0 / 37);
    for (int odd = 35; odd >= 3; odd -= 2) sum = fma(sum, w, c(2.0 / odd));
    return fma(-s, fma(-(s * t), sum, c(1)), c(1));
  }
}

} // namespace detail

/// e^x for x <= 0 (0 below about -87 in fp32 and -708 in fp64). NaN gives NaN of any payload: see keep_nan.
template <class V> MOEBAL_FN inline V exp_nonpositive(V x) {
  using O = Ops<V>;
  using K = Ieee<real_of<V>>;
  V const magic = splat<V>(K::exponent_magic);
  V const z = fma(x, splat<V>(K::log2e), magic);
  V const n = z - magic;
  V r = fma(n, splat<V>(-K::ln2_high), x);
  r = fma(n, splat<V>(-K::ln2_low), r);
  V const u = fma(r * r, detail::exp_tail(r), r); // e^r - 1
  V const power = O::from_bits(O::to_bits(z) << K::mantissa); // 2^n
  return O::select(x < splat<V>(K::exp_zero), splat<V>(0), fma(u, power, power));
}

/// 1 / (1 + e^-x), never 0 and never above 1; constant beyond |x| = 86 (fp32).
template <class V> MOEBAL_FN inline V sigmoid(V x) {
  using O = Ops<V>;
  using K = Ieee<real_of<V>>;
  V const limit = splat<V>(K::sigmoid_limit), one = splat<V>(1);
  V const y = larger(smaller(x, limit), -limit);
  V const magic = splat<V>(K::exponent_magic);
  V const z = fma(y, splat<V>(-K::log2e), magic);
  V const n = z - magic;
  V m = fma(n, splat<V>(K::ln2_high), y);
  m = fma(n, splat<V>(K::ln2_low), m); // m = -r, where e^-x = 2^n e^r
  V const v = fma(-(m * m), detail::exp_tail(-m), m);
  V const power = O::from_bits(O::to_bits(z) << K::mantissa);
  return keep_nan(x, one / fma(one - v, power, one));
}

/// How far rough_sigmoid may be from sigmoid.
inline constexpr float rough_sigmoid_error = 4e-6f;
/// sigmoid(x) to within rough_sigmoid_error in a third of the time, fp32. Different machines give different bits, so it may only decide
/// what is looked at exactly. NaN stays a NaN.
template <class V> MOEBAL_FN inline V rough_sigmoid(V x) {
  using O = Ops<V>;
  using K = Ieee<float>;
  auto const c = [](float a) { return splat<V>(a); };
  V const y = larger(c(-K::sigmoid_limit), smaller(c(K::sigmoid_limit), x)); // in this order NaN passes
  V const z = fma(y, c(-K::log2e), c(K::exponent_magic));
  V const f = fma(y, c(-K::log2e), c(K::exponent_magic) - z); // e^-x = 2^n 2^f, |f| <= 1/2
  V p = fma(c(0.009666368f), f, c(0.055921976f));
  p = fma(p, f, c(0.24022349f));
  p = fma(p, f, c(0.69312105f));
  p = fma(p, f, c(1));
  V const power = O::from_bits(O::to_bits(z) << K::mantissa);
  V const d = fma(p, power, c(1));
  if constexpr (requires { O::rough_reciprocal(d); })
    return O::rough_reciprocal(d);
  else
    return c(1) / d;
}

/// log(1 + e^x) = max(x, 0) + log1p(e^-|x|).
template <class V> MOEBAL_FN inline V softplus(V x) {
  V const zero = splat<V>(0);
  V const u = exp_nonpositive(-abs(x));
  V const high = larger(x, zero);
  return keep_nan(x, fma(u, detail::log1p_factor(u), high));
}

/// Natural logarithm of a finite x >= 1, fp64.
MOEBAL_FN inline double log_of_sum(double x) {
  using K = Ieee<double>;
  std::uint64_t const bits = __builtin_bit_cast(std::uint64_t, x);
  double n = double(std::int64_t(bits >> 52) - 1023);
  double m = __builtin_bit_cast(double, (bits & 0x000fffffffffffffu) | 0x3ff0000000000000u); // in [1, 2)
  if (m > 0x1.6a09e667f3bcdp+0) { // the square root of 2
    m = m * 0.5;
    n = n + 1;
  }
  double const s = (m - 1) / (m + 1);
  double const w = s * s;
  double sum = 1.0 / 25;
  for (int odd = 23; odd >= 1; odd -= 2) sum = fma(sum, w, 1.0 / odd);
  return fma(n, K::ln2_high, fma(s + s, sum, n * K::ln2_low));
}

/// Nearest integer to x * one, plus fixed_shift, for |x * one| < 2^51 and no NaN: two operations less an element where
/// many are added up. unshifted(sum, n) makes the sum of n of them that of the integers.
template <class V> MOEBAL_FN inline auto shifted_fixed(V x, double one) {
  return Ops<V>::shifted_fixed(Ops<V>::to_double(x) * one); // exact: `one` is a power of two
}
template <class V, class Sum> MOEBAL_FN inline auto unshifted(Sum sum, int n) { return Ops<V>::unshifted(sum, n); }
/// Nearest integer to x * one, for |x * one| < 2^51; 0 where x is a NaN.
template <class V> MOEBAL_FN inline auto to_fixed(V x, double one) {
  V const clean = Ops<V>::select(is_nan(x), splat<V>(0), x);
  return unshifted<V>(shifted_fixed(clean, one), 1);
}

} // namespace moebal::math
