// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a rank calls, in words and as something that can be compared: for backends and decorators that tell ranks apart.

#include "../core/ids.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <typeinfo>

namespace moebal::detail {

/// Equal on all ranks for each collective, or the job is wrong.
struct Call {
  std::string_view verb;
  std::string_view type = {}; // none: a barrier
  Index element_bytes = 0;
  Index count = 0; // elements, or columns of a row

  template <class T> static Call of(std::string_view verb, Index count) {
    return {verb, name_of<T>(), Index(sizeof(T)), count};
  }
  bool operator==(Call const&) const = default;
  /// "all_reduce_sum of 64 int64".
  std::string text() const {
    std::string words(verb);
    if (type.empty()) return words;
    words.append(" of ").append(std::to_string(count)).append(" ").append(type);
    if (type == "int64" || type == "float" || type == "double" || type == "bytes") return words;
    return words.append(" (").append(std::to_string(element_bytes)).append(" bytes each)");
  }

private:
  template <class T> static std::string_view name_of() {
    if constexpr (std::same_as<T, std::int64_t>) return "int64";
    if constexpr (std::same_as<T, float>) return "float";
    if constexpr (std::same_as<T, double>) return "double";
    if constexpr (std::same_as<T, std::byte>) return "bytes";
    return typeid(T).name();
  }
};

inline std::string rank_text(Index rank) { return "rank " + std::to_string(rank); }

} // namespace moebal::detail
