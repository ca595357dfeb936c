// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Packs from and to memory.

#include "pack.hpp"

namespace moebal {

namespace detail {
/// The first `count` elements from p on, and zeros after them; nothing past them is read.
template <class T, int W> inline Pack<T, W> load_head(T const* p, int count) {
  Pack<T, W> r;
  if constexpr (requires { Registers<sizeof(T) * W / 4>::load_head(p, count, r.v); }) {
    Registers<sizeof(T) * W / 4>::load_head(p, count, r.v);
    return r;
  }
  for (int i = 0; i < count; ++i) r.v[i] = p[i];
  return r;
}
template <class T, int W> inline void store_head(T* p, Pack<T, W> value, int count) {
  if constexpr (requires { Registers<sizeof(T) * W / 4>::store_head(p, value.v, count); })
    return Registers<sizeof(T) * W / 4>::store_head(p, value.v, count);
  for (int i = 0; i < count; ++i) p[i] = value.v[i];
}
} // namespace detail

template <class T, int W> inline auto load(T const* p, PackAt<W> e) {
  if constexpr (sizeof(T) == 8) {
    Twin<T, W> r;
    __builtin_memcpy(&r.low.v, p + e.first, sizeof(r.low.v));
    __builtin_memcpy(&r.high.v, p + e.first + W / 2, sizeof(r.high.v));
    return r;
  } else {
    Pack<T, W> r;
    __builtin_memcpy(&r.v, p + e.first, sizeof(r.v));
    return r;
  }
}
template <int W> inline Pack<float, W> load(BFloat16 const* p, PackAt<W> e) {
  typedef std::uint16_t Bits __attribute__((vector_size(2 * W)));
  Bits bits;
  __builtin_memcpy(&bits, p + e.first, sizeof(bits));
  auto const wide = __builtin_convertvector(bits, typename Pack<std::uint32_t, W>::native) << 16;
  return __builtin_bit_cast(typename Pack<float, W>::native, wide);
}
template <int W> inline Pack<float, W> load(Half const* p, PackAt<W> e) {
  Pack<float, W> r;
  for (int i = 0; i < W; ++i) r.v[i] = widen(p[e.first + i]);
  return r;
}
template <class T, int W> inline auto load(T const* p, PackTail<W> e) {
  if constexpr (sizeof(T) == 8) {
    int const low = e.count < W / 2 ? e.count : W / 2;
    return Twin<T, W>{detail::load_head<T, W / 2>(p + e.first, low),
                      detail::load_head<T, W / 2>(p + e.first + low, e.count - low)};
  } else {
    return detail::load_head<T, W>(p + e.first, e.count);
  }
}
template <int W> inline Pack<float, W> load(BFloat16 const* p, PackTail<W> e) {
  BFloat16 copy[W] = {};
  for (int i = 0; i < e.count; ++i) copy[i] = p[e.first + i];
  return load(static_cast<BFloat16 const*>(copy), PackAt<W>{0});
}
template <int W> inline Pack<float, W> load(Half const* p, PackTail<W> e) {
  Pack<float, W> r;
  for (int i = 0; i < e.count; ++i) r.v[i] = widen(p[e.first + i]);
  return r;
}
template <class T, int W> inline void store(T* p, PackAt<W> e, Pack<T, W> value) {
  __builtin_memcpy(p + e.first, &value.v, sizeof(value.v));
}
template <class T, int W> inline void store(T* p, PackAt<W> e, Twin<T, W> value) {
  __builtin_memcpy(p + e.first, &value, sizeof(value));
}

template <class T, int W> inline void store(T* p, PackTail<W> e, Pack<T, W> value) {
  detail::store_head(p + e.first, value, e.count);
}
template <class T, int W> inline void store(T* p, PackTail<W> e, Twin<T, W> value) {
  int const low = e.count < W / 2 ? e.count : W / 2;
  detail::store_head(p + e.first, value.low, low);
  detail::store_head(p + e.first + low, value.high, e.count - low);
}

/// The elements at `low`, then those at `high`.
template <class At> struct BothAt {
  At low, high;
};
template <class T, class At> inline auto load(T const* p, BothAt<At> e) {
  return Both{load(p, e.low), load(p, e.high)};
}
template <class T, class At, class V> inline void store(T* p, BothAt<At> e, Both<V> value) {
  store(p, e.low, value.low);
  store(p, e.high, value.high);
}
template <class V, class At> inline auto rank_word(Both<V> key, BothAt<At> e) {
  return Both{rank_word(key.low, e.low), rank_word(key.high, e.high)};
}

} // namespace moebal
