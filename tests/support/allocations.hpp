// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Counts the calls of operator new, on all threads. Include it in one source file of a program: it replaces the
// operators, out of line, for g++ would otherwise see memory of operator new go to free and warn.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace moebal_test {

inline std::atomic<std::int64_t> allocation_calls = 0;
/// Calls of operator new so far.
inline std::int64_t allocations() { return allocation_calls; }

inline void* counted_new(std::size_t bytes, std::size_t alignment) {
  ++allocation_calls;
  std::size_t const rounded = (bytes + alignment) / alignment * alignment; // never 0
  void* const p =
      alignment <= alignof(std::max_align_t) ? std::malloc(rounded) : std::aligned_alloc(alignment, rounded);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
inline void* counted_new_or_null(std::size_t bytes, std::size_t alignment) noexcept {
  try {
    return counted_new(bytes, alignment);
  } catch (std::bad_alloc const&) {
    return nullptr;
  }
}
} // namespace moebal_test

[[gnu::noinline]] void* operator new(std::size_t n) { return moebal_test::counted_new(n, alignof(std::max_align_t)); }
[[gnu::noinline]] void* operator new[](std::size_t n) { return moebal_test::counted_new(n, alignof(std::max_align_t)); }
[[gnu::noinline]] void* operator new(std::size_t n, std::align_val_t a) {
  return moebal_test::counted_new(n, std::size_t(a));
}
[[gnu::noinline]] void* operator new[](std::size_t n, std::align_val_t a) {
  return moebal_test::counted_new(n, std::size_t(a));
}
// All forms, for a sanitizer brings its own of those that are left out, and minds that their memory goes to free.
[[gnu::noinline]] void* operator new(std::size_t n, std::nothrow_t const&) noexcept {
  return moebal_test::counted_new_or_null(n, alignof(std::max_align_t));
}
[[gnu::noinline]] void* operator new[](std::size_t n, std::nothrow_t const&) noexcept {
  return moebal_test::counted_new_or_null(n, alignof(std::max_align_t));
}
[[gnu::noinline]] void* operator new(std::size_t n, std::align_val_t a, std::nothrow_t const&) noexcept {
  return moebal_test::counted_new_or_null(n, std::size_t(a));
}
[[gnu::noinline]] void* operator new[](std::size_t n, std::align_val_t a, std::nothrow_t const&) noexcept {
  return moebal_test::counted_new_or_null(n, std::size_t(a));
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
