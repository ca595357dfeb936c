// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What people write by hand. `naive` makes (key, id) pairs and sorts the K best; `scan` keeps the K best so far in a short sorted
// list and compares each key with the last of them, which is as good as scalar code gets.

#include <moebal/moebal.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace bench {

using moebal::ExpertId;
using moebal::Index;

/// How a model routes, as the baselines read it.
struct Model {
  enum class Score { softmax, softmax_over_chosen, sigmoid } score;
  bool normalise;
  float scale;
  Index groups = 1, kept = 1; // groups are ranked by their best two
};

struct Outcome {
  std::vector<ExpertId> ids;
  std::vector<float> weights;
  std::vector<std::int64_t> counts;
};

class Baseline {
public:
  Baseline(Model model, Index experts, int top_k, float const* bias)
      : model_(model), experts_(experts), top_k_(top_k), bias_(bias), score_(std::size_t(experts)), key_(std::size_t(experts)) {}

  enum class Way { naive, scan };

  /// T rows, with the counts of the experts.
  template <Way way> void route(float const* logits, Index tokens, Outcome& out) {
    out.ids.resize(std::size_t(tokens * top_k_));
    out.weights.resize(std::size_t(tokens * top_k_));
    out.counts.assign(std::size_t(experts_), 0);
    for (Index t = 0; t < tokens; ++t) {
      float const* const z = logits + t * experts_;
      ExpertId* const ids = out.ids.data() + t * top_k_;
      float* const w = out.weights.data() + t * top_k_;
      float const* keys = z;
      if (model_.score == Model::Score::sigmoid) {
        for (Index e = 0; e < experts_; ++e) {
          score_[std::size_t(e)] = 1 / (1 + std::exp(-z[e]));
          key_[std::size_t(e)] = score_[std::size_t(e)] + (bias_ ? bias_[e] : 0);
        }
        if (model_.groups > 1) mask_groups();
        keys = key_.data();
      }
      if constexpr (way == Way::naive)
        naive(keys, ids);
      else
        scan(keys, ids);
      weigh(z, ids, w);
      for (int k = 0; k < top_k_; ++k) ++out.counts[std::size_t(ids[k])];
    }
  }

private:
  void naive(float const* keys, ExpertId* ids) {
    pairs_.resize(std::size_t(experts_));
    for (Index e = 0; e < experts_; ++e) pairs_[std::size_t(e)] = {keys[e], ExpertId(e)};
    std::partial_sort(pairs_.begin(), pairs_.begin() + top_k_, pairs_.end(), [](auto const& a, auto const& b) {
      return a.first > b.first || (a.first == b.first && a.second < b.second);
    });
    for (int k = 0; k < top_k_; ++k) ids[k] = pairs_[std::size_t(k)].second;
  }
  void scan(float const* keys, ExpertId* ids) {
    float best[32];
    int n = 0;
    for (Index e = 0; e < experts_; ++e) {
      float const x = keys[e];
      if (n == top_k_ && !(x > best[n - 1])) continue;
      int at = n < top_k_ ? n++ : n - 1;
      for (; at > 0 && x > best[at - 1]; --at) {
        best[at] = best[at - 1];
        ids[at] = ids[at - 1];
      }
      best[at] = x;
      ids[at] = ExpertId(e);
    }
  }
  void mask_groups() {
    Index const size = experts_ / model_.groups;
    std::vector<std::pair<float, Index>>& sums = sums_;
    sums.resize(std::size_t(model_.groups));
    for (Index g = 0; g < model_.groups; ++g) {
      float first = -std::numeric_limits<float>::infinity(), second = first;
      for (Index e = g * size; e < (g + 1) * size; ++e) {
        float const x = key_[std::size_t(e)];
        if (x > first) {
          second = first;
          first = x;
        } else if (x > second) {
          second = x;
        }
      }
      sums[std::size_t(g)] = {first + second, g};
    }
    std::sort(sums.begin(), sums.end(), [](auto const& a, auto const& b) {
      return a.first > b.first || (a.first == b.first && a.second < b.second);
    });
    for (Index i = model_.kept; i < model_.groups; ++i) {
      Index const g = sums[std::size_t(i)].second;
      std::fill_n(key_.begin() + g * size, size, -std::numeric_limits<float>::infinity());
    }
  }
  void weigh(float const* z, ExpertId const* ids, float* w) const {
    float sum = 0;
    if (model_.score == Model::Score::sigmoid) {
      for (int k = 0; k < top_k_; ++k) sum += w[k] = score_[std::size_t(ids[k])];
    } else if (model_.score == Model::Score::softmax && !model_.normalise) {
      float most = z[0];
      for (Index e = 1; e < experts_; ++e) most = std::max(most, z[e]);
      for (Index e = 0; e < experts_; ++e) sum += std::exp(z[e] - most);
      for (int k = 0; k < top_k_; ++k) w[k] = std::exp(z[ids[k]] - most);
    } else {
      for (int k = 0; k < top_k_; ++k) sum += w[k] = std::exp(z[ids[k]] - z[ids[0]]);
    }
    for (int k = 0; k < top_k_; ++k) w[k] = w[k] / sum * model_.scale;
  }

  Model model_;
  Index experts_;
  int top_k_;
  float const* bias_;
  std::vector<float> score_, key_;
  std::vector<std::pair<float, ExpertId>> pairs_;
  std::vector<std::pair<float, Index>> sums_;
};

/// Stable grouping by expert: count, scan, scatter.
inline void counting_sort(ExpertId const* ids, Index pairs, Index experts, std::vector<Index>& offsets, std::vector<Index>& order,
                          std::vector<Index>& slot_of) {
  offsets.assign(std::size_t(experts) + 1, 0);
  order.resize(std::size_t(pairs));
  slot_of.resize(std::size_t(pairs));
  for (Index i = 0; i < pairs; ++i) ++offsets[std::size_t(ids[i]) + 1];
  for (Index e = 0; e < experts; ++e) offsets[std::size_t(e) + 1] += offsets[std::size_t(e)];
  std::vector<Index> next(offsets.begin(), offsets.end() - 1);
  for (Index i = 0; i < pairs; ++i) {
    Index const slot = next[std::size_t(ids[i])]++;
    order[std::size_t(slot)] = i;
    slot_of[std::size_t(i)] = slot;
  }
}

/// The least that any router does: reads each logit once.
inline float read_all(float const* x, Index n) {
  float most[64];
  std::fill_n(most, 64, -1e30f);
  Index i = 0;
  for (; i + 64 <= n; i += 64)
    for (int j = 0; j < 64; ++j) most[j] = x[i + j] > most[j] ? x[i + j] : most[j];
  for (; i < n; ++i) most[0] = std::max(most[0], x[i]);
  return *std::max_element(most, most + 64);
}

} // namespace bench
