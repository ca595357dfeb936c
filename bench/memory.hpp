// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Large arrays on large pages where the system has them: with small ones, which cache sets an array shares is drawn anew by every
// allocation, and moves a time by a third.

#include <cstdlib>
#include <new>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace bench {

template <class T> struct LargePages {
  using value_type = T;
  LargePages() = default;
  template <class U> LargePages(LargePages<U>) {}

  T* allocate(std::size_t n) {
    std::size_t const page = n * sizeof(T) < (1 << 18) ? 64 : std::size_t(1) << 21;
    std::size_t const bytes = (n * sizeof(T) + page) / page * page;
    void* const p = std::aligned_alloc(page, bytes);
    if (p == nullptr) throw std::bad_alloc();
#ifdef __linux__
    if (page > 64) madvise(p, bytes, MADV_HUGEPAGE);
#endif
    return static_cast<T*>(p);
  }
  void deallocate(T* p, std::size_t) { std::free(p); }
  friend bool operator==(LargePages, LargePages) { return true; }
};
template <class T> using Array = std::vector<T, LargePages<T>>;

} // namespace bench
