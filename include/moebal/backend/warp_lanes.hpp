// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The lanes of a warp as a lane group. A warp is a type of static members, each to be called by all lanes together:
//   size                    32
//   lane()                  0 to size - 1
//   sync()                  what lanes wrote before is seen by all of them afterwards
//   shuffle_xor(v, mask)    v of the lane whose number is this one's ^ mask; v of 32, 64 or 128 bits
//   ballot(b)               a bit for each lane
//   max(v)                  the largest v, of 32 or 64 unsigned bits
//   match(v)                the lanes with the same 32 bits, a bit each
//   add(p, v)               *p += v, by one lane, beside others that add there
// backend/cuda_warp.hpp is one; tests/support/host_warp.hpp runs the same row code without a GPU.

#include "../core/lanes.hpp"

namespace moebal {

inline constexpr int warp_size = 32;
static_assert(warp_size == partial_sums, "moebal: partial sum j of a row is lane j's");

/// Element 32 * word + lane of a row: the lane's own, so that it may lie in a register.
struct WarpAt {
  int word, lane;
  MOEBAL_FN operator Index() const { return Index(word * warp_size + lane); }
};

namespace detail {

/// f(0), ..., f(n - 1) without a loop, so that registers may be indexed by the argument.
template <int n, class F> MOEBAL_FN inline void unrolled(F f) {
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
  for (int i = 0; i < n; ++i) f(i);
}

template <class Warp, class T> MOEBAL_FN inline T warp_max(T value) {
  if constexpr (requires { requires std::unsigned_integral<T> && sizeof(T) <= 8; }) {
    return Warp::max(value);
  } else {
    for (int half = Warp::size / 2; half > 0; half /= 2) {
      T const other = Warp::shuffle_xor(value, half);
      value = other > value ? other : value;
    }
    return value;
  }
}

/// The sums of a number over the lower lanes, and over all of them.
struct WarpPrefix {
  std::int64_t before, total;
};
template <class Warp> MOEBAL_FN inline WarpPrefix warp_prefix(std::int64_t value) {
  WarpPrefix sums{0, value}; // over the lanes that differ in the bits seen so far
  for (int bit = 1; bit < warp_size; bit *= 2) {
    std::int64_t const other = Warp::shuffle_xor(sums.total, bit);
    if ((Warp::lane() & bit) != 0) sums.before += other;
    sums.total += other;
  }
  return sums;
}

} // namespace detail

/// Runs of part_size lanes, each a warp of its own for what needs no more. All of them must do the same.
template <class Warp, int part_size> struct WarpPart {
  static constexpr int size = part_size;
  MOEBAL_FN static int number() { return Warp::lane() / size; }
  MOEBAL_FN static int lane() { return Warp::lane() % size; }
  MOEBAL_FN static void sync() { Warp::sync(); }
  template <class T> MOEBAL_FN static T shuffle_xor(T value, int mask) { return Warp::shuffle_xor(value, mask); }
  MOEBAL_FN static unsigned ballot(bool b) {
    return Warp::ballot(b) >> (number() * size) & (~0u >> (warp_size - size));
  }
  MOEBAL_FN static void add(std::int64_t* p, std::int64_t value) { Warp::add(p, value); }
};

/// The lanes of a warp, or of a part (with words = 1 and at most as many elements as lanes). words: at most 32 * words elements, taken without a loop and named by WarpAt; 0: any number.
template <class Warp, int words = 0> class WarpLanes {
public:
  static constexpr int width = 1;

  template <class F> MOEBAL_FN void each(Index n, F f) const {
    own(n, f);
    Warp::sync();
  }
  template <class F> MOEBAL_FN void each_one(Index n, F f) const {
    each(n, [&](Index e) { f(e); });
  }
  template <class F> MOEBAL_FN void once(F f) const {
    if (Warp::lane() == 0) f();
    Warp::sync();
  }
  MOEBAL_FN void add(std::int64_t* p, Index e, std::int64_t value) const { Warp::add(p + e, value); }

  template <class Real, class F> MOEBAL_FN Real sum(Index n, F f) const {
    Real partial = 0;
    own(n, [&](auto e) { partial = partial + f(e); });
    return fold(partial);
  }
  template <class Real, class F, class G> MOEBAL_FN Real dot(Index n, F f, G g) const {
    Real partial = 0;
    own(n, [&](auto e) { partial = math::fma(Real(f(e)), Real(g(e)), partial); });
    return fold(partial);
  }
  template <class T, class F> MOEBAL_FN T max(Index n, F f, T least) const {
    own(n, [&](auto e) {
      T const value = f(e);
      least = value > least ? value : least;
    });
    return detail::warp_max<Warp>(least);
  }
  template <class F> MOEBAL_FN bool any(Index n, F f) const {
    bool found = false;
    own(n, [&](auto e) { found = found || f(e); });
    return Warp::ballot(found) != 0;
  }

private:
  template <class F> MOEBAL_FN static void own(Index n, F f) {
    static_assert(words > 0 || Warp::size == warp_size);
    if constexpr (words > 0) {
      int const lane = Warp::lane(), end = int(n);
      detail::unrolled<words>([&](int word) {
        if (word * warp_size + lane < end) f(WarpAt{word, lane});
      });
    } else {
      for (Index e = Warp::lane(); e < n; e += warp_size) f(e);
    }
  }
  // The tree of fold_partials: lanes of the upper half add the same two numbers the other way round. Where there are
  // fewer lanes, nothing but +0 would have been added before.
  template <class Real> MOEBAL_FN static Real fold(Real partial) {
    if constexpr (Warp::size < warp_size) partial = partial + Real(0);
    for (int half = Warp::size / 2; half > 0; half /= 2) partial = partial + Warp::shuffle_xor(partial, half);
    return partial;
  }
};

} // namespace moebal
