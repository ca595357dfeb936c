// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// backward: d logits from d weights and the slopes of a balancing loss, against a copy of the same bytes and against loops as people
// write them. Its answers are compared with autograd's too, in torch.cpp and by tests/contracts/gradients_test.cpp.

#include "entries.hpp"

#include <cstring>

namespace bench {
namespace {

/// A row at a time, one pass for each sum.
class BackwardByHand {
public:
  void operator()(Ours const& o, Index first, float* d_logits) {
    Model const& m = o.model;
    score_.resize(std::size_t(m.experts));
    for (Index t = 0; t < o.tokens; ++t)
      row(o, o.logits.data() + (first + t) * m.experts, o.routing.expert_ids().row(first + t),
          o.d_weights.data() + t * m.top_k, d_logits + t * m.experts);
  }

private:
  void row(Ours const& o, float const* z, ExpertId const* ids, float const* wanted, float* d) {
    Model const& m = o.model;
    bool const sigmoid = m.score == Model::Score::sigmoid;
    float most = z[0];
    for (Index e = 1; e < m.experts; ++e) most = std::max(most, z[e]);
    float all = 0, chosen = 0;
    for (Index e = 0; e < m.experts; ++e) {
      score_[std::size_t(e)] = sigmoid ? 1 / (1 + std::exp(-z[e])) : std::exp(z[e] - most);
      all += score_[std::size_t(e)];
    }
    for (Index k = 0; k < m.top_k; ++k) chosen += score_[std::size_t(ids[k])];
    // weights = scale * score / sum, and sum is that of the chosen or of all; so are the balancing loss's shares.
    float const sum = m.normalise ? chosen : all;
    float mean = 0, mean_weight = 0;
    for (Index e = 0; e < m.experts; ++e) mean += o.slopes[std::size_t(e)] * score_[std::size_t(e)] / all;
    for (Index k = 0; k < m.top_k; ++k) mean_weight += wanted[k] * score_[std::size_t(ids[k])] / sum;
    float const rest = m.normalise ? 0 : m.scale * mean_weight;
    for (Index e = 0; e < m.experts; ++e) d[e] = (o.slopes[std::size_t(e)] - mean - rest) / all;
    for (Index k = 0; k < m.top_k; ++k) d[ids[k]] += m.scale * (wanted[k] - (m.normalise ? mean_weight : 0)) / sum;
    for (Index e = 0; e < m.experts; ++e) {
      float const s = score_[std::size_t(e)];
      d[e] *= sigmoid ? s * (1 - s) : s;
    }
  }
  std::vector<float> score_;
};

auto by_hand(Ours& ours) {
  route_all(ours);
  std::vector<float> theirs(std::size_t(ours.tokens * ours.model.experts));
  BackwardByHand hand;
  ours.backward(0);
  hand(ours, 0, theirs.data());
  for (std::size_t i = 0; i < theirs.size(); ++i)
    require(std::abs(ours.d_logits[i] - theirs[i]) <= 1e-6, "the way back by hand", "d logits");
  return [=](Ours& o, Index first) mutable { hand(o, first, theirs.data()); };
}

Part const part([](Pairs const& pairs) {
  each_size(pairs, 1024, [&](Model const& m, Index n) {
    auto const ours = [](Ours& o, Index first) { o.backward(first); };
    add(pairs, "backward", m, n, "copy_floor", ours, [](Ours& all) {
      route_all(all);
      return [](Ours& o, Index first) {
        std::memcpy(o.d_logits.data() + first * o.model.experts, o.logits.data() + first * o.model.experts,
                    std::size_t(o.tokens * o.model.experts) * sizeof(float));
        benchmark::ClobberMemory();
      };
    });
    add(pairs, "backward", m, n, "handwritten", ours, by_hand);
  });
});

} // namespace
} // namespace bench
