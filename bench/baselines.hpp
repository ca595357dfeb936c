// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What people write by hand. `naive` makes (key, id) pairs and sorts the K best; `scan` keeps the K best so far in a short sorted
// list and compares each key with the last of them, which is as good as scalar code gets; `eigen` scores with Eigen's vectorised
// expressions and selects with std::nth_element.

#include "model.hpp"

#include <moebal/core/math.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

namespace bench {

struct Outcome {
  std::vector<ExpertId> ids;        // [T, K]
  std::vector<float> weights;       // [T, K]
  std::vector<std::int64_t> counts; // [E]
  std::vector<double> score_sums;   // [E], where they were asked for
};

enum class Way { naive, scan, eigen, oracle };

/// `oracle` is scan with the library's score function, so that ids can be compared exactly.
template <Way way> class Baseline {
public:
  explicit Baseline(Model const& model)
      : m_(model), bias_(model.bias()), score_(std::size_t(m_.experts)), key_(score_), order_(std::size_t(m_.experts)) {}

  /// T rows, with the counts of the experts and, if asked, the sums of their scores.
  void route(float const* logits, Index tokens, Outcome& out, bool stats = false) {
    out.ids.resize(std::size_t(tokens * m_.top_k));
    out.weights.resize(std::size_t(tokens * m_.top_k));
    out.counts.assign(std::size_t(m_.experts), 0);
    if (stats) out.score_sums.assign(std::size_t(m_.experts), 0);
    for (Index t = 0; t < tokens; ++t) {
      float const* const z = logits + t * m_.experts;
      ExpertId* const ids = out.ids.data() + t * m_.top_k;
      float const* const keys = make_keys(z);
      if constexpr (way == Way::naive)
        naive(keys, ids);
      else if constexpr (way == Way::eigen)
        select(keys, ids);
      else
        scan(keys, ids);
      weigh(z, ids, out.weights.data() + t * m_.top_k);
      for (int k = 0; k < m_.top_k; ++k) ++out.counts[std::size_t(ids[k])];
      if (stats) add_scores(z, out.score_sums);
    }
  }

private:
  static constexpr float epsilon = 1e-20f; // as in DeepSeek-V3, for scores that are all but 0

  using Row = Eigen::Map<Eigen::ArrayXf const>;
  Row row(float const* x) const { return {x, m_.experts}; }

  static float sigmoid(float z) {
    if constexpr (way == Way::oracle)
      return moebal::math::sigmoid(z);
    else
      return 1 / (1 + std::exp(-z));
  }
  float const* make_keys(float const* z) {
    if (m_.score != Model::Score::sigmoid) return z;
    if constexpr (way == Way::eigen) {
      Eigen::Map<Eigen::ArrayXf> score(score_.data(), m_.experts);
      score = row(z).logistic();
      Eigen::Map<Eigen::ArrayXf>(key_.data(), m_.experts) = score + row(bias_.data());
    } else {
      for (Index e = 0; e < m_.experts; ++e) {
        score_[std::size_t(e)] = sigmoid(z[e]);
        key_[std::size_t(e)] = score_[std::size_t(e)] + bias_[std::size_t(e)];
      }
    }
    if (m_.groups > 1) mask_groups();
    return key_.data();
  }
  void naive(float const* keys, ExpertId* ids) {
    pairs_.resize(std::size_t(m_.experts));
    for (Index e = 0; e < m_.experts; ++e) pairs_[std::size_t(e)] = {keys[e], e};
    std::partial_sort(pairs_.begin(), pairs_.begin() + m_.top_k, pairs_.end(), better);
    for (int k = 0; k < m_.top_k; ++k) ids[k] = ExpertId(pairs_[std::size_t(k)].second);
  }
  void select(float const* keys, ExpertId* ids) {
    for (Index e = 0; e < m_.experts; ++e) order_[std::size_t(e)] = ExpertId(e);
    auto const first = [=](ExpertId a, ExpertId b) { return keys[a] > keys[b] || (keys[a] == keys[b] && a < b); };
    std::nth_element(order_.begin(), order_.begin() + m_.top_k - 1, order_.end(), first);
    std::sort(order_.begin(), order_.begin() + m_.top_k, first);
    std::copy_n(order_.begin(), m_.top_k, ids);
  }
  void scan(float const* keys, ExpertId* ids) const {
    float best[32];
    int n = 0;
    for (Index e = 0; e < m_.experts; ++e) {
      float const x = keys[e];
      if (n == m_.top_k && !(x > best[n - 1])) continue;
      int at = n < m_.top_k ? n++ : n - 1;
      for (; at > 0 && x > best[at - 1]; --at) {
        best[at] = best[at - 1];
        ids[at] = ids[at - 1];
      }
      best[at] = x;
      ids[at] = ExpertId(e);
    }
  }
  using Pair = std::pair<float, Index>;
  static bool better(Pair const& a, Pair const& b) { return a.first > b.first || (a.first == b.first && a.second < b.second); }

  void mask_groups() {
    Index const size = m_.experts / m_.groups;
    sums_.resize(std::size_t(m_.groups));
    for (Index g = 0; g < m_.groups; ++g) {
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
      sums_[std::size_t(g)] = {first + second, g};
    }
    std::sort(sums_.begin(), sums_.end(), better);
    for (Index i = m_.kept; i < m_.groups; ++i)
      std::fill_n(key_.begin() + sums_[std::size_t(i)].second * size, size, -std::numeric_limits<float>::infinity());
  }

  // exp(z - most) of a whole row, into score_; its sum.
  float exponentials(float const* z) {
    float most = z[0], sum = 0;
    if constexpr (way == Way::eigen) {
      most = row(z).maxCoeff();
      Eigen::Map<Eigen::ArrayXf> score(score_.data(), m_.experts);
      score = (row(z) - most).exp();
      return score.sum();
    }
    for (Index e = 1; e < m_.experts; ++e) most = std::max(most, z[e]);
    for (Index e = 0; e < m_.experts; ++e) sum += score_[std::size_t(e)] = std::exp(z[e] - most);
    return sum;
  }
  void weigh(float const* z, ExpertId const* ids, float* w) {
    float sum = 0;
    if (m_.score == Model::Score::sigmoid || (m_.score == Model::Score::softmax && !m_.normalise)) {
      float const all = m_.score == Model::Score::softmax ? exponentials(z) : 0;
      for (int k = 0; k < m_.top_k; ++k) sum += w[k] = score_[std::size_t(ids[k])];
      sum = m_.normalise ? sum + epsilon : all;
    } else {
      for (int k = 0; k < m_.top_k; ++k) sum += w[k] = std::exp(z[ids[k]] - z[ids[0]]);
    }
    for (int k = 0; k < m_.top_k; ++k) w[k] = w[k] / sum * m_.scale;
  }
  void add_scores(float const* z, std::vector<double>& sums) {
    float sum = 0;
    if (m_.score == Model::Score::sigmoid)
      sum = std::accumulate(score_.begin(), score_.end(), epsilon);
    else
      sum = exponentials(z);
    for (std::size_t e = 0; e < score_.size(); ++e) sums[e] += double(score_[e] / sum);
  }

  Model m_;
  std::vector<float> bias_, score_, key_;
  std::vector<ExpertId> order_;
  std::vector<Pair> pairs_, sums_;
};

} // namespace bench
