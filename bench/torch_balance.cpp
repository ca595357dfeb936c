// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// balance_step and eplb in libtorch, one thread. CMake leaves this file out where libtorch is not installed.

#include "balance.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <utility>

namespace bench {
namespace {

using at::Tensor;

/// The loss of SwitchLoss, its slopes, and the step of the bias, from counts and score sums.
class TorchStep {
public:
  explicit TorchStep(Step const& step)
      : factor_(1e-2 * double(step.experts()) / (double(step.top_k()) * double(Step::tokens) * double(Step::tokens))),
        counts_(at::from_blob(const_cast<std::int64_t*>(step.counts().data()), {step.experts()}, at::kLong)),
        scores_(at::from_blob(const_cast<std::int64_t*>(step.score_sums().data()), {step.experts()}, at::kLong)
                    .to(at::kDouble) / double(moebal::stats::score_one<float>)),
        bias_(at::zeros({step.experts()})) {}
  double operator()() {
    auto const counts = counts_.to(at::kDouble);
    auto const slopes = counts * factor_;
    benchmark::DoNotOptimize(slopes.to(at::kFloat).data_ptr());
    bias_.add_((counts.mean() - counts).sign().to(at::kFloat), LossFreeBias{}.rate);
    return (slopes * scores_).sum().item<double>();
  }
  Tensor const& bias() const { return bias_; }

private:
  double factor_;
  Tensor counts_, scores_, bias_;
};

/// EPLB with whole tensors where it can: sorts, gathers, and a copy of an expert for all layers at once.
class TorchEplb {
public:
  explicit TorchEplb(PlacementShape shape) : s_(shape) {}

  /// load [layers, E] to the expert in each slot [layers, replicas].
  Tensor operator()(Tensor const& load) const {
    Index const layers = load.size(0), experts = load.size(1), size = experts / s_.groups, here = experts / s_.nodes;
    auto const [node, place] = pack(load.view({layers, s_.groups, size}).sum(-1), s_.nodes);
    auto const first = (node * (s_.groups / s_.nodes) + place) * size;
    auto const local = (first.unsqueeze(-1) + at::arange(size)).flatten(1); // [layers, E] experts in the order of nodes
    auto const expert_at = inverse(local);
    auto const load_here = load.gather(1, expert_at).view({layers * s_.nodes, here});
    auto const [item, copies] = replicate(load_here, s_.replicas / s_.nodes);
    auto const [rank, at_rank] = pack((load_here / copies).gather(1, item), s_.ranks / s_.nodes);
    auto const sorted = item.gather(1, inverse(rank * (s_.replicas / s_.ranks) + at_rank));
    auto const nodes = at::arange(s_.nodes).view({1, s_.nodes, 1}) * here;
    return expert_at.gather(1, (sorted.view({layers, s_.nodes, -1}) + nodes).flatten(1));
  }

private:
  static Tensor inverse(Tensor const& order) {
    return at::empty_like(order).scatter_(1, order, at::arange(order.size(1)).expand_as(order));
  }
  /// {pack, place in it} of each item of each row, the heaviest first into the lightest pack that has room.
  static std::pair<Tensor, Tensor> pack(Tensor const& weights, Index packs) {
    Index const rows = weights.size(0), items = weights.size(1);
    auto const order = std::get<1>(weights.sort(c10::optional<bool>(true), -1, true));
    auto pack_of = at::empty_like(order), place_of = at::empty_like(order);
    auto const w = weights.accessor<float, 2>();
    auto const o = order.accessor<std::int64_t, 2>();
    auto p = pack_of.accessor<std::int64_t, 2>(), place = place_of.accessor<std::int64_t, 2>();
    for (Index r = 0; r < rows; ++r) {
      std::vector<float> sum(std::size_t(packs), 0.0f);
      std::vector<Index> held(std::size_t(packs), 0);
      for (Index i = 0; i < items; ++i) {
        std::size_t best = std::size_t(packs);
        for (std::size_t q = 0; q < std::size_t(packs); ++q)
          if (held[q] < items / packs && (best == std::size_t(packs) || sum[q] < sum[best])) best = q;
        Index const item = o[r][i];
        p[r][item] = Index(best);
        place[r][item] = held[best]++;
        sum[best] += w[r][item];
      }
    }
    return {pack_of, place_of};
  }
  /// {item in each slot, copies of each item}.
  static std::pair<Tensor, Tensor> replicate(Tensor const& load, Index slots) {
    Index const rows = load.size(0), items = load.size(1);
    auto const item = at::arange(slots).repeat({rows, 1});
    auto const copies = at::ones_like(load);
    for (Index slot = items; slot < slots; ++slot) {
      auto const most = (load / copies).argmax(1, true);
      item.narrow(1, slot, 1).copy_(most);
      copies.scatter_add_(1, most, at::ones({rows, 1}));
    }
    return {item, copies};
  }
  PlacementShape s_;
};

Part const part([](Pairs const& pairs) {
  at::set_num_threads(1);
  for (Model const& m : models)
    pairs.add(std::string("balance_step/") + m.name + "/4096/torch", steps_at_once, [=]() -> Work {
      at::NoGradGuard const no_gradients;
      auto const step = std::make_shared<Step>(m);
      auto const torch = std::make_shared<TorchStep>(*step);
      require(near(step->ours(), (*torch)(), 1e-9), "libtorch's step", "loss");
      for (Index e = 0; e < m.experts; ++e)
        require(near(step->bias()[e], torch->bias()[e].item<float>(), 1e-6), "libtorch's step", "bias");
      return {[=] {
                for (int i = 0; i < steps_at_once; ++i) benchmark::DoNotOptimize(step->ours());
              },
              [=] {
                at::NoGradGuard const none;
                for (int i = 0; i < steps_at_once; ++i) benchmark::DoNotOptimize((*torch)());
              }};
    });
  pairs.add("eplb/deepseek_v3/58/torch", double(EplbJob::layers), []() -> Work {
    at::NoGradGuard const no_gradients;
    auto const job = std::make_shared<EplbJob>();
    auto const load = at::from_blob(job->loads.data(), {job->layers, job->experts}, at::kFloat);
    TorchEplb const torch(job->shape);
    auto const theirs = torch(load).contiguous();
    job->check(theirs.data_ptr<std::int64_t>(), "libtorch's EPLB");
    return {[=] { benchmark::DoNotOptimize(job->ours().most_copies()); },
            [=] {
              at::NoGradGuard const none;
              benchmark::DoNotOptimize(torch(load).data_ptr());
            }};
  });
});

} // namespace
} // namespace bench
