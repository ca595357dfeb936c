// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One word per candidate whose integer order is the library's order: the better key first, equal keys by the lower id, NaN
// below everything. A maximum over such words carries the tie contract to any machine, in any reduction order.

#include "half.hpp"
#include "ids.hpp"
#include "math.hpp"

namespace moebal {

/// Unsigned integer that orders like x: NaN is 0, then -inf, ..., +inf; -0 equals +0. Made of the bits alone, so that denormal keys
/// rank alike where the processor flushes them to zero.
template <class V> MOEBAL_FN inline auto order_key(V x) {
  using O = math::Ops<V>;
  using K = math::Ieee<math::real_of<V>>;
  using Bits = typename O::bits;
  Bits const sign = Bits{} + K::sign;
  Bits const raw = O::to_bits(x);
  Bits const bits = O::select(raw != sign, raw, Bits{}); // -0 becomes +0
  Bits const key = O::select((bits & sign) != Bits{}, ~bits, bits | sign);
  return O::select(math::is_nan(x), Bits{}, key);
}

template <class Real> struct RankWord;
template <> struct RankWord<float> {
  using type = std::uint64_t;
};
template <> struct RankWord<double> {
  __extension__ using type = unsigned __int128;
};
/// 64 bits for fp32 keys, 128 for fp64. 0 is below every candidate.
template <class Real> using rank_word_t = typename RankWord<Real>::type;

MOEBAL_FN inline std::uint64_t rank_word(float key, Index id) {
  return std::uint64_t(order_key(key)) << 32 | std::uint32_t(0x7fffffff - id);
}
MOEBAL_FN inline rank_word_t<double> rank_word(double key, Index id) {
  return rank_word_t<double>(order_key(key)) << 32 | std::uint32_t(0x7fffffff - id);
}
/// A rank word of 32 bits, for a logit of 16 bits and an id below 2^16: orders like rank_word.
template <class Logit>
  requires(sizeof(Logit) == 2)
MOEBAL_FN inline std::uint32_t short_rank_word(Logit x, Index id) {
  constexpr std::uint32_t infinity = std::is_same_v<Logit, BFloat16> ? 0x7f800000u : 0x7c000000u, sign = 0x80000000u;
  std::uint32_t const raw = std::uint32_t(x.bits) << 16, bits = raw == sign ? 0u : raw;
  std::uint32_t const key = bits ^ (std::uint32_t(std::int32_t(bits) >> 31) | sign);
  return ((bits & ~sign) > infinity ? 0u : key & 0xffff0000u) | (0xffffu - std::uint32_t(id));
}
MOEBAL_FN inline ExpertId short_id_of(std::uint32_t word) { return ExpertId(0xffffu - (word & 0xffffu)); }
/// word where it is below bound, else 0.
template <class Word> MOEBAL_FN inline Word below(Word word, Word bound) { return word < bound ? word : Word(0); }
template <class Word> MOEBAL_FN inline ExpertId id_of(Word word) {
  return ExpertId(0x7fffffff - std::uint32_t(word));
}

} // namespace moebal
