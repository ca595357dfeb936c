// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "support/test.hpp"

#include "../../examples/train_moe_lm/data.hpp"

#include <algorithm>

using namespace train;

namespace {

/// A text in which each byte tells its block: 'a' in training blocks, 'V' in validation blocks.
std::string marked_text(Split split, std::int64_t size) {
  std::string text;
  for (std::int64_t i = 0; i < size; ++i) text += i / split.block % split.every == split.every - 1 ? 'V' : 'a';
  return text;
}
bool all_are(std::uint8_t const* window, std::int64_t size, char wanted) {
  return std::all_of(window, window + size, [&](std::uint8_t byte) { return byte == std::uint8_t(wanted); });
}

} // namespace

BOOST_AUTO_TEST_SUITE(examples_data)

BOOST_AUTO_TEST_CASE(no_window_crosses_between_training_and_validation) {
  Split const split{.block = 100, .every = 5};
  Window const window{.context = 10, .length = 20};
  Domain const domain = make_domain("d", marked_text(split, 2345), window, split);
  Random random{1};
  for (int i = 0; i < 2000; ++i) BOOST_TEST(all_are(domain.draw(random), window.size(), 'a'));
  for (std::int64_t n : {1, 3, 4, 7, 40})
    for (std::int64_t i = 0; i < n; ++i) BOOST_TEST(all_are(domain.validation_window(i, n), window.size(), 'V'));
}

BOOST_AUTO_TEST_CASE(every_training_start_is_drawn) {
  Split const split{.block = 16, .every = 3};
  Window const window{.context = 4, .length = 4};
  Domain const domain = make_domain("d", marked_text(split, 100), window, split);
  std::vector<std::uint8_t const*> drawn;
  Random random{2};
  for (int i = 0; i < 5000; ++i) drawn.push_back(domain.draw(random));
  std::sort(drawn.begin(), drawn.end());
  auto const different = std::unique(drawn.begin(), drawn.end()) - drawn.begin();
  BOOST_TEST(different == domain.training_starts.back());
  BOOST_TEST(different == 2 * (32 - 8 + 1)); // runs [0, 32) and [48, 80); the tail [96, 100) is too short
}

BOOST_AUTO_TEST_CASE(validation_windows_are_spread_over_all_blocks) {
  Split const split{.block = 64, .every = 2};
  Window const window{.context = 4, .length = 4};
  Domain const domain = make_domain("d", marked_text(split, 64 * 20), window, split);
  BOOST_TEST(domain.validation.size() == 10u);
  std::vector<int> in_block(10);
  for (std::int64_t i = 0; i < 30; ++i) {
    std::int64_t const offset = domain.validation_window(i, 30) - domain.at(0);
    ++in_block[std::size_t(offset / 128)];
  }
  for (int const n : in_block) BOOST_TEST(n == 3);
}

BOOST_AUTO_TEST_CASE(micro_batches_depend_on_their_number_alone) {
  Split const split{.block = 100, .every = 5};
  std::vector<Domain> domains;
  for (char const* name : {"a", "b", "c"})
    domains.push_back(make_domain(name, marked_text(split, 5000), {.context = 8, .length = 8}, split));
  Corpus const corpus(std::move(domains));
  bool differ_by_number = false, differ_by_seed = false;
  for (std::int64_t step = 0; step < 5; ++step)
    for (std::int64_t n = 3; n < 6; ++n) {
      Batch const batch = corpus.training(7, step, n);
      BOOST_TEST((batch.windows == corpus.training(7, step, n).windows));
      BOOST_TEST(batch.windows.size() == 4u);
      Domain const& domain = corpus.domains()[std::size_t(batch.domain)];
      for (auto const* w : batch.windows) BOOST_TEST((w >= domain.at(0) && w < domain.at(5000))); // all of one domain
      differ_by_number |= batch.windows != corpus.training(7, step, n + 3).windows;
      differ_by_seed |= batch.windows != corpus.training(8, step, n).windows;
    }
  BOOST_TEST(differ_by_number);
  BOOST_TEST(differ_by_seed);
  for (std::int64_t m = 0; m < 6; ++m) BOOST_TEST(corpus.validation(m, 2).domain == m % 3);
}

BOOST_AUTO_TEST_CASE(nodes_read_their_own_domains) {
  auto const corpus = [](Homes homes) {
    std::vector<Domain> domains;
    for (char const* name : {"a", "b", "c", "d", "e"})
      domains.push_back(make_domain(name, std::string(2000, name[0]), {.context = 4, .length = 4}, {.block = 50, .every = 4}));
    return Corpus(std::move(domains), 1, homes);
  };
  // 2 nodes with 6 micro-batches each: 0, 2, 4 and 1, 3; 7 nodes for 5 domains: the last two read what the first do.
  Corpus const any = corpus({}), own = corpus({.nodes = 2, .node_batches = 6, .share = 1}),
               half = corpus({.nodes = 2, .node_batches = 6, .share = 0.5}),
               many = corpus({.nodes = 7, .node_batches = 2, .share = 1});
  std::vector<int> seen(10, 0);
  int moved = 0;
  for (std::int64_t step = 0; step < 200; ++step)
    for (std::int64_t n = 0; n < 12; ++n) {
      std::int64_t const d = own.training(1, step, n).domain, node = n / 6;
      BOOST_TEST(d % 2 == node);
      ++seen[std::size_t(5 * node + d)];
      std::int64_t const other = half.training(1, step, n).domain;
      if (other % 2 != node) BOOST_TEST(other == any.training(1, step, n).domain); // drawn before, and left as it was
      moved += other != any.training(1, step, n).domain;
      BOOST_TEST(many.training(1, step, n).domain == n / 2 % 5);
    }
  BOOST_TEST(std::count(seen.begin(), seen.end(), 0) == 5); // each node saw all of its own
  BOOST_TEST(moved > 600);
  BOOST_TEST(moved < 1200);
}

BOOST_AUTO_TEST_CASE(a_text_too_short_is_refused) {
  BOOST_CHECK_THROW(make_domain("d", std::string(19 * 8192, 'x')), std::invalid_argument);
  BOOST_CHECK_THROW(make_domain("d", ""), std::invalid_argument);
}

BOOST_AUTO_TEST_SUITE_END()
