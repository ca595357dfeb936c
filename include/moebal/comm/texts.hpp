// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What ranks tell one another in words, for checks that must not hang or go wrong themselves.

#include "../core/communication.hpp"

#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace moebal::detail {

/// A text that fits into `most` characters: a longer one is cut and ends in a digest of all of it, so that two that
/// differ still do. `most` >= 17.
inline std::string fitted(std::string_view text, std::size_t most) {
  if (text.size() <= most) return std::string(text);
  std::uint64_t digest = 14695981039346656037u; // FNV-1a
  for (char const c : text) digest = (digest ^ std::uint64_t(static_cast<unsigned char>(c))) * 1099511628211u;
  std::string cut(text.substr(0, most - 17));
  cut += '#';
  for (int shift = 60; shift >= 0; shift -= 4) cut += "0123456789abcdef"[(digest >> shift) & 15];
  return cut;
}

/// Each rank's text [R], of at most Bytes characters. Collective, and of one size whatever the ranks have to say: a
/// backend's or a Communicator's all_gather of Bytes / 8 integers.
template <std::size_t Bytes, class Comm>
std::vector<std::string> gather_texts(Comm const& comm, std::string_view mine) {
  static_assert(std::same_as<typename Comm::memory, HostMemory>, "moebal: words are exchanged in host memory");
  using Words = std::array<std::int64_t, Bytes / 8>;
  std::string const text = fitted(mine, Bytes);
  Words words{};
  std::memcpy(words.data(), text.data(), text.size());
  std::vector<std::int64_t> all(std::size_t(comm.size()) * words.size());
  VectorView<std::int64_t const> const from(words.data(), Index(words.size()));
  comm.start_all_gather(from, VectorView<std::int64_t>(all)).wait();
  std::vector<std::string> texts;
  for (std::size_t r = 0; r < std::size_t(comm.size()); ++r) {
    std::string received(Bytes, '\0');
    std::memcpy(received.data(), all.data() + r * words.size(), Bytes);
    received.erase(received.find_last_not_of('\0') + 1);
    texts.push_back(std::move(received));
  }
  return texts;
}

} // namespace moebal::detail
