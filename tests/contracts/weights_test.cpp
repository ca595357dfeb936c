// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The contract of weights: made from the score alone, fp32 or better inside, finite where a sum underflows.
#include "support/test.hpp"

#include "contracts/oracle.hpp"

#include <moebal/core/math.hpp>

using namespace contracts;
using namespace moebal_test;

BOOST_AUTO_TEST_SUITE(contracts_weights)

template <class Real> void as_the_reference(std::size_t b, double tolerance) {
  for (Gate const& gate : gate_options())
    for (Index k : {1, 3, 8})
      for (Kind kind : {Kind::Bell, Kind::Wide, Kind::Coarse, Kind::Equal}) {
        Index const tokens = 11, experts = 29;
        auto const x = logits_of<Real>(kind, tokens, experts, 3);
        auto const r = route(b, gate, {.k = k}, matrix(x, tokens, experts));
        for (Index t = 0; t < tokens; ++t) {
          reference::Row const w = reference::weights(reference_gate(gate), row_of(x, experts, t), ids_of(r, t));
          for (Index i = 0; i < k; ++i) {
            double const expected = w[std::size_t(i)], got = double(r.weight(t, i));
            // Scores below the least normal number go to 0 or stay at the saturated score.
            double const floor = sizeof(Real) == 4 ? 1e-18 : 1e-150;
            BOOST_TEST_REQUIRE((std::abs(got - expected) <= tolerance * std::abs(expected) + floor),
                               describe(gate) << ", K " << k << ", " << name_of(kind) << ", token " << t << ", choice "
                                              << i << ": " << expected << " expected, " << got << " given");
          }
        }
      }
}

BOOST_AUTO_TEST_CASE(as_the_reference_in_double) { FOR_EACH_BACKEND(b) as_the_reference<double>(b, 2e-14); }
BOOST_AUTO_TEST_CASE(as_the_reference_in_float) { FOR_EACH_BACKEND(b) as_the_reference<float>(b, 3e-6); }

// score + bias - bias would lose all of the score here.
bool keeps_precision(float weight, double logit) {
  double const exact = reference::sigmoid(logit);
  return std::abs(double(weight) - exact) <= 4e-7 * exact;
}
BOOST_AUTO_TEST_CASE(a_bias_does_not_reach_the_weights) {
  moebal::Sigmoid const raw{.normalise = moebal::Normalise::None};
  FOR_EACH_BACKEND(b) {
    Index const experts = 16;
    std::vector<float> x(16);
    for (std::size_t e = 0; e < 16; ++e) x[e] = -16.0f - 0.1f * float(e); // scores of about 1e-7
    Options const options{.bias = std::vector<float>(16, 12.0f)};
    auto const r = route(b, raw, {.k = 8}, matrix(x, 1, experts), options);
    for (Index k = 0; k < 8; ++k) {
      double const z = x[std::size_t(r.id(0, k))];
      BOOST_TEST(keeps_precision(r.weight(0, k), z));
      float const score = moebal::math::sigmoid(float(z));
      float const recovered = float(score + 12.0f) - 12.0f;
      BOOST_TEST(!keeps_precision(recovered, z)); // the mutant
    }
    // Normalised weights too: the same as those of the chosen ids without a bias.
    auto const normalised = route(b, moebal::Sigmoid{}, {.k = 8}, matrix(x, 1, experts), options);
    for (Index k = 0; k < 8; ++k) {
      reference::Row const w =
          reference::weights(reference_gate(moebal::Sigmoid{}), row_of(x, experts, 0), ids_of(normalised, 0));
      BOOST_TEST(std::abs(double(normalised.weight(0, k)) - w[std::size_t(k)]) <= 1e-6 * w[std::size_t(k)]);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_constant_added_to_all_biases_changes_nothing) {
  FOR_EACH_BACKEND(b)
  for (std::size_t g = 0; g < 4; ++g) {
    Index const experts = 40, tokens = 25;
    std::vector<float> x = logits_of(Kind::Coarse, tokens, experts);
    // Scores of a few bits, so that the shift is exact and no rounding of score + bias decides.
    Gate const gate = gates[g];
    bool const is_logit = std::holds_alternative<moebal::SoftmaxOverChosen>(gate);
    Options a, shifted;
    for (Index e = 0; e < experts; ++e) a.bias.push_back(is_logit ? float(e % 7) * 0.25f : float(e % 7) * 4);
    for (float bias : a.bias) shifted.bias.push_back(bias + (is_logit ? 8.0f : 0.0f));
    if (!is_logit) // equal scores everywhere: the bias decides alone, and any shift keeps its order
      for (float& z : x) z = 0.5f;
    if (!is_logit)
      for (float& bias : shifted.bias) bias += 64;
    auto const r = route(b, gate, {.k = 3}, matrix(x, tokens, experts), a);
    auto const s = route(b, gate, {.k = 3}, matrix(x, tokens, experts), shifted);
    BOOST_TEST(same_bits(r, s), gate_names[g]);
    auto const none = route(b, gate, {.k = 3}, matrix(x, tokens, experts));
    BOOST_TEST(!same_bits(r.ids, none.ids)); // the bias did something
    Options const zero{.bias = std::vector<float>(std::size_t(experts), 0.0f)};
    BOOST_TEST(same_bits(none, route(b, gate, {.k = 3}, matrix(x, tokens, experts), zero)), gate_names[g]);
  }
}

BOOST_AUTO_TEST_CASE(an_underflowing_sum_gives_finite_weights) {
  float const inf = std::numeric_limits<float>::infinity();
  FOR_EACH_BACKEND(b)
  for (Gate const& gate : gate_options()) {
    // Chosen by bias, far below the rest: their softmax and sigmoid scores underflow.
    std::vector<float> x(12, 5.0f);
    x[3] = -200, x[5] = -201, x[9] = -210;
    Options options{.bias = std::vector<float>(12, 0.0f)};
    for (std::size_t e : {3u, 5u, 9u}) options.bias[e] = 1000;
    auto const r = route(b, gate, {.k = 3}, matrix(x, 1, 12), options);
    for (Index k = 0; k < 3; ++k) {
      BOOST_TEST((r.id(0, k) == 3 || r.id(0, k) == 5 || r.id(0, k) == 9));
      BOOST_TEST(std::isfinite(r.weight(0, k)), describe(gate) << ": " << r.weight(0, k));
    }
    BOOST_TEST(r.stats().bad_rows() == 0);
    // The same with -inf among the chosen.
    x[9] = -inf;
    auto const s = route(b, gate, {.k = 3}, matrix(x, 1, 12), options);
    for (Index k = 0; k < 3; ++k) BOOST_TEST(std::isfinite(s.weight(0, k)), describe(gate));
  }
  FOR_EACH_BACKEND(b) { // softmax over the chosen stays exact where every probability underflows
    std::vector<float> x(8, 500.0f);
    x[1] = 0, x[2] = 1, x[4] = -inf;
    Options options{.bias = std::vector<float>(8, 0.0f)};
    options.bias[1] = options.bias[2] = 1e6f, options.bias[4] = 1e5f;
    moebal::Softmax const gate{.normalise = moebal::Normalise::OverChosen};
    auto const r = route(b, gate, {.k = 3}, matrix(x, 1, 8), options);
    BOOST_TEST((ids_of(r, 0) == reference::Ids{1, 2, 4}));
    BOOST_TEST(std::abs(double(r.weight(0, 1)) - 1 / (1 + std::exp(-1.0))) < 1e-6);
    BOOST_TEST(r.weight(0, 2) == 0);
  }
}

BOOST_AUTO_TEST_CASE(undefined_weights_are_one_nan_and_counted) {
  FOR_EACH_BACKEND(b)
  for (std::size_t g = 0; g < 4; ++g)
    for (Kind kind : {Kind::AllNan, Kind::AllPlusInf}) {
      auto const x = logits_of(kind, 3, 9);
      auto const r = route(b, gates[g], {.k = 3}, matrix(x, 3, 9));
      bool const finite = kind == Kind::AllPlusInf && g == 2; // sigmoid(inf) is 1
      for (float w : r.weights) {
        if (finite)
          BOOST_TEST(std::isfinite(w));
        else
          BOOST_TEST(std::bit_cast<std::uint32_t>(w) == 0x7fc00000u);
      }
      BOOST_TEST(r.stats().bad_rows() == (finite ? 0 : 3));
    }
}

BOOST_AUTO_TEST_SUITE_END()
