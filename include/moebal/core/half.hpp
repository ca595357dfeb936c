// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// 16-bit logits as they lie in memory. They are widened to fp32 on load and never computed with.

#include "config.hpp"

#include <cstdint>

namespace moebal {

/// bfloat16: the upper half of an fp32.
struct BFloat16 {
  std::uint16_t bits = 0;
};
/// IEEE binary16.
struct Half {
  std::uint16_t bits = 0;
};

MOEBAL_FN inline float widen(BFloat16 x) { return __builtin_bit_cast(float, std::uint32_t(x.bits) << 16); }

/// Exact: every binary16 value, denormals, infinities and NaN payloads included, is an fp32 value.
MOEBAL_FN inline float widen(Half x) {
  std::uint32_t const sign = std::uint32_t(x.bits & 0x8000u) << 16;
  std::uint32_t const magnitude = x.bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return __builtin_bit_cast(float, sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  // The exponent bias goes from 15 to 127. A denormal borrows an exponent and gives it back, so that no fp32 denormal,
  // which a flush-to-zero mode would lose, is ever made.
  if (magnitude >= 0x400u) return __builtin_bit_cast(float, sign | ((magnitude << 13) + (112u << 23)));
  float const value = __builtin_bit_cast(float, (magnitude << 13) + (113u << 23)) - 0x1p-14f;
  return __builtin_bit_cast(float, sign | __builtin_bit_cast(std::uint32_t, value));
}
MOEBAL_FN inline float widen(float x) { return x; }
MOEBAL_FN inline double widen(double x) { return x; }

/// To the nearest, ties to even; NaN stays NaN. For files and tests.
MOEBAL_FN inline BFloat16 to_bfloat16(float x) {
  auto const bits = __builtin_bit_cast(std::uint32_t, x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {std::uint16_t(bits >> 16 | 0x40u)};
  return {std::uint16_t((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
}
MOEBAL_FN inline Half to_half(float x) {
  auto const bits = __builtin_bit_cast(std::uint32_t, x);
  std::uint32_t const sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {std::uint16_t(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {std::uint16_t(sign | 0x7c00u)}; // from 65520 on
  std::uint32_t mantissa = magnitude, shift = 13;
  if (magnitude < 0x38800000u) { // below 2^-14: a denormal, in units of 2^-24
    std::uint32_t const exponent = magnitude >> 23;
    if (exponent < 101) return {std::uint16_t(sign)};
    mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    shift = 126 - exponent;
  } else {
    mantissa -= 112u << 23;
  }
  std::uint32_t const half = mantissa >> shift, rest = mantissa & ((1u << shift) - 1), middle = 1u << (shift - 1);
  return {std::uint16_t(sign | (half + (rest > middle || (rest == middle && (half & 1)))))};
}

/// The type a logit is computed in: double stays double, everything else is fp32.
template <class Logit> struct ComputeType {
  using type = float;
};
template <> struct ComputeType<double> {
  using type = double;
};
template <class Logit> using compute_t = typename ComputeType<Logit>::type;

} // namespace moebal
