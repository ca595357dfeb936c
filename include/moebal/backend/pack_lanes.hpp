// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "pack_memory.hpp"

namespace moebal {

/// W SIMD lanes on a row; the last elements, fewer than W, are one masked pack.
template <int W> struct PackLanes {
  static constexpr int width = W;

  template <class F>
#if !defined(__SANITIZE_ADDRESS__) // checks of everything, four times over, take minutes to compile
  [[gnu::flatten]]
#endif
  void each(Index n, F f) const {
    using At = PackAt<W>;
    Index e = 0;
    for (; e + 4 * W <= n; e += 4 * W) f(BothAt<BothAt<At>>{{At{e}, At{e + W}}, {At{e + 2 * W}, At{e + 3 * W}}});
    for (; e + W <= n; e += W) f(At{e});
    if (e < n) f(PackTail<W>{e, int(n - e)});
  }
  template <class F> void each_one(Index n, F f) const {
    for (Index e = 0; e < n; ++e) f(e);
  }
  template <class F> void once(F f) const { f(); }
  void add(std::int64_t* p, Index e, std::int64_t value) const { p[e] += value; }
  void add(std::int64_t* p, PackAt<W> e, Twin<std::int64_t, W> value) const {
    store(p, e, load(static_cast<std::int64_t const*>(p), e) + value);
  }
  void add(std::int64_t* p, PackTail<W> e, Twin<std::int64_t, W> value) const {
    store(p, e, load(static_cast<std::int64_t const*>(p), e) + value);
  }

  template <class At, class V> void add(std::int64_t* p, BothAt<At> e, Both<V> value) const {
    add(p, e.low, value.low);
    add(p, e.high, value.high);
  }

  template <class Real, class F> Real sum(Index n, F f) const {
    return fold<Real>(n, [&](auto e, auto so_far) { return so_far + f(e); });
  }
  template <class Real, class F, class G> Real dot(Index n, F f, G g) const {
    return fold<Real>(n, [&](auto e, auto so_far) { return math::fma(f(e), g(e), so_far); });
  }
  template <class T, class F> T max(Index n, F f, T least) const {
    using V = decltype(f(PackAt<W>{0}));
    V best = every_lane(static_cast<V const*>(nullptr), least);
    Index e = 0;
    for (; e + W <= n; e += W) best = pick(f(PackAt<W>{e}), best);
    if (e < n) best = pick(first(f(PackTail<W>{e, int(n - e)}), best, int(n - e)), best);
    return across(best);
  }
  template <class F> bool any(Index n, F f) const {
    Index e = 0;
    Mask<W> seen{};
    for (; e + W <= n; e += W) seen = seen | f(PackAt<W>{e});
    if (e < n) {
      using Int = Pack<std::int32_t, W>;
      seen = seen | Mask<W>{detail::head(Int(f(PackTail<W>{e, int(n - e)}).v), Int(), int(n - e)).v};
    }
    if constexpr (requires { Registers<W>::any(seen); }) return Registers<W>::any(seen);
    return detail::halve(Pack<std::int32_t, W>(seen.v), [](auto a, auto b) { return a | b; }) != 0;
  }
  /// The `count` largest of n words to out [32], where that is faster than one after the other (select/rounds.hpp): 0 is below all
  /// others, which are distinct. False, and nothing is found, where it is not.
  bool largest(std::uint64_t const* words, Index n, Index count, std::uint64_t* out) const
    requires requires { Registers<W>::largest(words, n, count, out); }
  {
    return n >= 128 && count > 5 && count <= 16 && Registers<W>::largest(words, n, count, out);
  }

private:
  // a where it is larger than b, else b; a NaN is never larger.
  template <class T, int N> static Pack<T, N> pick(Pack<T, N> a, Pack<T, N> b) {
    return Pack<T, N>(a.v > b.v ? a.v : b.v);
  }
  template <class T> static Twin<T, W> pick(Twin<T, W> a, Twin<T, W> b) {
    return {pick(a.low, b.low), pick(a.high, b.high)};
  }
  template <class T, int N> static T across(Pack<T, N> x) {
    return detail::halve(x, [](auto a, auto b) { return pick(a, b); });
  }
  template <class T> static T across(Twin<T, W> x) { return across(pick(x.low, x.high)); }
  template <class T, int N> static Pack<T, N> every_lane(Pack<T, N> const*, T value) {
    return Pack<T, N>(typename Pack<T, N>::native{} + value);
  }
  template <class T> static Twin<T, W> every_lane(Twin<T, W> const*, T value) {
    auto const half = every_lane(static_cast<Pack<T, W / 2> const*>(nullptr), value);
    return {half, half};
  }
  // The first `count` elements of x, and those of `rest` after them.
  template <class T> static Pack<T, W> first(Pack<T, W> x, Pack<T, W> rest, int count) {
    return detail::head(x, rest, count);
  }
  template <class T> static Twin<T, W> first(Twin<T, W> x, Twin<T, W> rest, int count) {
    return {detail::head(x.low, rest.low, count), detail::head(x.high, rest.high, count - W / 2)};
  }

  template <class Real, class Step> static Real fold(Index n, Step step) {
    constexpr int packs = partial_sums / W;
    Pack<Real, W> partial[packs];
    Index e = 0;
    for (; e + partial_sums <= n; e += partial_sums)
      for (int p = 0; p < packs; ++p) partial[p] = step(PackAt<W>{e + p * W}, partial[p]);
    int p = 0;
    for (; e + W <= n; e += W, ++p) partial[p] = step(PackAt<W>{e}, partial[p]);
    if (e < n) partial[p] = detail::head(step(PackTail<W>{e, int(n - e)}, partial[p]), partial[p], int(n - e));
    for (int half = packs / 2; half > 0; half /= 2) // as fold_partials
      for (int q = 0; q < half; ++q) partial[q] = partial[q] + partial[q + half];
    return detail::halve(partial[0], [](auto a, auto b) { return a + b; });
  }
};

/// The lane group that serves rows computed in Real on registers of `width` fp32 elements.
template <class Real, int width>
using LanesOf = std::conditional_t<std::is_same_v<Real, float> && (width > 1), PackLanes<(width > 1 ? width : 2)>,
                                   SerialLanes>;
/// The same on the registers that the compiler's flags give.
template <class Real> using CpuLanes = LanesOf<Real, pack_width>;

static_assert(lane_group<CpuLanes<double>>);

} // namespace moebal
