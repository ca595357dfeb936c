// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the table says of routed micro-batches, whoever routed them: synthetic tokens, a trace or the training of a
// model.

#include "method.hpp"

#include <moebal/stats/metrics.hpp>

#include <algorithm>
#include <numeric>

namespace lab {

inline void softmax(In z, Index t, float* p) {
  float const top = *std::max_element(z.row(t), z.row(t) + z.cols());
  float sum = 0;
  for (Index e = 0; e < z.cols(); ++e) sum += p[e] = std::exp(z(t, e) - top);
  for (Index e = 0; e < z.cols(); ++e) p[e] /= sum;
}

/// What one rank has counted.
struct Tally {
  std::vector<std::int64_t> load; // [E]
  double micro = 0;               // sum of max_vio of micro-batches
  Index routed = 0, kept = 0, judged = 0, moved = 0;
  double mass = 0, full_mass = 0;

  void add(Tally const& t) {
    load.resize(std::max(load.size(), t.load.size()), 0);
    for (std::size_t e = 0; e < t.load.size(); ++e) load[e] += t.load[e];
    micro += t.micro;
    routed += t.routed, kept += t.kept, judged += t.judged, moved += t.moved;
    mass += t.mass, full_mass += t.full_mass;
  }
  /// Of the experts that compute.
  double max_vio(Index computing) const {
    return moebal::stats::max_vio(VectorView<std::int64_t const>(load.data(), std::min(computing, Index(load.size()))));
  }
};

class Judge {
public:
  /// Load, and what a capacity would keep. Collective where the capacity is one of all ranks.
  void count(Method& method, Ids ids, In weights, Index experts, Tally& tally) {
    Tally mine;
    mine.load.assign(std::size_t(experts), 0);
    method.keep(ids, weights, kept_);
    for (Index i = 0; i < ids.rows() * ids.cols(); ++i) {
      if (ids.data()[i] < 0) continue;
      ++mine.load[std::size_t(ids.data()[i])];
      ++mine.routed;
      mine.kept += kept_[std::size_t(i)];
    }
    mine.micro = mine.max_vio(method.zeros().ffn);
    tally.add(mine);
  }
  /// Against the top-K of the logits [T, E] of a router that nothing moves; count() came just before.
  void compare(Method const& method, Ids ids, In reference, Tally& tally) {
    std::size_t const experts = std::size_t(reference.cols());
    p_.resize(experts), order_.resize(experts), place_.resize(experts);
    for (Index t = 0; t < ids.rows(); ++t) {
      softmax(reference, t, p_.data());
      std::iota(order_.begin(), order_.end(), Index(0));
      std::stable_sort(order_.begin(), order_.end(),
                       [&](Index x, Index y) { return p_[std::size_t(x)] > p_[std::size_t(y)]; });
      for (std::size_t i = 0; i < experts; ++i) place_[std::size_t(order_[i])] = Index(i);
      Index const n = std::count_if(ids.row(t), ids.row(t) + ids.cols(), [](auto e) { return e >= 0; });
      for (Index i = 0; i < ids.cols(); ++i) {
        auto const e = ids(t, i);
        if (e < 0) continue;
        tally.moved += place_[std::size_t(e)] >= n;
        if (kept_[std::size_t(t * ids.cols() + i)]) tally.mass += double(p_[std::size_t(e)]);
      }
      tally.judged += n;
      for (Index i = 0; i < method.choices(); ++i) tally.full_mass += double(p_[std::size_t(order_[std::size_t(i)])]);
    }
  }

private:
  std::vector<std::uint8_t> kept_;
  Numbers p_;
  std::vector<Index> order_, place_;
};

} // namespace lab
