// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// balance_step and eplb: what runs once a step or less, so units are a step and a layer, not a token.

#include "checks.hpp"
#include "pair.hpp"

#include <moebal/balancer.hpp>
#include <moebal/plan/rebalance.hpp>

#include <numeric>
#include <random>

namespace bench {
namespace {

using namespace moebal;

/// One micro-batch of 4096 tokens: SwitchLoss and LossFreeBias over the ranks, which are one.
class Step {
  using Both = Rules<SwitchLoss<>, LossFreeBias>;
  using Balance = Balancer<GlobalBatch<>, Both>;

public:
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
  void check() {
    require(near(ours(), by_hand(), 1e-9), "the step by hand", "loss");
    for (Index e = 0; e < experts_; ++e)
      require(near(balancer_.bias()[e], bias_[std::size_t(e)], 1e-6), "the step by hand", "bias");
  }

private:
  static constexpr Index tokens = 4096;
  Index experts_, top_k_;
  Balance balancer_;
  Load<Balance::needs> load_;
  std::vector<float> slopes_, bias_;
};

/// EPLB as people write it: whole sorts, and a search through all packs and experts for each item.
class PlainEplb {
public:
  explicit PlainEplb(PlacementShape shape) : s_(shape) {}

  /// The expert in each slot of one layer.
  void place(float const* load, Index experts, ExpertId* expert_of) {
    Index const size = experts / s_.groups, per_node = experts / s_.nodes, slots = s_.replicas / s_.nodes;
    std::vector<float> group_load(std::size_t(s_.groups), 0.0f);
    for (Index e = 0; e < experts; ++e) group_load[std::size_t(e / size)] += load[e];
    auto const groups = pack(group_load, s_.nodes);
    for (Index node = 0; node < s_.nodes; ++node) {
      std::vector<Index> here(std::size_t(per_node), 0);
      for (Index g = 0; g < s_.groups; ++g)
        if (groups[std::size_t(g)].first == node)
          for (Index i = 0; i < size; ++i) here[std::size_t(groups[std::size_t(g)].second * size + i)] = g * size + i;
      std::vector<Index> item(std::size_t(slots), 0), count(std::size_t(per_node), 1);
      std::iota(item.begin(), item.begin() + per_node, Index(0));
      auto const share = [&](Index i) { return load[here[std::size_t(i)]] / float(count[std::size_t(i)]); };
      for (Index c = per_node; c < slots; ++c) {
        Index best = 0;
        for (Index i = 1; i < per_node; ++i)
          if (share(i) > share(best)) best = i;
        item[std::size_t(c)] = best;
        ++count[std::size_t(best)];
      }
      std::vector<float> weights;
      for (Index const i : item) weights.push_back(share(i));
      auto const ranks = pack(weights, s_.ranks / s_.nodes);
      Index const each = s_.replicas / s_.ranks;
      for (Index c = 0; c < slots; ++c)
        expert_of[node * slots + ranks[std::size_t(c)].first * each + ranks[std::size_t(c)].second] =
            ExpertId(here[std::size_t(item[std::size_t(c)])]);
    }
  }

private:
  /// {pack, place} of each item.
  static std::vector<std::pair<Index, Index>> pack(std::vector<float> const& weights, Index packs) {
    std::vector<std::size_t> order(weights.size());
    std::iota(order.begin(), order.end(), std::size_t(0));
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return weights[a] > weights[b]; });
    std::vector<float> sum(std::size_t(packs), 0.0f);
    std::vector<Index> held(std::size_t(packs), 0);
    std::vector<std::pair<Index, Index>> places(weights.size());
    for (std::size_t const i : order) {
      Index best = -1;
      for (Index p = 0; p < packs; ++p)
        if (held[std::size_t(p)] < Index(weights.size()) / packs &&
            (best < 0 || sum[std::size_t(p)] < sum[std::size_t(best)]))
          best = p;
      places[i] = {best, held[std::size_t(best)]++};
      sum[std::size_t(best)] += weights[i];
    }
    return places;
  }
  PlacementShape s_;
};

void add_eplb(Pairs const& pairs) {
  Index const layers = 58, experts = 256;
  PlacementShape const shape{.replicas = 288, .groups = 8, .nodes = 4, .ranks = 32};
  pairs.add("eplb/deepseek_v3/58/naive", double(layers), [=]() -> Work {
    std::mt19937 random(5);
    std::gamma_distribution<float> gamma(2, 100);
    auto loads = std::make_shared<std::vector<float>>();
    for (Index i = 0; i < layers * experts; ++i) loads->push_back(std::floor(gamma(random)));
    auto theirs = std::make_shared<std::vector<ExpertId>>(std::size_t(layers * shape.replicas));
    auto const plain = [=] {
      PlainEplb eplb(shape);
      for (Index l = 0; l < layers; ++l) eplb.place(loads->data() + l * experts, experts, theirs->data() + l * shape.replicas);
    };
    auto const ours = [=] { return rebalance({loads->data(), layers, experts}, shape); };
    plain();
    require(std::equal(theirs->begin(), theirs->end(), ours().expert_of().data()), "plain EPLB", "the expert in a slot");
    return {[=] { benchmark::DoNotOptimize(ours().most_copies()); }, plain};
  });
}

Part const part([](Pairs const& pairs) {
  for (Model const& m : models) {
    int const steps = 100;
    pairs.add(std::string("balance_step/") + m.name + "/4096/handwritten", steps, [=]() -> Work {
      auto const step = std::make_shared<Step>(m);
      step->check();
      return {[=] {
                for (int i = 0; i < steps; ++i) benchmark::DoNotOptimize(step->ours());
              },
              [=] {
                for (int i = 0; i < steps; ++i) {
                  benchmark::DoNotOptimize(step->by_hand());
                  benchmark::ClobberMemory();
                }
              }};
    });
  }
  add_eplb(pairs);
});

} // namespace
} // namespace bench
