// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "support/serial_exec.hpp"

#include <moebal/plan/radix_sort.hpp>

#include <algorithm>
#include <random>

namespace mb = moebal;
using mb::Index;
using moebal_test::SerialExec;

namespace {

template <class Key> void check(Index n, SerialExec exec, Key mask) {
  using Scratch = mb::detail::RadixScratch<Key>;
  mb::Workspace workspace(Scratch::bytes(exec, n));
  mb::WorkspaceView<> view = workspace;
  auto const scratch = Scratch::take(exec, n, view);
  std::mt19937_64 random(std::uint64_t(n) + 1);
  std::vector<std::pair<Key, Index>> expected;
  for (Index i = 0; i < n; ++i) {
    scratch.keys[i] = Key(random()) & mask;
    scratch.values[i] = i;
    expected.emplace_back(scratch.keys[i], i);
  }
  mb::detail::radix_sort(exec, n, scratch);
  std::sort(expected.begin(), expected.end()); // values ascend, so this is the stable order
  bool equal = true;
  for (Index i = 0; i < n; ++i)
    equal = equal && scratch.keys[i] == expected[std::size_t(i)].first &&
            scratch.values[i] == expected[std::size_t(i)].second;
  BOOST_TEST(equal);
}

} // namespace

BOOST_AUTO_TEST_SUITE(plan_radix_sort)

BOOST_AUTO_TEST_CASE(stable_whatever_the_cut) {
  for (Index const n : {0, 1, 7, 4097, 70001})
    for (SerialExec const& exec : {SerialExec{1}, SerialExec{5}, SerialExec{64, true}}) {
      check<std::uint32_t>(n, exec, 0xffffffffu);
      check<std::uint32_t>(n, exec, 0xf0000003u); // many equal keys
      check<std::uint64_t>(n, exec, ~std::uint64_t{});
      check<std::uint64_t>(n, exec, 0x8000000000000001u);
    }
}

BOOST_AUTO_TEST_CASE(the_cut_covers_every_item_once) {
  for (Index const items : {0, 1, 7, 4097})
    for (Index const chunks : {1, 2, 3, 64, 5000}) {
      mb::detail::Cut const cut{items, chunks};
      BOOST_TEST(cut.first(0) == 0);
      BOOST_TEST(cut.first(chunks) == items);
      for (Index c = 0; c < chunks; ++c) {
        Index const size = cut.first(c + 1) - cut.first(c);
        BOOST_TEST((size == items / chunks || size == items / chunks + 1));
      }
    }
}

BOOST_AUTO_TEST_SUITE_END()
