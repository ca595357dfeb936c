// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/errors.hpp"
#include "../core/ids.hpp"

#include <string>
#include <type_traits>

namespace moebal {

/// Turns a K that is known at run time into a compile-time one from the list that the caller states:
///   with_top_k<1, 2, 4, 6, 8>(k, [&](auto K) { ... TopK<K>{} ... });
/// Returns what f returns. Throws ShapeError naming the list when k is not on it.
template <int... Ks, class F> decltype(auto) with_top_k(Index k, F&& f) {
  static_assert(sizeof...(Ks) > 0, "moebal: with_top_k needs a list of K to choose from: with_top_k<2, 4, 8>(k, f)");
  using Result = std::common_type_t<decltype(f(std::integral_constant<int, Ks>{}))...>;
  if (((k != Ks) && ...)) {
    std::string list;
    ((list += (list.empty() ? "" : ", ") + std::to_string(Ks)), ...);
    detail::refuse<ShapeError>("K for with_top_k", "one of " + list, std::to_string(k));
  }
  if constexpr (std::is_void_v<Result>) {
    ((k == Ks ? f(std::integral_constant<int, Ks>{}) : void()), ...);
  } else {
    Result result{};
    ((k == Ks ? void(result = f(std::integral_constant<int, Ks>{})) : void()), ...);
    return result;
  }
}

} // namespace moebal
