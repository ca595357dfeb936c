// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The contract of ids: K distinct ids in [0, E) for any bits in the logits, best key first, ties to the lower id, NaN
// last.
#include "support/test.hpp"

#include "contracts/oracle.hpp"

#include <moebal/core/math.hpp>

using namespace contracts;
using namespace moebal_test;

namespace {

/// Whether `chosen` is what the contract says for these keys. Fails also when a choice is not distinct or out of range.
bool obeys(std::vector<double> const& keys, reference::Ids const& chosen) {
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    if (chosen[i] < 0 || std::size_t(chosen[i]) >= keys.size()) return false;
    for (std::size_t j = 0; j < i; ++j)
      if (chosen[i] == chosen[j]) return false;
  }
  return chosen == reference::top_k(keys, chosen.size());
}

/// The fp32 score that the library adds the bias to; the gates' own formulas are checked in tests/gate.
float sigmoid_of(float z) { return moebal::math::sigmoid(z); }

} // namespace

BOOST_AUTO_TEST_SUITE(contracts_ids)

BOOST_AUTO_TEST_CASE(any_bits_any_shape) {
  FOR_EACH_BACKEND(b)
  for (Kind kind : all_kinds)
    for (Index experts : {1, 3, 8, 17, 60, 384})
      for (Index k : {1, 3, 8}) {
        if (k > experts) continue;
        Index const tokens = experts > 100 ? 9 : 37;
        auto const x = logits_of(kind, tokens, experts);
        for (std::size_t g : {0u, 2u}) {
          auto const r = route(b, gates[g], {.k = k}, matrix(x, tokens, experts));
          BOOST_TEST_CONTEXT(name_of(kind) << ", E " << experts << ", K " << k << ", " << gate_names[g]) {
            BOOST_TEST(r.in_bounds);
            for (Index t = 0; t < tokens; ++t)
              BOOST_TEST_REQUIRE(obeys(row_of(x, experts, t), ids_of(r, t)), "token " << t);
          }
        }
      }
}

BOOST_AUTO_TEST_CASE(any_bits_in_double) {
  FOR_EACH_BACKEND(b)
  for (Kind kind : all_kinds)
    for (Index experts : {3, 60, 161}) {
      auto x = logits_of<double>(kind, 21, experts);
      if (kind == Kind::Bell) // keys that differ only beyond fp32
        for (std::size_t i = 1; i < x.size(); i += 2) x[i] = x[i - 1] * (1 + 0x1p-45);
      auto const r = route(b, gates[1], {.k = 3}, matrix(x, 21, experts));
      BOOST_TEST_CONTEXT(name_of(kind) << ", E " << experts)
      for (Index t = 0; t < 21; ++t) BOOST_TEST_REQUIRE(obeys(row_of(x, experts, t), ids_of(r, t)), "token " << t);
    }
}

BOOST_AUTO_TEST_CASE(one_nan_is_chosen_last_and_counted) {
  FOR_EACH_BACKEND(b)
  for (Index at = 0; at < 8; ++at) {
    std::vector<float> x(8, -std::numeric_limits<float>::infinity());
    x[std::size_t(at)] = std::numeric_limits<float>::quiet_NaN();
    auto const r = route(b, moebal::Sigmoid{}, {.k = 8}, matrix(x, 1, 8));
    BOOST_TEST(r.id(0, 7) == at);
    for (Index k = 0; k < 7; ++k) BOOST_TEST(r.id(0, k) == (k < at ? k : k + 1));
    BOOST_TEST(r.stats().bad_rows() == 1);
    auto const first = route(b, moebal::Sigmoid{}, {.k = 3}, matrix(x, 1, 8)); // not chosen, but reported
    for (Index k = 0; k < 3; ++k) BOOST_TEST(first.id(0, k) != at);
    BOOST_TEST(first.stats().bad_rows() == 1);
  }
}

BOOST_AUTO_TEST_CASE(bad_rows_are_those_with_nan_or_undefined_weights) {
  FOR_EACH_BACKEND(b) {
    Index const experts = 20, tokens = 200;
    auto const x = logits_of(Kind::Specials, tokens, experts, 5);
    auto const good = logits_of(Kind::Bell, tokens, experts, 5);
    auto mixed = good;
    for (Index t = 0; t < tokens; t += 3) std::copy_n(x.begin() + t * experts, experts, mixed.begin() + t * experts);
    for (std::size_t g = 0; g < 4; ++g) {
      auto const r = route(b, gates[g], {.k = 3}, matrix(mixed, tokens, experts));
      std::int64_t bad = 0;
      for (Index t = 0; t < tokens; ++t) {
        bool is_bad = false;
        for (Index e = 0; e < experts; ++e) is_bad = is_bad || std::isnan(mixed[std::size_t(t * experts + e)]);
        for (Index k = 0; k < 3; ++k) is_bad = is_bad || !std::isfinite(r.weight(t, k));
        bad += is_bad;
      }
      BOOST_TEST(r.stats().bad_rows() == bad);
      BOOST_TEST(bad > 0);
      BOOST_TEST(bad <= (tokens + 2) / 3);
      BOOST_TEST(r.stats().tokens() == tokens);
      BOOST_TEST(route(b, gates[g], {.k = 3}, matrix(good, tokens, experts)).stats().bad_rows() == 0);
    }
  }
}

BOOST_AUTO_TEST_CASE(with_a_bias_the_score_plus_bias_ranks) {
  FOR_EACH_BACKEND(b)
  for (Kind kind : all_kinds)
    for (Index experts : {3, 33, 256}) {
      Index const tokens = 23;
      auto const x = logits_of(kind, tokens, experts);
      Options options{.bias = bias_of(experts, 0.3f)};
      options.bias[0] = options.bias[1] = options.bias[2]; // ties where logits tie
      auto const r = route(b, moebal::Sigmoid{}, {.k = 3}, matrix(x, tokens, experts), options);
      for (Index t = 0; t < tokens; ++t) {
        std::vector<double> keys;
        for (Index e = 0; e < experts; ++e)
          keys.push_back(sigmoid_of(x[std::size_t(t * experts + e)]) + options.bias[std::size_t(e)]);
        BOOST_TEST_REQUIRE(obeys(keys, ids_of(r, t)), name_of(kind) << ", E " << experts << ", token " << t);
      }
    }
}

BOOST_AUTO_TEST_CASE(any_bits_in_the_bias) {
  FOR_EACH_BACKEND(b)
  for (Kind kind : {Kind::AnyBits, Kind::Specials, Kind::AllNan, Kind::AllPlusInf, Kind::AllMinusInf}) {
    Index const experts = 40;
    auto const x = logits_of(Kind::Specials, 16, experts, 3);
    Options const options{.bias = logits_of(kind, 1, experts, 9)};
    auto const r = route(b, moebal::Sigmoid{}, {.k = 8}, matrix(x, 16, experts), options);
    for (Index t = 0; t < 16; ++t) {
      std::vector<double> keys;
      for (Index e = 0; e < experts; ++e)
        keys.push_back(sigmoid_of(x[std::size_t(t * experts + e)]) + options.bias[std::size_t(e)]);
      BOOST_TEST_REQUIRE(obeys(keys, ids_of(r, t)), name_of(kind) << ", token " << t);
    }
  }
}

// In double the oracle's own scores decide: they differ from ours by rounding, which no random tie is near to.
BOOST_AUTO_TEST_CASE(groups_as_the_reference) {
  struct Shape {
    Index experts, groups, kept, sum_of;
    moebal::GroupScore score;
  };
  using enum moebal::GroupScore;
  Shape const shapes[] = {{24, 8, 4, 2, SumTop}, {24, 8, 1, 2, SumTop}, {24, 4, 2, 2, Max},     {60, 3, 2, 20, SumTop},
                          {64, 1, 1, 2, SumTop}, {64, 8, 8, 2, Max},    {12, 12, 5, 2, SumTop}, {160, 8, 3, 3, SumTop}};
  FOR_EACH_BACKEND(b)
  for (Shape const& s : shapes)
    for (bool biased : {false, true}) {
      auto const x = logits_of<double>(Kind::Bell, 41, s.experts, 2);
      Options const options{.bias = biased ? bias_of(s.experts, 0.2f) : std::vector<float>()};
      reference::Groups const groups{std::size_t(s.groups), std::size_t(s.kept),
                                     s.score == Max ? 1u : std::size_t(s.sum_of)};
      reference::Gate const gate{.score = reference::Score::Sigmoid};
      auto const r =
          route(b, moebal::Sigmoid{}, {3, s.groups, s.kept, s.score, s.sum_of}, matrix(x, 41, s.experts), options);
      for (Index t = 0; t < 41; ++t)
        BOOST_TEST_REQUIRE(
            (ids_of(r, t) == reference::choose(gate, row_of(x, s.experts, t),
                                               reference::Row(options.bias.begin(), options.bias.end()), 3, &groups)),
            "E " << s.experts << ", groups " << s.groups << ", kept " << s.kept << ", token " << t);
    }
}

BOOST_AUTO_TEST_CASE(groups_for_any_bits) {
  FOR_EACH_BACKEND(b)
  for (Kind kind : all_kinds)
    for (auto score : {moebal::GroupScore::Max, moebal::GroupScore::SumTop}) {
      Index const experts = 32, tokens = 31;
      auto const x = logits_of(kind, tokens, experts, 4);
      auto const r = route(b, moebal::SoftmaxOverChosen{}, {3, 8, 2, score, 2},
                           matrix(x, tokens, experts)); // scores are the logits
      reference::Groups const groups{8, 2, score == moebal::GroupScore::Max ? 1u : 2u};
      reference::Gate const gate{.score = reference::Score::SoftmaxOverChosen};
      for (Index t = 0; t < tokens; ++t) {
        if (kind == Kind::AnyBits && score == moebal::GroupScore::SumTop) { // sums near FLT_MAX overflow in fp32 alone
          reference::Ids const ids = ids_of(r, t);
          for (int e : ids) BOOST_TEST_REQUIRE((e >= 0 && e < experts));
          BOOST_TEST_REQUIRE((ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]));
          continue;
        }
        if (score == moebal::GroupScore::SumTop && kind == Kind::Bell)
          continue; // fp32 sums round: see the case in double
        BOOST_TEST_REQUIRE((ids_of(r, t) == reference::choose(gate, row_of(x, experts, t), {}, 3, &groups)),
                           name_of(kind) << ", token " << t);
      }
    }
}

BOOST_AUTO_TEST_CASE(equal_groups_go_to_the_lower_one) {
  FOR_EACH_BACKEND(b) {
    std::vector<float> const x(24, 0.5f);
    auto const r = route(b, moebal::Sigmoid{}, {3, 8, 2, moebal::GroupScore::SumTop, 2}, matrix(x, 1, 24));
    BOOST_TEST((r.ids == std::vector<ExpertId>{0, 1, 2}));
    auto y = x;
    y[23] = 1; // group 7 is best, then group 0
    auto const s = route(b, moebal::Sigmoid{}, {3, 8, 2, moebal::GroupScore::SumTop, 2}, matrix(y, 1, 24));
    BOOST_TEST((s.ids == std::vector<ExpertId>{23, 0, 1}));
  }
}

// Mutants: choices that are wrong in one way each, which the checker above must refuse.
BOOST_AUTO_TEST_CASE(the_checker_refuses_mutants) {
  std::vector<double> const nan_row{1, std::nan(""), 3, 3, -std::numeric_limits<double>::infinity()};
  BOOST_TEST(obeys(nan_row, {2, 3, 0, 4, 1}));
  BOOST_TEST(!obeys(nan_row, {3, 2, 0, 4, 1})); // ties to the higher id
  BOOST_TEST(!obeys(nan_row, {1, 2, 3, 0, 4})); // NaN first
  BOOST_TEST(!obeys(nan_row, {2, 3, 0, 1, 4})); // NaN equal to -inf, the lower id first
  BOOST_TEST(!obeys(nan_row, {2, 3, 0, 4, 4})); // the NaN expert never chosen, another one twice
  BOOST_TEST(!obeys(nan_row, {2, 3, 0, 4, 5})); // no such expert
  BOOST_TEST(!obeys(nan_row, {0, 2, 3}));       // the right set in the wrong order
  std::vector<double> const zeros{-0.0, 0.0};
  BOOST_TEST(obeys(zeros, {0, 1}));
  BOOST_TEST(!obeys(zeros, {1, 0})); // -0 below +0
}

BOOST_AUTO_TEST_SUITE_END()
