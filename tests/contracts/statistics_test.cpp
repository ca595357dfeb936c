// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Conservation, the one padding mask, and split invariance of the statistics.
#include "support/test.hpp"

#include "contracts/oracle.hpp"

#include <numeric>

using namespace contracts;
using namespace moebal_test;
namespace stats = moebal::stats;

namespace {

std::int64_t total(moebal::VectorView<std::int64_t> v) { return std::accumulate(v.begin(), v.end(), std::int64_t(0)); }

/// Whether the counts sum to K (first choices: 1) per token that is not padding.
template <class Real> bool conserves(Outcome<Real> const& r, std::vector<std::uint8_t> const& padding) {
  std::int64_t tokens = 0;
  for (Index t = 0; t < r.tokens; ++t) tokens += padding.empty() || !padding[std::size_t(t)];
  std::int64_t seen = 0, all = 0, first = 0, unbiased = 0, unbiased_first = 0;
  auto const load = r.stats();
  for (Index s = 0; s < r.sequences; ++s) {
    seen += load.tokens(s);
    all += total(load.template get<stats::Counts>(s));
    first += total(load.template get<stats::FirstChoiceCounts>(s));
    unbiased += total(load.template get<stats::UnbiasedCounts>(s));
    unbiased_first += total(load.template get<stats::UnbiasedFirstChoiceCounts>(s));
  }
  return seen == tokens && all == tokens * r.top_k && first == tokens && unbiased == all && unbiased_first == first;
}

} // namespace

BOOST_AUTO_TEST_SUITE(contracts_statistics)

BOOST_AUTO_TEST_CASE(counts_are_conserved_for_any_bits) {
  FOR_EACH_BACKEND(b)
  for (Kind kind : all_kinds)
    for (std::size_t g = 0; g < 4; ++g) {
      auto const x = logits_of(kind, 57, 19);
      Options const options{.bias = bias_of(19, 1), .padding = padding_of(57), .segments = segments_of(57, 5)};
      BOOST_TEST(conserves(route(b, gates[g], {.k = 8}, matrix(x, 57, 19), options), options.padding), name_of(kind));
      BOOST_TEST(conserves(route(b, gates[g], {.k = 8}, matrix(x, 57, 19)), {}), name_of(kind));
    }
}

BOOST_AUTO_TEST_CASE(the_checker_refuses_a_lost_and_a_padding_token) {
  auto const x = logits_of(Kind::Bell, 57, 19);
  Options const options{.bias = {}, .padding = padding_of(57), .segments = {}};
  auto r = route(0, gates[2], {.k = 3}, matrix(x, 57, 19), options);
  auto lost = r;
  lost.stats().get<stats::Counts>()[4] -= 1;
  BOOST_TEST(!conserves(lost, options.padding));
  BOOST_TEST(!conserves(r, {}));
}

template <class Real> void as_the_reference(std::size_t b, double unit) {
  for (std::size_t g = 0; g < 4; ++g) {
    Index const tokens = 61, experts = 33, sequences = 4;
    auto const x = logits_of<Real>(Kind::Bell, tokens, experts);
    Options const options{
        .bias = bias_of(experts, 0.3f), .padding = padding_of(tokens), .segments = segments_of(tokens, sequences)};
    auto const r = route(b, gates[g], {.k = 3}, matrix(x, tokens, experts), options);
    reference::Gate const gate = reference_gate(gates[g]);
    reference::Matrix const logits(x.data(), std::size_t(tokens), std::size_t(experts));
    reference::Routing routing{std::vector<reference::Ids>(), reference::Matrix()};
    for (Index t = 0; t < tokens; ++t) routing.ids.push_back(ids_of(r, t));
    auto const load = r.stats();
    for (Index s = 0; s < sequences; ++s) {
      auto const sums = reference::sums(gate, logits, routing, std::size_t(options.segments[std::size_t(s)]),
                                        std::size_t(options.segments[std::size_t(s) + 1]));
      BOOST_TEST(load.tokens(s) == sums.tokens);
      auto const equal = [](moebal::VectorView<std::int64_t> v, std::vector<std::int64_t> const& expected) {
        BOOST_TEST((std::vector<std::int64_t>(v.begin(), v.end()) == expected));
      };
      equal(load.template get<stats::Counts>(s), sums.counts);
      equal(load.template get<stats::FirstChoiceCounts>(s), sums.first);
      equal(load.template get<stats::UnbiasedCounts>(s), sums.unbiased);
      equal(load.template get<stats::UnbiasedFirstChoiceCounts>(s), sums.unbiased_first);
      double const rounding = sizeof(Real) == 4 ? 1e-6 : 1e-14;
      for (Index e = 0; e < experts; ++e) {
        double const expected = sums.score_sums[std::size_t(e)];
        double const got = double(load.template get<stats::ScoreSums>(s)[e]) / stats::score_one<Real>;
        BOOST_TEST_REQUIRE((std::abs(got - expected) <= double(tokens) * unit + rounding * expected),
                           gate_names[g] << ", expert " << e);
      }
      auto const squares = load.template get<stats::LogSumExpSquares>(s);
      double const lse = double(squares[0]) + double(squares[1]) / stats::square_one;
      BOOST_TEST(std::abs(lse - sums.lse_squares) <= rounding * (1 + sums.lse_squares));
    }
  }
}
BOOST_AUTO_TEST_CASE(as_the_reference_in_float) { FOR_EACH_BACKEND(b) as_the_reference<float>(b, 0x1p-33); }
BOOST_AUTO_TEST_CASE(as_the_reference_in_double) { FOR_EACH_BACKEND(b) as_the_reference<double>(b, 0x1p-43); }

BOOST_AUTO_TEST_CASE(padding_rows_are_nowhere) {
  FOR_EACH_BACKEND(b)
  for (std::size_t g = 0; g < 4; ++g) {
    Index const tokens = 40, experts = 21;
    auto x = logits_of(Kind::Bell, tokens, experts);
    Options const options{.bias = bias_of(experts, 0.1f), .padding = padding_of(tokens), .segments = {}};
    std::vector<float> dense; // the same tokens without the padding rows
    for (Index t = 0; t < tokens; ++t)
      if (!options.padding[std::size_t(t)])
        dense.insert(dense.end(), x.begin() + t * experts, x.begin() + (t + 1) * experts);
    Index const valid = Index(dense.size()) / experts;
    for (Index t = 0; t < tokens; ++t) // whatever a padding row holds
      if (options.padding[std::size_t(t)])
        for (Index e = 0; e < experts; ++e) x[std::size_t(t * experts + e)] = std::numeric_limits<float>::quiet_NaN();
    auto const r = route(b, gates[g], {.k = 3}, matrix(x, tokens, experts), options);
    auto const d = route(b, gates[g], {.k = 3}, matrix(dense, valid, experts), Options{.bias = options.bias});
    BOOST_TEST(same_bits(r.load, d.load), gate_names[g]);
    Index at = 0;
    for (Index t = 0; t < tokens; ++t)
      for (Index k = 0; k < 3; ++k) {
        bool const is_padding = options.padding[std::size_t(t)];
        BOOST_TEST(r.id(t, k) == (is_padding ? moebal::no_expert : d.ids[std::size_t(at)]));
        BOOST_TEST(r.weight(t, k) == (is_padding ? 0.0f : d.weights[std::size_t(at)]));
        at += !is_padding;
      }
  }
}

BOOST_AUTO_TEST_CASE(sequences_are_separate_batches) {
  FOR_EACH_BACKEND(b)
  for (std::size_t g = 0; g < 4; ++g) {
    Index const tokens = 91, experts = 24, sequences = 7;
    auto const x = logits_of(Kind::Bell, tokens, experts);
    Options const options{
        .bias = bias_of(experts, 0.1f), .padding = padding_of(tokens), .segments = segments_of(tokens, sequences)};
    auto const r = route(b, gates[g], {.k = 3}, matrix(x, tokens, experts), options);
    for (Index s = 0; s < sequences; ++s) {
      Index const first = options.segments[std::size_t(s)], count = options.segments[std::size_t(s) + 1] - first;
      Options const alone{.bias = options.bias,
                          .padding = {options.padding.begin() + first, options.padding.begin() + first + count},
                          .segments = {}};
      auto const a = route(b, gates[g], {.k = 3},
                           moebal::MatrixView<float const>(x.data() + first * experts, count, experts), alone);
      Index const slots = All::slots(experts);
      BOOST_TEST((std::equal(a.load.begin(), a.load.end(), r.load.begin() + s * slots)),
                 gate_names[g] << ", sequence " << s);
      BOOST_TEST((std::equal(a.ids.begin(), a.ids.end(), r.ids.begin() + first * 3)));
    }
  }
}

BOOST_AUTO_TEST_CASE(any_cut_of_the_rows_sums_to_the_same) {
  FOR_EACH_BACKEND(b)
  for (Kind kind : {Kind::Bell, Kind::Specials, Kind::Wide})
    for (std::size_t g = 0; g < 4; ++g) {
      Index const tokens = 100, experts = 37;
      auto const x = logits_of(kind, tokens, experts);
      Options const options{.bias = bias_of(experts, 0.1f)};
      auto const whole = route(b, gates[g], {.k = 8}, matrix(x, tokens, experts), options);
      for (Index parts : {2, 3, 7, 100}) {
        std::vector<std::int64_t> sum(whole.load.size());
        for (Index p = 0; p < parts; ++p) {
          Index const first = tokens * p / parts, count = tokens * (p + 1) / parts - first;
          auto const part = route(b, gates[g], {.k = 8},
                                  moebal::MatrixView<float const>(x.data() + first * experts, count, experts), options);
          for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += part.load[i];
        }
        BOOST_TEST((sum == whole.load), name_of(kind) << ", " << gate_names[g] << ", parts " << parts);
      }
    }
}

BOOST_AUTO_TEST_CASE(huge_and_undefined_squares_are_clamped) {
  FOR_EACH_BACKEND(b) {
    auto const square = [&](float z) {
      std::vector<float> const x(3, z);
      auto const r = route(b, gates[0], {.k = 1}, matrix(x, 1, 3));
      auto const s = r.stats().get<stats::LogSumExpSquares>();
      return double(s[0]) + double(s[1]) / stats::square_one;
    };
    BOOST_TEST(square(3e38f) == stats::square_limit);
    BOOST_TEST(square(std::numeric_limits<float>::quiet_NaN()) == 0);
    BOOST_TEST(square(std::numeric_limits<float>::infinity()) == 0);
    BOOST_TEST(std::abs(square(100) - std::pow(100 + std::log(3.0), 2)) < 1e-3);
  }
}

BOOST_AUTO_TEST_SUITE_END()
