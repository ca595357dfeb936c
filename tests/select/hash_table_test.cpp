// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/select/hash_table.hpp>

using namespace moebal;

namespace {

std::vector<std::int64_t> loads(HashTable const& table, std::vector<std::int64_t> const& frequency) {
  std::vector<std::int64_t> sums(std::size_t(table.experts()), 0);
  for (Index v = 0; v < table.vocabulary(); ++v)
    for (Index k = 0; k < table.top_k(); ++k) sums[std::size_t(table.rows()(v, k))] += frequency[std::size_t(v)];
  return sums;
}
std::vector<int> row(HashTable const& table, Index v) {
  std::vector<int> ids;
  for (Index k = 0; k < table.top_k(); ++k) ids.push_back(table.rows()(v, k));
  return ids;
}

} // namespace

BOOST_AUTO_TEST_SUITE(select_hash_table)

BOOST_AUTO_TEST_CASE(balanced_by_hand) {
  std::vector<std::int64_t> const frequency{1, 9, 4, 4, 2}; // order 1, 2, 3, 4, 0
  auto const one = HashTable::balanced(frequency, 1, 3);    // 9 -> 0, 4 -> 1, 4 -> 2, 2 -> 1 (equal: the lower), 1 -> 2
  BOOST_TEST((std::vector<int>{row(one, 0)[0], row(one, 1)[0], row(one, 2)[0], row(one, 3)[0], row(one, 4)[0]} ==
              std::vector<int>{2, 0, 1, 2, 1}));
  BOOST_TEST((loads(one, frequency) == std::vector<std::int64_t>{9, 6, 5}));
  auto const two = HashTable::balanced(frequency, 2, 3);
  BOOST_TEST((row(two, 1) == std::vector<int>{0, 1}));
  BOOST_TEST((row(two, 2) == std::vector<int>{2, 0}));
}

BOOST_AUTO_TEST_CASE(balance_of_a_zipf_vocabulary) {
  std::vector<std::int64_t> frequency;
  for (Index v = 0; v < 5000; ++v) frequency.push_back(1000000 / (v + 20));
  for (Index k : {1, 6}) {
    auto const sums = loads(HashTable::balanced(frequency, k, 60), frequency);
    std::int64_t const most = *std::max_element(sums.begin(), sums.end()),
                       least = *std::min_element(sums.begin(), sums.end());
    BOOST_TEST(double(most - least) / double(least) < 0.01);
    auto const random = loads(HashTable::random(5000, k, 60), frequency);
    BOOST_TEST(*std::max_element(random.begin(), random.end()) > most);
  }
}

BOOST_AUTO_TEST_CASE(tokens_that_never_occur_are_spread_too) {
  std::vector<std::int64_t> const never(10, 0);
  auto const table = HashTable::balanced(never, 1, 5);
  BOOST_TEST((loads(table, std::vector<std::int64_t>(10, 1)) == std::vector<std::int64_t>(5, 2)));
}

BOOST_AUTO_TEST_CASE(random_and_by_id) {
  auto const table = HashTable::random(6000, 3, 7, 11);
  for (std::int64_t n : loads(table, std::vector<std::int64_t>(6000, 1)))
    BOOST_TEST(std::abs(double(n) - 18000.0 / 7) < 200);
  bool differ = false;
  auto const other = HashTable::random(6000, 3, 7, 12);
  for (Index v = 0; v < 10; ++v) differ = differ || row(table, v) != row(other, v);
  BOOST_TEST(differ);
  BOOST_TEST((row(HashTable::by_id(4, 3, 7), 2) == std::vector<int>{6, 0, 1}));
  BOOST_TEST(HashTable::random(9, 7, 7).vocabulary() == 9); // K = E
  BOOST_TEST(HashTable::random(0, 1, 1).vocabulary() == 0);
}

BOOST_AUTO_TEST_CASE(bad_tables_are_refused) {
  BOOST_CHECK_THROW(HashTable({0, 1, 2, 2}, 2, 4), ShapeError); // twice in a row
  BOOST_CHECK_THROW(HashTable({0, 4}, 2, 4), ShapeError);
  BOOST_CHECK_THROW(HashTable({0, -1}, 2, 4), ShapeError);
  BOOST_CHECK_THROW(HashTable({0, 1, 2}, 2, 4), ShapeError);
  BOOST_CHECK_THROW(HashTable({}, 0, 4), ShapeError);
  BOOST_CHECK_THROW(HashTable::random(3, 5, 4), ShapeError);
  BOOST_CHECK_THROW(HashTable::by_id(3, 1, 4).selection<2>(), ShapeError);
  std::vector<std::int64_t> const negative{1, -1};
  BOOST_CHECK_THROW(HashTable::balanced(negative, 1, 4), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
