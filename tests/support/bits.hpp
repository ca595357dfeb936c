// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Numbers as bits, for comparing exactly.

#include <moebal/core/ids.hpp>
#include <moebal/core/math.hpp>

#include <cstdint>
#include <type_traits>
#include <vector>

namespace moebal_test {

/// The bits of n elements. Every NaN is the same NaN.
template <class T> std::vector<std::uint64_t> bits_of(T const* p, moebal::Index n) {
  std::vector<std::uint64_t> bits;
  bits.reserve(std::size_t(n));
  for (moebal::Index i = 0; i < n; ++i) {
    std::uint64_t b = 0;
    __builtin_memcpy(&b, p + i, sizeof(T));
    if constexpr (std::is_floating_point_v<T>)
      if (moebal::math::is_nan(p[i])) b = ~std::uint64_t(0);
    bits.push_back(b);
  }
  return bits;
}

} // namespace moebal_test
