// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/select/rounds.hpp>

#include <vector>

using namespace moebal;

BOOST_AUTO_TEST_SUITE(select_rounds)

BOOST_AUTO_TEST_CASE(words_fall_and_nothing_is_rewritten) {
  std::vector<std::uint64_t> const words{30, 7, 99, 12, 1};
  std::vector<std::uint64_t> taken;
  select::best_first(SerialLanes{}, words.data(), 5, 5, [&](Index r, std::uint64_t word) {
    BOOST_TEST(r == Index(taken.size()));
    taken.push_back(word);
  });
  BOOST_TEST((taken == std::vector<std::uint64_t>{99, 30, 12, 7, 1}));
  taken.clear();
  select::best_first(SerialLanes{}, words.data(), 5, 0, [&](Index, std::uint64_t word) { taken.push_back(word); });
  BOOST_TEST(taken.empty());
}

BOOST_AUTO_TEST_CASE(an_end_that_the_words_decide) {
  std::vector<std::uint64_t> const words{30, 7, 99, 12, 1};
  std::vector<std::uint64_t> taken;
  auto const until = [&](std::uint64_t least) {
    taken.clear();
    return select::best_while(SerialLanes{}, words.data(), 5, 4, [&](Index r, std::uint64_t word) {
      BOOST_TEST(r == Index(taken.size()));
      taken.push_back(word);
      return word > least;
    });
  };
  BOOST_TEST(until(20) == 3);
  BOOST_TEST((taken == std::vector<std::uint64_t>{99, 30, 12}));
  BOOST_TEST(until(0) == 4);
  BOOST_TEST(until(1000) == 1);
}

BOOST_AUTO_TEST_SUITE_END()
