// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "harness.hpp"

#include "../support/allocations.hpp"
#include "../support/backends.hpp"

namespace contracts {

std::vector<std::string> const& backend_names() {
  static std::vector<std::string> const names = [] {
    std::vector<std::string> n;
    moebal_test::on_each_backend([&](char const* name, auto const&) { n.push_back(name); });
    return n;
  }();
  return names;
}

std::int64_t allocations() { return moebal_test::allocations(); }

} // namespace contracts
