// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Routing traces: the logits that a router saw, in a file, so that another strategy can be tried on them. The format,
// and how to write it from another framework, is docs/traces.md; core/trace_writer.hpp writes them.

#include "errors.hpp"
#include "trace_format.hpp"

#include <algorithm>
#include <istream>
#include <limits>

namespace moebal {

/// A trace in memory. Read from a stream that is at its start; StateError for what is no trace, of another version, cut
/// off or damaged: every byte is under a checksum, and sizes are believed only as far as the stream has bytes for them.
class Trace {
public:
  explicit Trace(std::istream& in) {
    std::string const head = piece(in, detail::trace_magic.size() + 16, "head of a trace");
    std::string_view const magic(head.data(), detail::trace_magic.size());
    if (magic != detail::trace_magic)
      refuse("the first bytes of a trace", std::string(detail::trace_magic), "others: this is no trace");
    std::size_t at = magic.size();
    auto const version = detail::get<std::uint32_t>(head, at);
    if (version != detail::trace_version)
      refuse("version of a trace", std::to_string(detail::trace_version), std::to_string(version));
    auto const type = detail::get<std::uint32_t>(head, at), experts = detail::get<std::uint32_t>(head, at);
    auto const tags = detail::get<std::uint32_t>(head, at);
    check(in, head, "head of a trace");
    if (type > 2)
      refuse("type of the logits of a trace", "0 (float32), 1 (bfloat16) or 2 (float16)", std::to_string(type));
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
      if (batches != batches_.size())
        refuse("batches of a trace", std::to_string(batches), std::to_string(batches_.size()));
      if (in.peek() != std::istream::traits_type::eof())
        refuse("what follows the end of a trace", "nothing", "more bytes");
      return false;
    }
    if (mark != detail::trace_batch) refuse("mark of a batch of a trace", "1 (batch) or 2 (end)", std::to_string(mark));
    append(in, bytes, 20, "head of a batch of a trace");
    TraceBatch batch;
    batch.step = detail::get<std::uint32_t>(bytes, at);
    batch.rank = detail::get<std::uint32_t>(bytes, at);
    batch.micro_batch = detail::get<std::uint32_t>(bytes, at);
    auto const tokens = detail::get<std::uint64_t>(bytes, at);
    std::uint64_t const row =
        std::uint64_t(shape_.experts) * detail::trace_bytes(shape_.type) + (shape_.tags == TraceTags::Recorded ? 8 : 0);
    if (tokens > std::uint64_t(std::numeric_limits<Index>::max()) / row)
      refuse("tokens of a batch of a trace", "fewer", std::to_string(tokens));
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
