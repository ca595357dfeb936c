// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Names of combinators, made of the names of what they hold: "scaled(switch)".

#include <array>
#include <string_view>

namespace moebal::detail {

template <class Combinator, class Rule> struct Named {
  static constexpr std::string_view outer = Combinator::name, inner = Rule::name;
  static constexpr auto text = [] {
    std::array<char, outer.size() + inner.size() + 3> all{};
    std::size_t at = 0;
    for (char const c : outer) all[at++] = c;
    all[at++] = '(';
    for (char const c : inner) all[at++] = c;
    all[at] = ')';
    return all;
  }();
};

} // namespace moebal::detail
