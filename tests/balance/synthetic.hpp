// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Tokens without a router: what balancing reads of them, made up, and the statistics of any set of them, counted the
// slow way.

#include <moebal/balance/window.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace synthetic {

using moebal::Index;
using AllStatistics = moebal::stats::List<moebal::stats::Counts, moebal::stats::FirstChoiceCounts,
                                          moebal::stats::UnbiasedCounts, moebal::stats::UnbiasedFirstChoiceCounts,
                                          moebal::stats::ScoreSums, moebal::stats::LogSumExpSquares>;

struct Token {
  std::vector<Index> chosen, unbiased; // [K] experts, best first
  std::vector<std::int64_t> scores;    // [E] in fixed-point units, summing to about 1
  double square = 0;                   // logsumexp^2
};

/// T tokens with K distinct choices each, some experts far more popular than others.
inline std::vector<Token> tokens(Index count, Index experts, Index top_k, std::uint64_t seed, double one = 0x1p32) {
  std::mt19937_64 random(seed);
  auto const uniform = [&] { return double(random() >> 11) * 0x1p-53; };
  auto const choose = [&] {
    std::vector<Index> ids;
    while (Index(ids.size()) < top_k) {
      Index const e = std::min(experts - 1, Index(std::pow(uniform(), 2) * double(experts)));
      if (std::find(ids.begin(), ids.end(), e) == ids.end()) ids.push_back(e);
    }
    return ids;
  };
  std::vector<Token> all;
  for (Index t = 0; t < count; ++t) {
    Token token{choose(), choose(), {}, 0};
    std::vector<double> z;
    double sum = 0;
    for (Index e = 0; e < experts; ++e) z.push_back(std::exp(4 * uniform())), sum += z.back();
    for (double const x : z) token.scores.push_back(std::llround(x / sum * one));
    token.square = std::pow(std::log(sum), 2);
    all.push_back(token);
  }
  return all;
}

/// Adds a token to one row of statistics.
inline void count(moebal::LoadView<AllStatistics> row, Token const& token) {
  namespace stats = moebal::stats;
  ++row.tokens();
  for (Index const e : token.chosen) ++row.get<stats::Counts>()[e];
  for (Index const e : token.unbiased) ++row.get<stats::UnbiasedCounts>()[e];
  ++row.get<stats::FirstChoiceCounts>()[token.chosen.front()];
  ++row.get<stats::UnbiasedFirstChoiceCounts>()[token.unbiased.front()];
  for (Index e = 0; e < row.experts(); ++e) row.get<stats::ScoreSums>()[e] += token.scores[std::size_t(e)];
  double const whole = std::floor(token.square);
  row.get<stats::LogSumExpSquares>()[0] += std::int64_t(whole);
  row.get<stats::LogSumExpSquares>()[1] += std::llround((token.square - whole) * stats::square_one);
}

/// Which tokens lie where: [rank][micro-batch][sequence] -> tokens.
using Sequence = std::vector<Token>;
using MicroBatch = std::vector<Sequence>;
using Rank = std::vector<MicroBatch>;
using Step = std::vector<Rank>;

inline moebal::Load<AllStatistics> load_of(MicroBatch const& batch, Index experts) {
  moebal::Load<AllStatistics> load(Index(batch.size()), experts);
  auto const view = load.view();
  for (std::size_t s = 0; s < batch.size(); ++s)
    for (Token const& token : batch[s]) count({view.data() + Index(s) * view.slots(), 1, experts}, token);
  return load;
}

/// Cuts tokens into `parts` pieces at random places; pieces may be empty.
inline std::vector<std::vector<Token>> cut(std::vector<Token> const& all, Index parts, std::mt19937_64& random) {
  std::vector<std::size_t> at{0, all.size()};
  while (Index(at.size()) < parts + 1) at.push_back(std::size_t(random() % (all.size() + 1)));
  std::sort(at.begin(), at.end());
  std::vector<std::vector<Token>> pieces;
  for (std::size_t p = 0; p + 1 < at.size(); ++p)
    pieces.emplace_back(all.begin() + long(at[p]), all.begin() + long(at[p + 1]));
  return pieces;
}

} // namespace synthetic
