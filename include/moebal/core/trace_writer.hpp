// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "errors.hpp"
#include "trace_format.hpp"

#include <ostream>

namespace moebal {

/// Writes a trace: its head at once, each batch as it comes, in any order; close() ends it, and a file that was not
/// closed is refused by the reader. Not for several threads at a time. Each batch is copied once. Throws ShapeError for
/// a batch that is not of the shape, StateError where the stream fails.
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
    if (shape_.tags == TraceTags::Recorded)
      require_equal("tags [T] of a batch", batch.tokens, Index(batch.tags.size()));
    std::string bytes;
    detail::put(bytes, detail::trace_batch);
    for (Index const n : {batch.step, batch.rank, batch.micro_batch}) detail::put(bytes, std::uint32_t(n));
    detail::put(bytes, std::uint64_t(batch.tokens));
    switch (shape_.type) {
    case TraceType::Float32:
      detail::put(bytes, batch.logits.data(), batch.logits.size());
      break;
    case TraceType::BFloat16:
      for (float const z : batch.logits) detail::put(bytes, to_bfloat16(z).bits);
      break;
    case TraceType::Float16:
      for (float const z : batch.logits) detail::put(bytes, to_half(z).bits);
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

} // namespace moebal
