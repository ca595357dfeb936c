// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace machine {

/// FNV-1a over the bytes of arrays that were brought to the host.
struct Checksum {
  std::uint64_t value = 0xcbf29ce484222325u;
  template <class Array> void add(Array const& array) {
    auto const values = array.on_host();
    auto const* bytes = reinterpret_cast<unsigned char const*>(values.data());
    for (std::size_t i = 0; i < values.size() * sizeof(values[0]); ++i) value = (value ^ bytes[i]) * 0x100000001b3u;
  }
};

/// f(i) for i in [0, n), on the host.
template <class T, class F> std::vector<T> values_of(std::int64_t n, F const& f) {
  std::vector<T> values(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) values[static_cast<std::size_t>(i)] = f(i);
  return values;
}

} // namespace machine
