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

/// The type a logit is computed in: double stays double, everything else is fp32.
template <class Logit> struct ComputeType {
  using type = float;
};
template <> struct ComputeType<double> {
  using type = double;
};
template <class Logit> using compute_t = typename ComputeType<Logit>::type;

} // namespace moebal
