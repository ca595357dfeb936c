// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a routing trace holds, and how its bytes are made: for core/trace_writer.hpp and core/trace.hpp. docs/traces.md
// has the format.

#include "half.hpp"
#include "ids.hpp"

#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace moebal {

/// How logits lie in the file. In memory they are float.
enum class TraceType : std::uint32_t { Float32 = 0, BFloat16 = 1, Float16 = 2 };
/// Whether each token has a number beside its logits: a token id, a domain.
enum class TraceTags : std::uint32_t { None = 0, Recorded = 1 };

struct TraceShape {
  Index experts = 0; // E
  TraceType type = TraceType::Float32;
  TraceTags tags = TraceTags::None;
};

/// What one rank routed in one micro-batch of one step.
struct TraceBatch {
  Index step = 0, rank = 0, micro_batch = 0;
  Index tokens = 0;               // T
  std::vector<float> logits;      // [T, E] row-major
  std::vector<std::int64_t> tags; // [T], or empty
};

namespace detail {

inline constexpr std::string_view trace_magic = "MOEBALTR";
inline constexpr std::uint32_t trace_version = 1, trace_batch = 1, trace_end = 2;
static_assert(std::endian::native == std::endian::little, "moebal: traces are little-endian, and so is this reader");

/// The CRC-32 of zlib, PNG and Ethernet.
inline std::uint32_t crc32(std::string_view bytes) {
  static constexpr auto table = [] {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      t[i] = i;
      for (int bit = 0; bit < 8; ++bit) t[i] = t[i] & 1 ? 0xedb88320u ^ (t[i] >> 1) : t[i] >> 1;
    }
    return t;
  }();
  std::uint32_t crc = ~0u;
  for (char const c : bytes) crc = table[(crc ^ std::uint8_t(c)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

template <class T> void put(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<char const*>(&value), sizeof(T));
}
template <class T> void put(std::string& bytes, T const* values, std::size_t n) {
  bytes.append(reinterpret_cast<char const*>(values), n * sizeof(T));
}
template <class T> T get(std::string const& bytes, std::size_t& at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  at += sizeof(T);
  return value;
}
inline std::size_t trace_bytes(TraceType type) { return type == TraceType::Float32 ? 4 : 2; }

} // namespace detail

} // namespace moebal
