// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What runs once a step or less, and its input: shared by the peers.

#include "checks.hpp"
#include "pair.hpp"

#include <moebal/balancer.hpp>
#include <moebal/plan/rebalance.hpp>

#include <random>

namespace bench {

using namespace moebal;

inline constexpr int steps_at_once = 100;

/// One micro-batch of 4096 tokens: SwitchLoss and LossFreeBias over the ranks, which are one.
class Step {
  using Both = Rules<SwitchLoss<>, LossFreeBias>;
  using Balance = Balancer<GlobalBatch<>, Both>;

public:
  static constexpr Index tokens = 4096;
  explicit Step(Model const& m)
      : experts_(m.experts), top_k_(m.top_k), balancer_(GlobalBatch<>{}, Both{}, {m.experts, m.top_k}), load_(1, m.experts),
        slopes_(std::size_t(m.experts)), bias_(std::size_t(m.experts)) {
    auto const view = load_.view();
    view.tokens() = tokens;
    auto const counts = view.get<stats::Counts>();
    auto const scores = view.get<stats::ScoreSums>();
    std::mt19937 random(3);
    for (Index i = 0; i < tokens * top_k_; ++i) ++counts[Index(random()) % experts_];
    for (Index e = 0; e < experts_; ++e) scores[e] = std::int64_t(stats::score_one<float>) * tokens / experts_ + e;
  }
  double ours() {
    balancer_.begin_step(1);
    balancer_.observe(0, load_);
    double const loss = balancer_.terms(0).loss;
    balancer_.end_step();
    return loss;
  }
  double by_hand() {
    auto const counts = load_.get<stats::Counts>();
    auto const scores = load_.get<stats::ScoreSums>();
    double const factor = 1e-2 * double(experts_) / (double(top_k_) * double(tokens) * double(tokens));
    double const mean = double(tokens * top_k_) / double(experts_);
    double loss = 0;
    for (Index e = 0; e < experts_; ++e) {
      double const slope = factor * double(counts[e]);
      slopes_[std::size_t(e)] = float(slope);
      loss += slope * double(scores[e]) / stats::score_one<float>;
      double const off = mean - double(counts[e]);
      bias_[std::size_t(e)] += LossFreeBias{}.rate * float((off > 0) - (off < 0));
    }
    return loss;
  }
  Index experts() const { return experts_; }
  Index top_k() const { return top_k_; }
  VectorView<std::int64_t const> counts() const { return load_.get<stats::Counts>(); }
  VectorView<std::int64_t const> score_sums() const { return load_.get<stats::ScoreSums>(); } // in stats::score_one<float>
  VectorView<float const> bias() const { return balancer_.bias(); }
  void check() {
    require(near(ours(), by_hand(), 1e-9), "the step by hand", "loss");
    for (Index e = 0; e < experts_; ++e)
      require(near(balancer_.bias()[e], bias_[std::size_t(e)], 1e-6), "the step by hand", "bias");
  }

private:
  Index experts_, top_k_;
  Balance balancer_;
  Load<Balance::needs> load_;
  std::vector<float> slopes_, bias_;
};

/// Loads of DeepSeek-V3's layers, to be placed: 256 experts in 288 slots on 32 ranks.
struct EplbJob {
  static constexpr Index layers = 58, experts = 256;
  static constexpr PlacementShape shape{.replicas = 288, .groups = 8, .nodes = 4, .ranks = 32};
  std::vector<float> loads;

  EplbJob() {
    std::mt19937 random(5);
    std::gamma_distribution<float> gamma(2, 100);
    for (Index i = 0; i < layers * experts; ++i) loads.push_back(std::floor(gamma(random)));
  }
  auto ours() const { return rebalance({loads.data(), layers, experts}, shape); }
  template <class Id> void check(Id const* expert_of, char const* peer) const {
    require(std::equal(expert_of, expert_of + layers * shape.replicas, ours().expert_of().data()), peer, "the expert in a slot");
  }
};

} // namespace bench
