// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Routing traces: the logits that a router saw, in a file, so that another strategy can be tried on them. The format, and how to
// write it from another framework, is docs/traces.md.

#include "errors.hpp"
#include "half.hpp"
#include "ids.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <istream>
#include <limits>
#include <ostream>
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

template <class T> void put(std::string& bytes, T value) { bytes.append(reinterpret_cast<char const*>(&value), sizeof(T)); }
template <class T> void put(std::string& bytes, T const* values, std::size_t n) {
  bytes.append(reinterpret_cast<char const*>(values), n * sizeof(T));
}
template <class T> T get(std::string const& bytes, std::size_t& at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  at += sizeof(T);
  return value;
}
/// To the nearest, ties to even; NaN stays NaN.
inline std::uint16_t to_bfloat16(float x) {
  auto const bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return std::uint16_t(bits >> 16 | 0x40u);
  return std::uint16_t((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}
inline std::uint16_t to_float16(float x) {
  auto const bits = std::bit_cast<std::uint32_t>(x);
  std::uint32_t const sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return std::uint16_t(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return std::uint16_t(sign | 0x7c00u); // from 65520 on
  std::uint32_t mantissa = magnitude, shift = 13;
  if (magnitude < 0x38800000u) { // below 2^-14: a denormal, in units of 2^-24
    std::uint32_t const exponent = magnitude >> 23;
    if (exponent < 101) return std::uint16_t(sign);
    mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    shift = 126 - exponent;
  } else {
    mantissa -= 112u << 23;
  }
  std::uint32_t const half = mantissa >> shift, rest = mantissa & ((1u << shift) - 1), middle = 1u << (shift - 1);
  return std::uint16_t(sign | (half + (rest > middle || (rest == middle && (half & 1)))));
}
inline std::size_t trace_bytes(TraceType type) { return type == TraceType::Float32 ? 4 : 2; }

} // namespace detail

/// Writes a trace: its head at once, each batch as it comes, in any order; close() ends it, and a file that was not closed is
/// refused by the reader. Not for several threads at a time. Each batch is copied once. Throws ShapeError for a batch that is not of
/// the shape, StateError where the stream fails.
class TraceWriter {
public:
  TraceWriter(std::ostream& out, TraceShape shape) : out_(out), shape_(shape) {
    require_within("experts of a trace", 1, 0x7ffffffe, shape.experts);
    std::string head(detail::trace_magic);
    detail::put(head, detail::trace_version);
    detail::put(head, std::uint32_t(shape.type));
    detail::put(head, std::uint32_t(shape.experts));
    detail::put(head, std::uint32_t(shape.tags));
    send(head);
  }

  void write(TraceBatch const& batch) {
    constexpr Index most = 0xffffffff;
    if (closed_) detail::refuse<StateError>("writing a batch to a trace", "one that is open", "a closed one");
    require_within("step of a batch", 0, most, batch.step);
    require_within("rank of a batch", 0, most, batch.rank);
    require_within("micro-batch of a batch", 0, most, batch.micro_batch);
    require_within("tokens of a batch", 0, Index(1) << 40, batch.tokens);
    require_equal("logits [T, E] of a batch, elements", batch.tokens * shape_.experts, Index(batch.logits.size()));
    if (shape_.tags == TraceTags::Recorded) require_equal("tags [T] of a batch", batch.tokens, Index(batch.tags.size()));
    std::string bytes;
    detail::put(bytes, detail::trace_batch);
    for (Index const n : {batch.step, batch.rank, batch.micro_batch}) detail::put(bytes, std::uint32_t(n));
    detail::put(bytes, std::uint64_t(batch.tokens));
    switch (shape_.type) {
    case TraceType::Float32: detail::put(bytes, batch.logits.data(), batch.logits.size()); break;
    case TraceType::BFloat16:
      for (float const z : batch.logits) detail::put(bytes, detail::to_bfloat16(z));
      break;
    case TraceType::Float16:
      for (float const z : batch.logits) detail::put(bytes, detail::to_float16(z));
      break;
    }
    if (shape_.tags == TraceTags::Recorded) detail::put(bytes, batch.tags.data(), batch.tags.size());
    send(bytes);
    ++batches_;
  }

  void close() {
    if (closed_) return;
    closed_ = true;
    std::string bytes;
    detail::put(bytes, detail::trace_end);
    detail::put(bytes, std::uint64_t(batches_));
    send(bytes);
    out_.flush();
  }

private:
  void send(std::string& bytes) {
    detail::put(bytes, detail::crc32(bytes));
    out_.write(bytes.data(), std::streamsize(bytes.size()));
    if (!out_) detail::refuse<StateError>("writing a trace", "a stream that takes it", "one that failed");
  }

  std::ostream& out_;
  TraceShape shape_;
  std::uint64_t batches_ = 0;
  bool closed_ = false;
};

/// A trace in memory. Read from a stream that is at its start; StateError for what is no trace, of another version, cut off or
/// damaged: every byte is under a checksum, and sizes are believed only as far as the stream has bytes for them.
class Trace {
public:
  explicit Trace(std::istream& in) {
    std::string const head = piece(in, detail::trace_magic.size() + 16, "head of a trace");
    std::string_view const magic(head.data(), detail::trace_magic.size());
    if (magic != detail::trace_magic) refuse("the first bytes of a trace", std::string(detail::trace_magic), "others: this is no trace");
    std::size_t at = magic.size();
    auto const version = detail::get<std::uint32_t>(head, at);
    if (version != detail::trace_version) refuse("version of a trace", std::to_string(detail::trace_version), std::to_string(version));
    auto const type = detail::get<std::uint32_t>(head, at), experts = detail::get<std::uint32_t>(head, at);
    auto const tags = detail::get<std::uint32_t>(head, at);
    check(in, head, "head of a trace");
    if (type > 2) refuse("type of the logits of a trace", "0 (float32), 1 (bfloat16) or 2 (float16)", std::to_string(type));
    if (experts < 1 || experts > 0x7ffffffe) refuse("experts of a trace", "1 to 2147483646", std::to_string(experts));
    if (tags > 1) refuse("tags of a trace", "0 (none) or 1 (recorded)", std::to_string(tags));
    shape_ = {Index(experts), TraceType(type), TraceTags(tags)};
    while (read_batch(in)) {
    }
  }

  TraceShape shape() const { return shape_; }
  /// In the order of the file.
  std::vector<TraceBatch> const& batches() const { return batches_; }

private:
  [[noreturn]] static void refuse(std::string_view what, std::string_view needed, std::string_view had) {
    detail::refuse<StateError>(what, needed, had);
  }
  /// Bytes in steps, so that a damaged size asks for no more memory than the file is large.
  static void append(std::istream& in, std::string& to, std::uint64_t bytes, char const* what) {
    std::uint64_t const needed = bytes;
    while (bytes > 0) {
      std::uint64_t const step = std::min<std::uint64_t>(bytes, 1 << 20);
      std::size_t const before = to.size();
      to.resize(before + std::size_t(step));
      in.read(to.data() + before, std::streamsize(step));
      if (std::uint64_t(in.gcount()) != step)
        refuse(what, std::to_string(needed) + " bytes", "the end of the file (it was cut off, or never closed)");
      bytes -= step;
    }
  }
  static std::string piece(std::istream& in, std::uint64_t bytes, char const* what) {
    std::string text;
    append(in, text, bytes, what);
    return text;
  }
  static void check(std::istream& in, std::string const& bytes, char const* what) {
    std::string const sum = piece(in, 4, what);
    std::size_t at = 0;
    auto const needed = detail::get<std::uint32_t>(sum, at), had = detail::crc32(bytes);
    if (needed != had) refuse(std::string("checksum, ") + what, std::to_string(needed), std::to_string(had));
  }

  bool read_batch(std::istream& in) {
    std::string bytes = piece(in, 4, "mark of a batch of a trace");
    std::size_t at = 0;
    auto const mark = detail::get<std::uint32_t>(bytes, at);
    if (mark == detail::trace_end) {
      append(in, bytes, 8, "end of a trace");
      auto const batches = detail::get<std::uint64_t>(bytes, at);
      check(in, bytes, "end of a trace");
      if (batches != batches_.size()) refuse("batches of a trace", std::to_string(batches), std::to_string(batches_.size()));
      if (in.peek() != std::istream::traits_type::eof()) refuse("what follows the end of a trace", "nothing", "more bytes");
      return false;
    }
    if (mark != detail::trace_batch) refuse("mark of a batch of a trace", "1 (batch) or 2 (end)", std::to_string(mark));
    append(in, bytes, 20, "head of a batch of a trace");
    TraceBatch batch;
    batch.step = detail::get<std::uint32_t>(bytes, at);
    batch.rank = detail::get<std::uint32_t>(bytes, at);
    batch.micro_batch = detail::get<std::uint32_t>(bytes, at);
    auto const tokens = detail::get<std::uint64_t>(bytes, at);
    std::uint64_t const row = std::uint64_t(shape_.experts) * detail::trace_bytes(shape_.type) + (shape_.tags == TraceTags::Recorded ? 8 : 0);
    if (tokens > std::uint64_t(std::numeric_limits<Index>::max()) / row) refuse("tokens of a batch of a trace", "fewer", std::to_string(tokens));
    append(in, bytes, tokens * row, "a batch of a trace");
    check(in, bytes, "a batch of a trace");
    batch.tokens = Index(tokens);
    batch.logits.resize(std::size_t(tokens) * std::size_t(shape_.experts));
    for (float& z : batch.logits) {
      if (shape_.type == TraceType::Float32) z = detail::get<float>(bytes, at);
      if (shape_.type == TraceType::BFloat16) z = widen(BFloat16{detail::get<std::uint16_t>(bytes, at)});
      if (shape_.type == TraceType::Float16) z = widen(Half{detail::get<std::uint16_t>(bytes, at)});
    }
    if (shape_.tags == TraceTags::Recorded) {
      batch.tags.resize(std::size_t(tokens));
      for (std::int64_t& tag : batch.tags) tag = detail::get<std::int64_t>(bytes, at);
    }
    batches_.push_back(std::move(batch));
    return true;
  }

  TraceShape shape_;
  std::vector<TraceBatch> batches_;
};

} // namespace moebal
