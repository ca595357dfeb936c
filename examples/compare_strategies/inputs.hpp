// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Synthetic tokens and how their routing is skewed. Tokens belong to clusters: x = 0.8 centre + 0.6 noise, so that routers have
// something to specialise on. The skew is an offset of each expert's logit, which a router can unlearn; with Ranks it is which
// clusters a rank sees. Everything is a function of (seed, step, rank, micro-batch): all strategies see the same tokens.

#include "maps.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>
#include <string_view>

namespace lab {

enum class Skew {
  Uniform,   // none
  OneHot,    // expert 0 is liked best by nearly all
  Dirichlet, // offsets ln p, p drawn from a Dirichlet distribution
  Drift,     // offsets that wander through the experts, once around in the run
  Ranks      // each rank sees clusters of its own
};
inline constexpr std::array<std::string_view, 5> skew_names{"uniform", "one_hot", "dirichlet", "drift", "ranks"};
inline std::string_view to_text(Skew skew) { return skew_names[std::size_t(skew)]; }
inline Skew skew_of(std::string const& name) {
  auto const at = std::find(skew_names.begin(), skew_names.end(), name);
  if (at == skew_names.end()) throw std::invalid_argument("needed a skew (uniform, one_hot, dirichlet, drift, ranks), had '" + name + "'");
  return Skew(at - skew_names.begin());
}

struct InputShape {
  Index experts = 16, ranks = 2, micro_batches = 2, tokens = 1024, steps = 200; // tokens: of a micro-batch of a rank
  std::uint64_t seed = 1;
  Skew skew = Skew::Dirichlet;
  double alpha = 1; // of the Dirichlet distribution

  Index width() const { return 2 * experts; }   // D
  Index clusters() const { return 4 * experts; } // and token ids
};

class Inputs {
public:
  explicit Inputs(InputShape shape) : s_(shape), period_(std::min<Index>(8, shape.steps)) {
    centres_.resize(std::size_t(s_.clusters() * s_.width()));
    draw_normal(key(1, 0), 1, centres_);
    Index const batches = period_ * s_.ranks * s_.micro_batches;
    x_.resize(std::size_t(batches * s_.tokens * s_.width()));
    clusters_.resize(std::size_t(batches * s_.tokens));
    for (Index b = 0; b < batches; ++b) fill(b);
    draw_offsets();
  }
  InputShape const& shape() const { return s_; }

  /// Tokens [T, D] and their clusters [T]; they come again after a few steps.
  In x(Index step, Index rank, Index g) const {
    return {x_.data() + batch(step, rank, g) * s_.tokens * s_.width(), s_.tokens, s_.width()};
  }
  VectorView<Index const> clusters(Index step, Index rank, Index g) const {
    return {clusters_.data() + batch(step, rank, g) * s_.tokens, s_.tokens};
  }
  /// What the skew adds to the logit of expert e.
  float offset(Index step, Index e) const {
    if (s_.skew != Skew::Drift) return offsets_[std::size_t(e)];
    double const turn = double(step) / double(std::max<Index>(1, s_.steps)) - double(e) / double(s_.experts);
    return float(2 * std::cos(2 * 3.14159265358979 * turn));
  }
  /// How many of `clusters()` token ids of each kind there are, for hash tables [V].
  std::vector<std::int64_t> frequencies() const {
    std::vector<std::int64_t> counts(std::size_t(s_.clusters()), 0);
    for (Index const c : clusters_) ++counts[std::size_t(c)];
    return counts;
  }

private:
  std::uint64_t key(std::uint64_t what, std::uint64_t which) const { return moebal::random::bits(s_.seed, what << 32 | which); }
  Index batch(Index step, Index rank, Index g) const { return (step % period_ * s_.ranks + rank) * s_.micro_batches + g; }

  void fill(Index b) {
    Index const rank = b / s_.micro_batches % s_.ranks, n = s_.clusters();
    std::uint64_t const which = key(2, std::uint64_t(b)), noise = key(3, std::uint64_t(b));
    for (Index t = 0; t < s_.tokens; ++t) {
      // Zipf-like: the smaller of two draws. A rank's own clusters are every R-th.
      auto const draw = [&](std::uint64_t i, Index below) { return moebal::random::below(which, std::uint64_t(2 * t) + i, below); };
      Index const own = s_.skew == Skew::Ranks ? n / s_.ranks : n;
      Index c = std::min(draw(0, own), draw(1, own));
      if (s_.skew == Skew::Ranks) c = c * s_.ranks + rank;
      clusters_[std::size_t(b * s_.tokens + t)] = c;
      float* const row = x_.data() + (b * s_.tokens + t) * s_.width();
      for (Index d = 0; d < s_.width(); ++d)
        row[d] = 0.8f * centres_[std::size_t(c * s_.width() + d)] +
                 0.6f * float(moebal::random::normal(noise, std::uint64_t(t * s_.width() + d)));
    }
  }
  void draw_offsets() {
    offsets_.assign(std::size_t(s_.experts), 0);
    if (s_.skew == Skew::OneHot) offsets_[0] = 3;
    if (s_.skew != Skew::Dirichlet) return;
    std::vector<double> shares;
    for (Index e = 0; e < s_.experts; ++e) shares.push_back(gamma(key(4, std::uint64_t(e))));
    double sum = 0;
    for (double const p : shares) sum += p;
    for (std::size_t e = 0; e < shares.size(); ++e) offsets_[e] = float(std::max(-4.0, std::log(shares[e] * double(s_.experts) / sum)));
  }
  /// Gamma(alpha, 1) (Marsaglia and Tsang 2000).
  double gamma(std::uint64_t seed) const {
    double const a = s_.alpha < 1 ? s_.alpha + 1 : s_.alpha, d = a - 1.0 / 3, c = 1 / std::sqrt(9 * d);
    double const boost = s_.alpha < 1 ? std::pow(moebal::random::uniform(seed, 0), 1 / s_.alpha) : 1;
    for (std::uint64_t i = 1;; i += 4) {
      double const x = moebal::random::normal(seed, i), u = moebal::random::uniform(seed, 2 * i + 3), v = 1 + c * x;
      if (v > 0 && std::log(u) < 0.5 * x * x + d - d * v * v * v + d * std::log(v * v * v)) return std::max(1e-12, boost * d * v * v * v);
    }
  }

  InputShape s_;
  Index period_;
  Numbers centres_, x_, offsets_;
  std::vector<Index> clusters_;
};

} // namespace lab
