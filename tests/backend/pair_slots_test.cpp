// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Pairs placed several at a time go where the plain form puts them, whatever the ids and ranks.
#include "support/test.hpp"

#include <moebal/backend/pair_slots.hpp>
#include <moebal/core/random.hpp>

#include <limits>
#include <vector>

using namespace moebal;

BOOST_AUTO_TEST_SUITE(backend_pair_slots)

BOOST_AUTO_TEST_CASE(as_the_plain_form) {
  std::vector<Index> const first{0, 3, 3, 10, 12};
  Index const experts = 4;
  for (Index const most : {Index(0), Index(2), std::numeric_limits<Index>::max()})
    for (Index const n : {0, 1, 7, 8, 9, 16, 29, 160})
      for (std::uint64_t seed = 0; seed < 50; ++seed) {
        std::vector<ExpertId> ids(static_cast<std::size_t>(n));
        std::vector<std::int32_t> ranks(static_cast<std::size_t>(n));
        bool const wild = seed % 3 == 0; // or all pairs have a slot
        for (std::size_t i = 0; i < ids.size(); ++i) {
          std::uint64_t const bits = random::bits(seed, i);
          ids[i] = wild && bits % 7 == 0 ? ExpertId(bits >> 32) : wild ? ExpertId(bits % 6) - 1 : 2;
          ranks[i] = wild && bits % 11 == 0 ? std::int32_t(bits >> 16) : std::int32_t(bits / 8 % 7) - (wild ? 1 : 0);
        }
        std::vector<Index> orders[2], slots[2];
        for (int form = 0; form < 2; ++form) {
          orders[form].assign(12, 99);
          slots[form].assign(ids.size() + seed % 8, 99); // from any place in a line on
          Index* const to_slots = slots[form].data() + seed % 8;
          detail::PairSlots const to{first.data(), experts, most, orders[form].data()};
          if (form == 0)
            to.place_singly(1000, n, ids.data(), ranks.data(), to_slots);
          else
            to.place(1000, n, ids.data(), ranks.data(), to_slots);
        }
        BOOST_TEST((slots[0] == slots[1]));
        BOOST_TEST((orders[0] == orders[1]));
      }
}

BOOST_AUTO_TEST_SUITE_END()
