// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// balance_step and eplb: what runs once a step or less, so units are a step and a layer, not a token.

#include "balance.hpp"

#include <numeric>

namespace bench {
namespace {

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
  pairs.add("eplb/deepseek_v3/58/naive", double(EplbJob::layers), []() -> Work {
    auto const job = std::make_shared<EplbJob>();
    auto theirs = std::make_shared<std::vector<ExpertId>>(std::size_t(job->layers * job->shape.replicas));
    auto const plain = [=] {
      PlainEplb eplb(job->shape);
      for (Index l = 0; l < job->layers; ++l)
        eplb.place(job->loads.data() + l * job->experts, job->experts, theirs->data() + l * job->shape.replicas);
    };
    plain();
    job->check(theirs->data(), "plain EPLB");
    return {[=] { benchmark::DoNotOptimize(job->ours().most_copies()); }, plain};
  });
}

Part const part([](Pairs const& pairs) {
  for (Model const& m : models)
    pairs.add(std::string("balance_step/") + m.name + "/4096/handwritten", steps_at_once, [=]() -> Work {
      auto const step = std::make_shared<Step>(m);
      step->check();
      return {[=] {
                for (int i = 0; i < steps_at_once; ++i) benchmark::DoNotOptimize(step->ours());
              },
              [=] {
                for (int i = 0; i < steps_at_once; ++i) {
                  benchmark::DoNotOptimize(step->by_hand());
                  benchmark::ClobberMemory();
                }
              }};
    });
  add_eplb(pairs);
});

} // namespace
} // namespace bench
