// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the machines of backend/simd_*.hpp have in common.

#include <type_traits>

namespace moebal {

/// A register of a machine: a class that is copied by a function, hence passed by address. Code for another processor that
/// passes it on then neither depends on how that one passes vectors, nor has variables that do not fit its own registers
/// and so stay in memory.
template <class Native> struct Register {
  Native v;
  Register() {}
  Register(Native const& n) : v(n) {}
  Register(Register const& other) : v(other.v) {}
  Register& operator=(Register const& other) {
    v = other.v;
    return *this;
  }
  operator Native const&() const { return v; }
  template <class V> static Register from(V const& vector) { return Register(Native(vector)); }
  template <class Pack> Pack to() const { return Pack(typename Pack::native(v)); }
};

/// rows[0 .. M::width - 1] of lanes to one register whose element r is row r folded by `combine`, upper half to lower half
/// until one is left. Each level halves the lanes of a row by putting two rows side by side, so that the transposition
/// costs nothing. R is a register, or a struct of registers with R::pairs<step>(a, b).
template <class M, int step = 0, class R, class Combine>
[[gnu::always_inline]] inline R across(R* rows, Combine combine) {
  auto const side = []<int s>(std::integral_constant<int, s>, R const& a, R const& b) __attribute__((always_inline)) {
    if constexpr (requires { R::template pairs<s>(a, b); })
      return R::template pairs<s>(a, b);
    else
      return M::template pairs<s>(a, b);
  };
  constexpr int half = M::width >> (step / 2 + 1);
  if constexpr (half == 0) {
    return side(std::integral_constant<int, step>{}, rows[0], rows[0]);
  } else {
    for (int r = 0; r < half; ++r)
      rows[r] = combine(side(std::integral_constant<int, step>{}, rows[r], rows[r + half]),
                        side(std::integral_constant<int, step + 1>{}, rows[r], rows[r + half]));
    return across<M, step + 2>(rows, combine);
  }
}

} // namespace moebal
