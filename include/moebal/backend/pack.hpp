// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// SIMD lanes for the CPU: a pack of consecutive fp32 elements over the compilers' vector types, with an explicit fused
// multiply-add (the compilers' own contraction is not to be relied on). Decision: docs/decisions/0003-packs.md.

#include "../core/lanes.hpp"
#include "both.hpp"
#include "machine.hpp"

#include <type_traits>

namespace moebal {

/// Indices [first, first + W).
template <int W> struct PackAt {
  Index first;
};
/// Indices [first, first + count), count < W: the lanes past them read zeros and write nothing.
template <int W> struct PackTail {
  Index first;
  int count;
};

template <int W> struct Mask {
  typedef std::int32_t native __attribute__((vector_size(4 * W)));
  native v;
  Mask() : v{} {}
  Mask(native const& n) : v(n) {}
  Mask(Mask const& other) : v(other.v) {} // as Pack's
  Mask& operator=(Mask const& other) {
    v = other.v;
    return *this;
  }
  friend Mask operator!(Mask a) { return {~a.v}; }
  friend Mask operator|(Mask a, Mask b) { return {a.v | b.v}; }
  friend Mask operator&(Mask a, Mask b) { return {a.v & b.v}; }
};

template <class T, int W> struct Pack {
  typedef T native __attribute__((vector_size(sizeof(T) * W)));
  native v;
  Pack() : v{} {}
  Pack(native const& n) : v(n) {}
  // As a register: g++ copies a struct in the halves that it prefers, which a whole load must then wait for.
  Pack(Pack const& other) : v(other.v) {}
  Pack& operator=(Pack const& other) {
    v = other.v;
    return *this;
  }

  friend Pack operator+(Pack a, Pack b) { return a.v + b.v; }
  friend Pack operator-(Pack a, Pack b) { return a.v - b.v; }
  friend Pack operator*(Pack a, Pack b) { return a.v * b.v; }
  friend Pack operator/(Pack a, Pack b) { return a.v / b.v; }
  friend Pack operator-(Pack a) { return -a.v; }
  friend Pack operator+(Pack a, T b) { return a.v + b; }
  friend Pack operator*(Pack a, T b) { return a.v * b; }
  friend Pack operator&(Pack a, Pack b) { return a.v & b.v; }
  friend Pack operator|(Pack a, Pack b) { return a.v | b.v; }
  friend Pack operator~(Pack a) { return ~a.v; }
  friend Pack operator<<(Pack a, int n) { return a.v << n; }
  friend Pack operator>>(Pack a, int n) { return a.v >> n; }
  friend auto operator<(Pack a, Pack b) { return Mask<W>{a.v < b.v}; }
  friend auto operator>(Pack a, Pack b) { return Mask<W>{a.v > b.v}; }
  friend auto operator!=(Pack a, Pack b) { return Mask<W>{a.v != b.v}; }
};

/// What a machine whose registers hold W fp32 elements does better than the compiler's own vector operators; empty where
/// there is none. Specialised in backend/registers_*.hpp.
template <int W> struct Registers {};

/// W eight-byte elements, in two registers.
template <class T, int W> using Twin = Both<Pack<T, W / 2>>;

namespace detail {
template <class To, class From, int W> inline Twin<To, W> widen_twin(Pack<From, W> x) {
  if constexpr (requires { Registers<W>::template widen<To>(x); }) return Registers<W>::template widen<To>(x);
  typedef From Part __attribute__((vector_size(sizeof(From) * W / 2)));
  Part parts[2];
  __builtin_memcpy(parts, &x.v, sizeof(parts));
  return {__builtin_convertvector(parts[0], typename Pack<To, W / 2>::native),
          __builtin_convertvector(parts[1], typename Pack<To, W / 2>::native)};
}
/// Combines the upper half of the elements with the lower half until one is left.
template <class T, int W, class F> [[gnu::always_inline]] inline T halve(Pack<T, W> x, F combine) {
  if constexpr (W == 1) {
    return x.v[0];
  } else {
    using Part = Pack<T, W / 2>;
    typename Part::native parts[2];
    __builtin_memcpy(parts, &x.v, sizeof(parts));
    return halve(combine(Part(parts[0]), Part(parts[1])), combine);
  }
}
template <class T, int W> inline Pack<T, W> iota(T first) {
  Pack<T, W> r;
  for (int i = 0; i < W; ++i) r.v[i] = T(first + T(i));
  return r;
}
/// The first `count` elements of x, and `rest` after them.
template <class T, int W> inline Pack<T, W> head(Pack<T, W> x, Pack<T, W> rest, int count) {
  using Int = std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>;
  return Pack<T, W>(iota<Int, W>(0).v < Int(count) ? x.v : rest.v);
}
} // namespace detail

namespace math {
template <int W> struct Ops<Pack<float, W>> {
  using V = Pack<float, W>;
  using real = float;
  using bits = Pack<std::uint32_t, W>;
  static V splat(float x) {
    if constexpr (requires { Native::splat(x); }) return Native::splat(x); // else, chosen at run time, lane by lane
    return V(x - typename V::native{}); // x + 0 would be an addition: -0 is not 0 then
  }
  static bits to_bits(V x) { return __builtin_bit_cast(typename bits::native, x.v); }
  static V from_bits(bits x) { return __builtin_bit_cast(typename V::native, x.v); }
  template <class T> static T select(Mask<W> mask, T yes, T no) { return T(mask.v ? yes.v : no.v); }
  static Twin<double, W> to_double(V x) { return moebal::detail::widen_twin<double>(x); }
  static Twin<std::uint64_t, W> shifted_fixed(Twin<double, W> x) { // as Ops<float>::shifted_fixed
    auto const shift = [](auto part) {
      using Word = Pack<std::uint64_t, W / 2>;
      return Word(__builtin_bit_cast(typename Word::native, part.v + 0x1.8p52));
    };
    return {shift(x.low), shift(x.high)};
  }
  static Twin<std::int64_t, W> nearest(V x) // to_fixed of x / 2^32, for |x| < 2^63
    requires requires { Registers<W>::nearest(x); }
  {
    return Registers<W>::nearest(x);
  }
  static Twin<std::int64_t, W> unshifted(Twin<std::uint64_t, W> sum, int n) {
    auto const back = [shift = std::uint64_t(n) * fixed_shift](auto part) {
      using Int = Pack<std::int64_t, W / 2>;
      return Int(__builtin_bit_cast(typename Int::native, part.v - shift));
    };
    return {back(sum.low), back(sum.high)};
  }
  static V fma(V a, V b, V c) {
    if constexpr (requires { Native::fma(a, b, c); }) return Native::fma(a, b, c);
    V r;
    for (int i = 0; i < W; ++i) r.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
    return r;
  }
  static Mask<W> is_nan(V x) { return {x.v != x.v}; }
  static V smaller(V x, V limit) {
    if constexpr (requires { Native::min(x, limit); }) return Native::min(x, limit);
    return select(x < limit, x, limit);
  }
  static V larger(V x, V limit) {
    if constexpr (requires { Native::max(x, limit); }) return Native::max(x, limit);
    return select(x > limit, x, limit);
  }
  /// 1 / d to within 2^-22, where the processor has an estimate to start from.
  static V rough_reciprocal(V d) {
    if constexpr (requires { Native::reciprocal(d); }) {
      V const y = Native::reciprocal(d);
      return fma(y, fma(-d, y, splat(1)), y);
    }
    return splat(1) / d;
  }
  static V sqrt(V x) {
    if constexpr (requires { Native::sqrt(x); }) return Native::sqrt(x);
    V r;
    for (int i = 0; i < W; ++i) r.v[i] = __builtin_sqrtf(x.v[i]);
    return r;
  }

private:
  using Native = Registers<W>;
};
} // namespace math

template <int W> inline Twin<std::uint64_t, W> rank_word(Pack<float, W> key, PackAt<W> e) {
  auto const high = detail::widen_twin<std::uint64_t>(order_key(key));
  auto const low = [](Index first) {
    return Pack<std::uint64_t, W / 2>(std::uint64_t(0x7fffffff - first) - detail::iota<std::uint64_t, W / 2>(0).v);
  };
  return {high.low << 32 | low(e.first), high.high << 32 | low(e.first + W / 2)};
}
template <int W> inline Twin<std::uint64_t, W> rank_word(Pack<float, W> key, PackTail<W> e) {
  return rank_word(key, PackAt<W>{e.first});
}
template <int N> inline Both<Pack<std::uint64_t, N>> below(Both<Pack<std::uint64_t, N>> word, std::uint64_t bound) {
  auto const cut = [bound](auto part) { return decltype(part)(part.v < bound ? part.v : part.v ^ part.v); };
  return {cut(word.low), cut(word.high)};
}

} // namespace moebal

#include "registers_avx2.hpp"
#include "registers_avx512.hpp"
#include "registers_neon.hpp"
