// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Scratch memory that the caller owns and a call borrows, so that `_into` functions allocate nothing.

#include "errors.hpp"
#include "views.hpp"

#include <cstddef>
#include <new>
#include <vector>

namespace moebal {

/// Hands out aligned pieces of a byte range, in the order asked for. Refuses when it runs out, with needed and had.
template <class Memory = HostMemory> class WorkspaceView {
public:
  static constexpr std::size_t alignment = 64; // a cache line, and a SIMD register

  WorkspaceView() = default;
  WorkspaceView(std::byte* data, std::size_t bytes) : data_(data), bytes_(bytes) {}

  /// Bytes that `count` elements of T take here.
  template <class T> static constexpr std::size_t bytes_for(Index count) {
    return (std::size_t(count) * sizeof(T) + alignment - 1) / alignment * alignment;
  }
  /// Refuses unless this much is left: called first with all that a call will take, so that nobody is sent back twice.
  void require(std::size_t bytes) const {
    if (used_ + bytes > bytes_) require_at_least("workspace bytes", Index(used_ + bytes), Index(bytes_));
  }
  template <class T> T* take(Index count) {
    std::size_t const need = bytes_for<T>(count);
    require(need);
    T* const piece = reinterpret_cast<T*>(data_ + used_);
    used_ += need;
    return piece;
  }

private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::size_t used_ = 0;
};

/// Host scratch memory. `Workspace ws(router.workspace_bytes(...))`, then passed to every call of that shape or smaller.
class Workspace {
public:
  Workspace() = default;
  explicit Workspace(std::size_t bytes) : storage_((bytes + sizeof(Line) - 1) / sizeof(Line)) {}
  /// Grows to at least `bytes`; never shrinks.
  void reserve(std::size_t bytes) {
    std::size_t const lines = (bytes + sizeof(Line) - 1) / sizeof(Line);
    if (lines > storage_.size()) storage_.resize(lines);
  }
  std::size_t bytes() const { return storage_.size() * sizeof(Line); }
  operator WorkspaceView<HostMemory>() { return {reinterpret_cast<std::byte*>(storage_.data()), bytes()}; }

private:
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> storage_;
};

} // namespace moebal
