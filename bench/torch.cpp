// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The same work in libtorch, one thread. Only this file knows of it, and CMake leaves it out where libtorch is not installed.

#include "entries.hpp"
#include "gate.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <torch/csrc/api/include/torch/version.h>

#include <limits>

namespace bench {
namespace {

using at::Tensor;

class Torch {
public:
  explicit Torch(Ours& ours) : m_(ours.model), tokens_(ours.tokens) {
    at::set_num_threads(1);
    if (m_.biased) bias_ = at::tensor(at::ArrayRef<float>(ours.bias));
    wanted_ = at::from_blob(ours.d_weights.data(), {tokens_, m_.top_k}, at::kFloat);
    slopes_ = at::from_blob(ours.slopes.data(), {m_.experts}, at::kFloat);
  }
  Tensor logits(Ours const& ours, Index first) const {
    return at::from_blob(const_cast<float*>(ours.logits.data()) + first * m_.experts, {tokens_, m_.experts}, at::kFloat);
  }

  struct Routed {
    Tensor scores, ids, weights; // [T, E], [T, K], [T, K]
  };
  Routed route(Tensor const& z) const {
    Routed r;
    if (m_.score == Model::Score::sigmoid) {
      r.scores = z.sigmoid();
      r.ids = std::get<1>(keys(r.scores.detach()).topk(m_.top_k));
      r.weights = r.scores.gather(1, r.ids);
    } else if (m_.score == Model::Score::softmax_over_chosen) {
      std::tie(r.weights, r.ids) = z.topk(m_.top_k);
      r.weights = r.weights.softmax(-1);
    } else {
      r.scores = z.softmax(-1);
      std::tie(r.weights, r.ids) = r.scores.topk(m_.top_k);
    }
    if (m_.normalise && m_.score != Model::Score::softmax_over_chosen) r.weights = r.weights / r.weights.sum(-1, true);
    if (m_.scale != 1) r.weights = r.weights * m_.scale;
    return r;
  }
  /// The balance scores, which sum to 1 in each row, summed over the tokens. [E]
  Tensor score_sums(Tensor const& z, Routed const& r) const {
    if (m_.score == Model::Score::sigmoid) return (r.scores / r.scores.sum(-1, true)).sum(0);
    return (r.scores.defined() ? r.scores : z.softmax(-1)).sum(0);
  }
  Tensor counts(Tensor const& ids) const { return at::bincount(ids.flatten(), {}, m_.experts); }

  void route_stats(Tensor const& z) const {
    auto const r = route(z);
    benchmark::DoNotOptimize(counts(r.ids).data_ptr());
    benchmark::DoNotOptimize(score_sums(z, r).data_ptr());
  }
  /// Stable grouping: offsets, the order of slots, the slot of each pair.
  Tensor plan(Tensor const& ids) const {
    auto const flat = ids.flatten();
    auto const order = std::get<1>(flat.sort(c10::optional<bool>(true), 0, false));
    benchmark::DoNotOptimize(counts(flat).cumsum(0).data_ptr());
    benchmark::DoNotOptimize(at::empty_like(order).scatter_(0, order, at::arange(order.size(0), order.options())).data_ptr());
    return order;
  }

  /// What autograd differentiates: the model's and the balancing loss.
  Tensor loss(Tensor const& z) const {
    auto const r = route(z);
    return (r.weights * wanted_).sum() + (score_sums(z, r) * slopes_).sum();
  }
  static Tensor leaf(Tensor const& z) { return z.detach().set_requires_grad(true); }
  /// A training step: counts and score sums, the loss of SwitchLoss from them, and the way back.
  Tensor step(Tensor const& logits) const {
    auto const z = leaf(logits);
    auto const r = route(z);
    double const factor = 1e-2 * double(m_.experts) / (double(m_.top_k) * double(tokens_) * double(tokens_));
    auto const balance = (counts(r.ids) * factor * score_sums(z, r)).sum();
    (balance + (r.weights * wanted_).sum()).backward();
    return z.grad();
  }

private:
  Tensor keys(Tensor const& scores) const {
    Tensor const biased = scores + bias_;
    if (m_.groups == 1) return biased;
    auto const by_group = biased.view({tokens_, m_.groups, m_.experts / m_.groups});
    auto const sums = std::get<0>(by_group.topk(2, -1)).sum(-1);
    auto const best = std::get<1>(sums.topk(m_.kept, -1, true, false));
    auto const mask = at::zeros_like(sums).scatter_(1, best, 1).unsqueeze(-1).expand_as(by_group).reshape({tokens_, m_.experts});
    return biased.masked_fill(mask == 0, -std::numeric_limits<float>::infinity());
  }

  Model m_;
  Index tokens_;
  Tensor bias_, wanted_, slopes_;
};

void check_choices(Ours& ours, Torch const& torch) {
  ours.route(0);
  auto const r = torch.route(torch.logits(ours, 0));
  auto const ids = r.ids.to(at::kInt).contiguous();
  auto const weights = r.weights.contiguous();
  bench::check_choices(ours, 0, ids.data_ptr<int>(), weights.data_ptr<float>(), "libtorch");
}
void check_gradient(Ours const& ours, Tensor const& gradient) {
  auto const theirs = gradient.contiguous();
  float const* const d = theirs.data_ptr<float>();
  Index const n = ours.tokens * ours.model.experts;
  double most = 0;
  Index different = 0;
  for (Index i = 0; i < n; ++i) most = std::max(most, double(std::abs(d[i])));
  for (Index i = 0; i < n; ++i) different += std::abs(d[i] - ours.d_logits[std::size_t(i)]) > 1e-5 * most;
  require(different <= n / 1000, "libtorch", "d logits"); // a row with another choice differs
}

/// Registers a pair without gradients. `work` is what libtorch does to the logits of a batch, or to their ids.
template <class OursWork, class TorchWork>
void add_torch(Pairs const& pairs, std::string const& op, Model const& m, Index n, OursWork ours_work, TorchWork work) {
  add(pairs, op, m, n, "torch", ours_work, [=](Ours& ours) {
    auto torch = std::make_shared<Torch>(ours);
    at::NoGradGuard const no_gradients;
    route_all(ours);
    check_choices(ours, *torch);
    return [=](Ours& o, Index first) {
      at::NoGradGuard const none;
      work(*torch, torch->logits(o, first));
    };
  });
}

void add_plan(Pairs const& pairs, Model const& m, Index n) {
  add(pairs, "plan", m, n, "torch", [](Ours& o, Index first) { o.plan(first); }, [](Ours& ours) {
    at::NoGradGuard const no_gradients;
    auto torch = std::make_shared<Torch>(ours);
    ours.each_batch([&](Index first) { ours.route_ranked(first); });
    auto ids = std::make_shared<std::vector<Tensor>>();
    ours.each_batch([&](Index first) {
      ids->push_back(at::from_blob(ours.routing.expert_ids().row(first), {ours.tokens, ours.model.top_k}, at::kInt).to(at::kLong));
    });
    ours.plan(0);
    auto const order = torch->plan(ids->front());
    require(std::equal(ours.planned.order().begin(), ours.planned.order().end(), order.data_ptr<std::int64_t>()), "libtorch",
            "the order of slots");
    return [=](Ours& o, Index first) {
      at::NoGradGuard const none;
      torch->plan((*ids)[std::size_t(first / o.tokens)]);
    };
  });
}

/// The way back alone: the graph of each batch is kept.
void add_backward(Pairs const& pairs, Model const& m, Index n) {
  add(pairs, "backward", m, n, "torch", [](Ours& o, Index first) { o.backward(first); }, [](Ours& ours) {
    auto torch = std::make_shared<Torch>(ours);
    struct Graph {
      Tensor z, loss;
    };
    auto graphs = std::make_shared<std::vector<Graph>>();
    route_all(ours);
    ours.each_batch([&](Index first) {
      auto const z = Torch::leaf(torch->logits(ours, first));
      graphs->push_back({z, torch->loss(z)});
    });
    auto const run = [=](Index batch) {
      auto& [z, loss] = (*graphs)[std::size_t(batch)];
      z.mutable_grad().reset();
      loss.backward({}, /*retain_graph=*/true);
      return z.grad();
    };
    ours.backward(0);
    check_gradient(ours, run(0));
    return [=](Ours& o, Index first) { run(first / o.tokens); };
  });
}

void add_pipeline(Pairs const& pairs, Model const& m, Index n) {
  add(pairs, "pipeline", m, n, "torch", [](Ours& o, Index first) { o.step(first); }, [](Ours& ours) {
    auto torch = std::make_shared<Torch>(ours);
    ours.step(0);
    check_gradient(ours, torch->step(torch->logits(ours, 0)));
    return [=](Ours& o, Index first) { torch->step(torch->logits(o, first)); };
  });
}

/// libtorch's product alone against the product and the routing here.
void add_linear(Pairs const& pairs, std::string const& shape, Index n, bool packed) {
  pairs.add((packed ? "gate_route:packed/" : "gate_route/") + shape + "/" + std::to_string(n) + "/torch", double(n), [=]() -> Work {
    auto const job = gate_route(shape, n);
    auto const x = at::from_blob(const_cast<float*>(job->x), {n, job->hidden}, at::kFloat);
    auto const w = at::from_blob(const_cast<float*>(job->w), {job->experts, job->hidden}, at::kFloat);
    return {[=] { packed ? job->ours_packed() : job->ours(); }, [=] {
              at::NoGradGuard const none;
              benchmark::DoNotOptimize(at::linear(x, w).data_ptr());
            }};
  });
}

Part const part([](Pairs const& pairs) {
  benchmark::AddCustomContext("libtorch", TORCH_VERSION);
  at::set_num_threads(1);
  for (char const* const shape : gate_shapes)
    for (bool const packed : {false, true}) add_linear(pairs, shape, 4096, packed);
  for (Model const& m : models)
    for (Index const n : sizes(pairs)) {
      if (n == 64 || (pairs.quick() && n < 4096)) continue;
      add_torch(pairs, "route", m, n, [](Ours& o, Index first) { o.route(first); },
                [](Torch const& torch, Tensor const& z) { torch.route(z); });
      if (n < 4096) continue;
      add_torch(pairs, "route_stats", m, n, [](Ours& o, Index first) { o.route_stats(first); },
                [](Torch const& torch, Tensor const& z) { torch.route_stats(z); });
      add_plan(pairs, m, n);
      add_torch(pairs, "route_plan", m, n,
                [](Ours& o, Index first) {
                  o.route_ranked(first);
                  o.plan(first);
                },
                [](Torch const& torch, Tensor const& z) { torch.plan(torch.route(z).ids); });
      add_backward(pairs, m, n);
      add_pipeline(pairs, m, n);
    }
});

} // namespace
} // namespace bench
