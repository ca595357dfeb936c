// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Two values that go through the same arithmetic side by side: a pack of eight-byte elements, which needs two
// registers; and packs beside one another, since a score function is one long chain of dependent operations and a
// processor finds the next chain only so far ahead.

#include "../core/math.hpp"

namespace moebal {

/// Two values of one type. Both<Both<V>> is four.
template <class V> struct Both {
  V low, high;
  friend Both operator+(Both a, Both b) { return {a.low + b.low, a.high + b.high}; }
  friend Both operator-(Both a, Both b) { return {a.low - b.low, a.high - b.high}; }
  friend Both operator*(Both a, Both b) { return {a.low * b.low, a.high * b.high}; }
  friend Both operator/(Both a, Both b) { return {a.low / b.low, a.high / b.high}; }
  friend Both operator-(Both a) { return {-a.low, -a.high}; }
  friend Both operator&(Both a, Both b) { return {a.low & b.low, a.high & b.high}; }
  friend Both operator|(Both a, Both b) { return {a.low | b.low, a.high | b.high}; }
  friend Both operator~(Both a) { return {~a.low, ~a.high}; }
  friend Both operator!(Both a) { return {!a.low, !a.high}; }
  template <class T> friend auto operator*(Both a, T b) -> Both<decltype(a.low * b)> { return {a.low * b, a.high * b}; }
  template <class T> friend auto operator+(Both a, T b) -> Both<decltype(a.low + b)> { return {a.low + b, a.high + b}; }
  friend Both operator<<(Both a, int n) { return {a.low << n, a.high << n}; }
  friend Both operator>>(Both a, int n) { return {a.low >> n, a.high >> n}; }
  friend auto operator<(Both a, Both b) { return Both<decltype(a.low < b.low)>{a.low < b.low, a.high < b.high}; }
  friend auto operator>(Both a, Both b) { return Both<decltype(a.low > b.low)>{a.low > b.low, a.high > b.high}; }
  friend auto operator!=(Both a, Both b) { return Both<decltype(a.low != b.low)>{a.low != b.low, a.high != b.high}; }
};
template <class V> Both(V, V) -> Both<V>;

namespace math {
template <class V> struct Ops<Both<V>> {
  using O = Ops<V>;
  using real = typename O::real;
  using bits = Both<typename O::bits>;
  template <class Part> static Both<V> splat(Part x) {
    if constexpr (std::is_same_v<Part, V>)
      return {x, x};
    else
      return {O::splat(x), O::splat(x)};
  }
  static bits to_bits(Both<V> x) { return {O::to_bits(x.low), O::to_bits(x.high)}; }
  static Both<V> from_bits(bits x) { return {O::from_bits(x.low), O::from_bits(x.high)}; }
  template <class M, class T> static Both<T> select(Both<M> mask, Both<T> yes, Both<T> no) {
    return {O::select(mask.low, yes.low, no.low), O::select(mask.high, yes.high, no.high)};
  }
  static auto to_double(Both<V> x) { return Both{O::to_double(x.low), O::to_double(x.high)}; }
  template <class D> static auto shifted_fixed(Both<D> x) {
    return Both{O::shifted_fixed(x.low), O::shifted_fixed(x.high)};
  }
  static auto nearest(Both<V> x)
    requires requires { O::nearest(x.low); }
  {
    return Both{O::nearest(x.low), O::nearest(x.high)};
  }
  template <class S> static auto unshifted(Both<S> sum, int n) {
    return Both{O::unshifted(sum.low, n), O::unshifted(sum.high, n)};
  }
  static Both<V> fma(Both<V> a, Both<V> b, Both<V> c) {
    return {O::fma(a.low, b.low, c.low), O::fma(a.high, b.high, c.high)};
  }
  static Both<V> sqrt(Both<V> x) { return {O::sqrt(x.low), O::sqrt(x.high)}; }
  static auto is_nan(Both<V> x) { return Both{math::is_nan(x.low), math::is_nan(x.high)}; }
  static Both<V> smaller(Both<V> x, Both<V> limit) {
    return {O::smaller(x.low, limit.low), O::smaller(x.high, limit.high)};
  }
  static Both<V> larger(Both<V> x, Both<V> limit) {
    return {O::larger(x.low, limit.low), O::larger(x.high, limit.high)};
  }
  static Both<V> rough_reciprocal(Both<V> x)
    requires requires { O::rough_reciprocal(x.low); }
  {
    return {O::rough_reciprocal(x.low), O::rough_reciprocal(x.high)};
  }
};
} // namespace math

} // namespace moebal
