// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/router/row_scratch.hpp>

#include <vector>

using namespace moebal;
using moebal::detail::RowScratch;
using moebal::detail::sequence_of;

BOOST_AUTO_TEST_SUITE(router_row_scratch)

// Whatever the shape, pieces neither overlap nor leave the block, and each worker's block is aligned as the first is.
template <class Real> void pieces_fit() {
  using Word = rank_word_t<Real>;
  for (Index experts : {1, 3, 8, 13, 60, 161})
    for (Index k : {1, 3, 8})
      for (Index words : {0, 1, 7}) {
        RowScratch<Real> const s{experts, k, words};
        BOOST_TEST(s.bytes() % 64 == 0u);
        alignas(64) static std::byte memory[1 << 15];
        BOOST_TEST_REQUIRE(s.bytes() <= sizeof(memory));
        auto const end_of = [](auto* p, Index n) { return reinterpret_cast<std::byte*>(p + n); };
        BOOST_TEST((end_of(s.words(memory), experts) <= reinterpret_cast<std::byte*>(s.selection(memory))));
        BOOST_TEST((end_of(s.selection(memory), words) <= reinterpret_cast<std::byte*>(s.values(memory))));
        BOOST_TEST((end_of(s.values(memory), experts) <= reinterpret_cast<std::byte*>(s.chosen(memory))));
        BOOST_TEST((end_of(s.chosen(memory), 2 * k) <= memory + s.bytes()));
        BOOST_TEST((end_of(s.reals(memory), experts + 2 * k) <= memory + s.bytes()));
        BOOST_TEST((end_of(s.spare_ids(memory), k) <= memory + s.bytes()));
        BOOST_TEST(reinterpret_cast<std::uintptr_t>(s.selection(memory)) % alignof(Word) == 0u);
        BOOST_TEST(reinterpret_cast<std::uintptr_t>(s.values(memory)) % alignof(Real) == 0u);
      }
}
BOOST_AUTO_TEST_CASE(pieces_fit_in_float) { pieces_fit<float>(); }
BOOST_AUTO_TEST_CASE(pieces_fit_in_double) { pieces_fit<double>(); }

BOOST_AUTO_TEST_CASE(the_sequence_of_every_token) {
  std::vector<Index> const segments{0, 0, 3, 3, 3, 4, 9, 9}; // empty ones at both ends and inside
  Index const sequences = Index(segments.size()) - 1;
  std::vector<Index> const expected{1, 1, 1, 4, 5, 5, 5, 5, 5};
  for (Index t = 0; t < 9; ++t) BOOST_TEST(sequence_of(segments.data(), sequences, t) == expected[std::size_t(t)]);
  Index const one[] = {0, 5};
  BOOST_TEST(sequence_of(one, 1, 4) == 0);
}

BOOST_AUTO_TEST_SUITE_END()
