// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Inputs by kind, from a seed. Only integer arithmetic and exact conversions make them, so that they are the same on
// every machine and stored hashes of results mean something.

#include <moebal/core/half.hpp>
#include <moebal/core/ids.hpp>
#include <moebal/core/routing.hpp>
#include <moebal/core/views.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace moebal_test {

using moebal::Index;

class Random {
public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t bits() { return engine_(); }
  Index below(Index n) { return Index(bits() % std::uint64_t(n)); }
  bool one_in(Index n) { return below(n) == 0; }
  /// In [-1, 1), a multiple of 2^-23.
  float uniform() { return float(std::int64_t(bits() >> 40) - (std::int64_t(1) << 23)) * 0x1p-23f; }
  /// Bell-shaped with a standard deviation of about 1.15 * scale.
  float bell(float scale = 1) {
    std::int64_t sum = 0;
    for (int i = 0; i < 4; ++i) sum += std::int64_t(bits() >> 40) - (std::int64_t(1) << 23);
    return float(sum) * 0x1p-23f * scale;
  }

private:
  std::mt19937_64 engine_;
};

enum class Kind {
  Bell,      // what a router sees
  Wide,      // the same, 30 times as wide: saturated scores
  Coarse,    // bf16 values: many ties
  Equal,     // one value a row
  Ascending, // sorted, with steps of equal values
  Descending,
  AnyBits,  // every bit pattern: NaN, infinities, denormals, 1e38
  Specials, // NaN of several payloads, infinities, zeros of both signs, denormals and ordinary values, mixed
  Zeros,    // +0 and -0
  Denormals,
  MinusInf, // a few finite values among -inf
  AllNan,
  AllPlusInf,
  AllMinusInf,
};
inline constexpr Kind all_kinds[] = {
    Kind::Bell,     Kind::Wide,  Kind::Coarse,    Kind::Equal,    Kind::Ascending, Kind::Descending, Kind::AnyBits,
    Kind::Specials, Kind::Zeros, Kind::Denormals, Kind::MinusInf, Kind::AllNan,    Kind::AllPlusInf, Kind::AllMinusInf};
inline constexpr char const* name_of(Kind k) {
  constexpr char const* names[] = {"bell",           "wide",     "coarse",   "equal",   "ascending",
                                   "descending",     "any bits", "specials", "zeros",   "denormals",
                                   "minus infinity", "all NaN",  "all +inf", "all -inf"};
  return names[int(k)];
}

inline float logit(Kind kind, Random& random, Index row, Index e) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  auto const float_of = [](std::uint32_t b) { return std::bit_cast<float>(b); };
  switch (kind) {
  case Kind::Bell:
    return random.bell();
  case Kind::Wide:
    return random.bell(30);
  case Kind::Coarse:
    return float_of(std::bit_cast<std::uint32_t>(random.bell()) & 0xfff00000u);
  case Kind::Equal:
    return float(row % 5) - 2;
  case Kind::Ascending:
    return float(e / 3) * 0.125f - 4;
  case Kind::Descending:
    return 4 - float(e / 2) * 0.125f;
  case Kind::AnyBits:
    return float_of(std::uint32_t(random.bits() >> 32));
  case Kind::Specials:
    switch (random.below(12)) {
    case 0:
      return float_of(0x7fc00000u);
    case 1:
      return float_of(0xffc12345u);
    case 2:
      return float_of(0x7f800001u); // signalling
    case 3:
      return inf;
    case 4:
      return -inf;
    case 5:
      return 0.0f;
    case 6:
      return -0.0f;
    case 7:
      return float_of(1u + std::uint32_t(random.below(9)));
    case 8:
      return float_of(0x80000001u);
    case 9:
      return float(random.below(3));
    default:
      return random.bell();
    }
  case Kind::Zeros:
    return random.one_in(2) ? 0.0f : -0.0f;
  case Kind::Denormals:
    return float_of(std::uint32_t(random.below(1 << 20)) | std::uint32_t(random.below(2)) << 31);
  case Kind::MinusInf:
    return random.one_in(4) ? random.bell() : -inf;
  case Kind::AllNan:
    return float_of(0x7fc00000u | std::uint32_t(random.below(1 << 20)));
  case Kind::AllPlusInf:
    return inf;
  case Kind::AllMinusInf:
    return -inf;
  }
  return 0;
}

template <class Logit> Logit logit_as(float x) {
  if constexpr (sizeof(Logit) == 2) { // the upper half: a truncation for bf16, some other value for Half
    return Logit{std::uint16_t(std::bit_cast<std::uint32_t>(x) >> 16)};
  } else {
    return Logit(x);
  }
}

/// Logits [T, E] of one kind.
template <class Logit = float>
std::vector<Logit> logits_of(Kind kind, Index tokens, Index experts, std::uint64_t seed = 1) {
  Random random(seed * 1000003 + std::uint64_t(kind) * 7919 + std::uint64_t(experts));
  std::vector<Logit> x;
  x.reserve(std::size_t(tokens * experts));
  for (Index t = 0; t < tokens; ++t)
    for (Index e = 0; e < experts; ++e) x.push_back(logit_as<Logit>(logit(kind, random, t, e)));
  return x;
}
template <class T> moebal::MatrixView<T const> matrix(std::vector<T> const& x, Index rows, Index cols) {
  return {x.data(), rows, cols};
}

/// RowOptions with memory of their own.
struct Options {
  std::vector<float> bias{};
  std::vector<std::uint8_t> padding{};
  std::vector<Index> segments{};
  moebal::RowOptions<> view() const { return {bias, padding, segments}; }
};
inline std::vector<float> bias_of(Index experts, float scale, std::uint64_t seed = 1) {
  Random random(seed + 77);
  std::vector<float> b;
  for (Index e = 0; e < experts; ++e) b.push_back(random.bell(scale));
  return b;
}
inline std::vector<std::uint8_t> padding_of(Index tokens, std::uint64_t seed = 1) {
  Random random(seed + 177);
  std::vector<std::uint8_t> p;
  for (Index t = 0; t < tokens; ++t) p.push_back(random.one_in(4));
  return p;
}
/// S sequences of T tokens, some of them empty.
inline std::vector<Index> segments_of(Index tokens, Index sequences, std::uint64_t seed = 1) {
  Random random(seed + 277);
  std::vector<Index> cuts{0, tokens};
  for (Index s = 1; s < sequences; ++s) cuts.push_back(random.below(tokens + 1));
  std::sort(cuts.begin(), cuts.end());
  return cuts;
}

/// FNV-1a over the bytes of values.
class Hash {
public:
  template <class T> Hash& add(std::vector<T> const& values) {
    for (T const& v : values) {
      unsigned char bytes[sizeof(T)];
      __builtin_memcpy(bytes, &v, sizeof(T));
      for (unsigned char const b : bytes) value_ = (value_ ^ b) * 0x100000001b3u;
    }
    return *this;
  }
  std::uint64_t value() const { return value_; }

private:
  std::uint64_t value_ = 0xcbf29ce484222325u;
};

} // namespace moebal_test
