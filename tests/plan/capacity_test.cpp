// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/plan/capacity.hpp>

#include <limits>

namespace mb = moebal;
using mb::Index;

BOOST_AUTO_TEST_SUITE(plan_capacity)

// The numbers of the next four cases were printed by the peers' own code (Megatron-LM d98e8a64, DeepSpeed edaa7221,
// vmoe 942a78bc, Tutel 82af7aad). Factors are the fp32 values that those runs read.

BOOST_AUTO_TEST_CASE(megatron_values) {
  struct Case {
    float factor;
    Index minimum, experts, pairs, slots;
  };
  for (Case const& c : {Case{3.7f, 0, 3, 0, 0}, Case{1.1f, 0, 384, 1, 1}, Case{0.5f, 4, 384, 2646, 4},
                        Case{1.0f, 0, 3, 4259, 1420}, Case{0.25f, 8, 8, 1484, 47}, Case{3.7f, 0, 1, 1194, 4418},
                        Case{1.3f, 0, 1, 1575, 2048}, Case{0.7f, 8, 64, 2502, 28}, Case{1.1f, 0, 384, 4506, 13},
                        Case{2.0f, 8, 160, 551, 8}, Case{3.7f, 0, 3, 600, 741}})
    BOOST_TEST(mb::capacities::megatron(c.factor, c.minimum).slots({c.pairs, 1, c.experts}) == c.slots);
  BOOST_TEST(mb::capacities::megatron(1.25).slots({100, 8, 64}) == 16); // 100 * 8 / 64 * 1.25 = 15.625
}

BOOST_AUTO_TEST_CASE(deepspeed_values) {
  struct Case {
    float factor;
    Index minimum, experts, tokens, slots;
  };
  for (Case const& c : {Case{0.7f, 4, 7, 1557, 156}, Case{1.1f, 4, 64, 183, 4}, Case{3.7f, 0, 1, 1710, 6327},
                        Case{3.7f, 8, 1, 961, 3556}, Case{1.3f, 4, 3, 2045, 887}, Case{2.0f, 8, 7, 192, 55},
                        Case{1.0f, 0, 160, 1942, 13}, Case{1.25f, 8, 1, 1917, 2397}})
    BOOST_TEST(mb::capacities::deepspeed(c.factor, c.minimum).slots({c.tokens, 1, c.experts}) == c.slots);
  // In double the same shape gives one slot more: the two formulas must not be merged.
  BOOST_TEST(mb::capacities::megatron(3.7f).slots({1710, 1, 1}) == 6328);
  BOOST_TEST(mb::capacities::deepspeed(0.5, 2).slots({16, 2, 8}) == 2); // topkgating T16 E8 k2 cf 0.5
}

BOOST_AUTO_TEST_CASE(vmoe_values) {
  struct Case {
    float factor;
    bool up;
    Index multiple, experts, tokens, slots;
  };
  for (Case const& c :
       {Case{0.01f, true, 1, 8, 291, 1}, Case{1.0f, false, 4, 64, 1199, 20}, Case{1.25f, false, 4, 3, 1924, 804},
        Case{0.01f, true, 8, 7, 523, 8}, Case{1.25f, true, 1, 8, 1977, 309}, Case{0.5f, false, 8, 3, 1358, 232},
        Case{1.0f, false, 1, 60, 858, 14}, Case{0.5f, false, 1, 3, 1755, 292}, Case{2.0f, true, 4, 7, 430, 124}})
    BOOST_TEST(mb::capacities::vmoe(c.factor, c.up ? mb::Rounding::Up : mb::Rounding::NearestEven, c.multiple)
                   .slots({c.tokens, 1, c.experts}) == c.slots);
  // 5 / 2 = 2.5 and 7 / 2 = 3.5: halves go to the even number.
  BOOST_TEST(mb::capacities::vmoe(1, mb::Rounding::NearestEven, 1).slots({5, 1, 2}) == 2);
  BOOST_TEST(mb::capacities::vmoe(1, mb::Rounding::NearestEven, 1).slots({7, 1, 2}) == 4);
}

BOOST_AUTO_TEST_CASE(tutel_values) {
  struct Case {
    double factor;
    Index alignment, top_k, experts, tokens, largest, slots;
  };
  for (Case const& c : {Case{1.0, 1, 4, 60, 10, 3, 4}, Case{1.0, 1, 8, 8, 10, 10, 16}, Case{1.25, 4, 1, 8, 16, 5, 4},
                        Case{-0.5, 1, 2, 8, 16, 8, 2}, Case{-4.0, 1, 2, 8, 16, 16, 16}, Case{0.0, 1, 2, 8, 16, 7, 7},
                        Case{1.0, 8, 4, 8, 16, 10, 8}, Case{1.0, 1, 2, 8, 12, 12, 4}, Case{1.0, 1, 2, 8, 1, 1, 2}})
    BOOST_TEST(mb::capacities::tutel(c.factor, c.alignment).slots({c.tokens, c.top_k, c.experts}, c.largest) ==
               c.slots);
  // Without the largest load the number of tokens stands in: no expert can be chosen more often.
  BOOST_TEST(mb::capacities::tutel(0).slots({16, 2, 8}) == 16);
  BOOST_TEST(mb::capacities::tutel(0, 8).slots({16, 2, 8}, 9) == 16);
}

BOOST_AUTO_TEST_CASE(other_formulas) {
  BOOST_TEST(mb::capacities::gshard(1.25).slots({1024, 2, 64}) == 20); // no factor K
  BOOST_TEST(mb::capacities::gshard(1.25).slots({1024, 2, 1024}) == 4);
  BOOST_TEST(mb::capacities::gshard(100).slots({64, 2, 8}) == 64); // no more than there are tokens
  BOOST_TEST(mb::capacities::gshard(1).slots({3, 2, 8}) == 4);
  BOOST_TEST(mb::capacities::fairscale().slots({33, 2, 8}) == 10);
  BOOST_TEST(mb::capacities::absolute(0).slots({33, 2, 8}) == 0);
  BOOST_TEST(mb::capacities::absolute(64).slots({6, 2, 8}) == 64);
  BOOST_TEST(mb::capacities::largest_load(16).slots({100, 2, 8}, 33) == 48);
  BOOST_TEST(mb::Capacity{}.slots({16, 2, 8}) == 4);
}

BOOST_AUTO_TEST_CASE(sixty_four_bits) {
  BOOST_TEST(mb::capacities::megatron(1).slots({Index(1) << 40, 8, 4}) == Index(1) << 41);
  BOOST_TEST(mb::capacities::megatron(1e300).slots({1000, 8, 4}) == Index(1) << 62);
  BOOST_TEST(mb::capacities::absolute(mb::Capacity::unlimited).slots({1, 1, 1}) == mb::Capacity::unlimited);
  mb::Capacity wide{.formula = mb::CapacityFormula::WholeShare, .factor = 1e300};
  BOOST_TEST(wide.slots({1000, 8, 4}) == mb::Capacity::unlimited);
}

BOOST_AUTO_TEST_CASE(no_tokens) {
  for (auto const& c : {mb::capacities::megatron(1.5), mb::capacities::tutel(1.5), mb::capacities::vmoe(1.5),
                        mb::capacities::fairscale(), mb::capacities::largest_load(), mb::capacities::deepspeed(1.5, 0)})
    BOOST_TEST(c.slots({0, 2, 8}) == 0);
}

BOOST_AUTO_TEST_CASE(refuses) {
  auto const says = [](char const* text) {
    return [text](mb::ShapeError const& e) { return std::string(e.what()).find(text) != std::string::npos; };
  };
  BOOST_CHECK_EXCEPTION(mb::Capacity{}.slots({1, 1, 0}), mb::ShapeError,
                        says("experts of a capacity: needed at least 1, had 0"));
  BOOST_CHECK_EXCEPTION(mb::Capacity{}.slots({-1, 1, 1}), mb::ShapeError, says("tokens of a capacity"));
  BOOST_CHECK_EXCEPTION(mb::Capacity{.multiple = 0}.slots({1, 1, 1}), mb::ShapeError, says("multiple of a capacity"));
  for (double const bad : {-1.0, double(NAN), std::numeric_limits<double>::infinity()})
    BOOST_CHECK_EXCEPTION(mb::Capacity{.factor = bad}.slots({1, 1, 1}), mb::ShapeError,
                          says("capacity factor: needed"));
}

BOOST_AUTO_TEST_SUITE_END()
