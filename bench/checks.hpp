// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Answers are compared before anything is timed.

#include "baselines.hpp"
#include "ours.hpp"

#include <stdexcept>

namespace bench {

inline void require(bool holds, std::string const& peer, char const* what) {
  if (!holds) throw std::runtime_error("bench: " + peer + " and the library differ in " + what);
}
inline bool near(double a, double b, double tolerance) { return std::abs(a - b) <= tolerance * std::max(1.0, std::abs(b)); }

/// Routes all rows; ids must be those of scan with the library's scores exactly, weights to 1e-5, counts and score sums too.
inline void check_against_oracle(Ours& ours) {
  Baseline<Way::oracle> oracle(ours.model);
  Outcome theirs;
  Index const K = ours.model.top_k;
  ours.each_batch([&](Index first) {
    ours.route(first);
    oracle.route(ours.logits.data() + first * ours.model.experts, ours.tokens, theirs, true);
    ExpertId const* const ids = ours.routing.expert_ids().row(first);
    float const* const weights = ours.routing.weights().row(first);
    require(std::equal(theirs.ids.begin(), theirs.ids.end(), ids), "the oracle", "ids");
    for (Index i = 0; i < ours.tokens * K; ++i)
      require(near(weights[i], theirs.weights[std::size_t(i)], 1e-5), "the oracle", "weights");
    require(std::equal(theirs.counts.begin(), theirs.counts.end(), ours.counts().begin()), "the oracle", "counts");
    ours.route_stats(first);
    for (Index e = 0; e < ours.model.experts; ++e)
      require(near(ours.score_sum(e), theirs.score_sums[std::size_t(e)], 1e-4), "the oracle", "score sums");
  });
}

/// A peer with scores of its own may choose another expert only where scores differ by less than 1e-6: the K-th best key and
/// the one that it took instead. With groups, a near tie of two groups moves all choices of a row: one row in a thousand may.
inline void check_choices(Ours const& ours, Index first, ExpertId const* ids, float const* weights, std::string const& peer) {
  Model const& m = ours.model;
  Index moved = 0;
  auto const key = [&](Index t, ExpertId e) {
    double const z = ours.logits[std::size_t((first + t) * m.experts + e)];
    return m.score == Model::Score::sigmoid ? 1 / (1 + std::exp(-z)) + double(ours.bias[std::size_t(e)]) : z;
  };
  for (Index t = 0; t < ours.tokens; ++t) {
    auto const mine = [&](Index k) { return ours.routing.expert_ids()(first + t, k); };
    bool same = true, close = true;
    for (Index k = 0; k < m.top_k; ++k) {
      ExpertId const a = mine(k), b = ids[t * m.top_k + k];
      require(b >= 0 && b < m.experts, peer, "the range of ids");
      same = same && a == b;
      close = close && near(key(t, a), key(t, b), 1e-6);
    }
    moved += !close;
    for (Index k = 0; same && k < m.top_k; ++k)
      require(near(weights[t * m.top_k + k], ours.routing.weights()(first + t, k), 1e-5), peer, "weights");
  }
  require(moved <= (m.groups > 1 ? ours.tokens / 1000 : 0), peer, "ids");
}

} // namespace bench
