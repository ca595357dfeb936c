// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The search of plan/migrate.hpp, one layer. Sums are made anew after each step and products go through fma, so that
// every machine takes the same steps.

#include "old_places.hpp"
#include "rebalance.hpp"

#include <cmath>

namespace moebal::detail {

class LayerMigrator {
public:
  LayerMigrator(VectorView<float const> loads, ExpertId const* old, PlacementShape shape, double cost)
      : loads_(loads), slots_(shape.replicas), ranks_(shape.ranks), nodes_(shape.by_node() ? shape.nodes : 1),
        each_(slots_ / ranks_), cost_(cost), old_(old, old + slots_), now_(old_), best_(old_),
        old_held_(old, slots_, loads.size(), ranks_), held_(old_held_) {
    measure();
    best_price_ = price();
  }

  void walk(Index most_steps) {
    for (Index i = 0; i < most_steps && step(); ++i) keep_if_better();
  }
  /// One more candidate, from anywhere.
  void offer(ExpertId const* expert_of) {
    now_ = renumbered(expert_of, old_, loads_.size(), ranks_, nodes_);
    held_ = Held(now_.data(), slots_, loads_.size(), ranks_);
    measure();
    keep_if_better();
  }
  std::vector<ExpertId> result() const { return in_old_slots(best_, old_, ranks_); }

private:
  struct Step {
    double value = -1e300;       // what it saves, less what it costs
    Index slot = -1, other = -1; // a swap of two slots, or
    ExpertId expert = no_expert; // a new expert in `slot`
  };

  Index rank_of(Index slot) const { return slot / each_; }
  bool same_node(Index rank, Index other) const { return rank / (ranks_ / nodes_) == other / (ranks_ / nodes_); }
  double part(Index e, Index copies) const { return double(loads_[e]) / double(copies); }
  double most() const { return *std::max_element(sums_.begin(), sums_.end()); }
  double price() const { return std::fma(cost_, double(held_.beyond(old_held_)), mean_ > 0 ? most() / mean_ : 1.0); }

  void measure() {
    count_.assign(std::size_t(loads_.size()), 0);
    for (ExpertId const e : now_) ++count_[std::size_t(e)];
    sums_.assign(std::size_t(ranks_), 0);
    mean_ = 0;
    for (Index p = 0; p < slots_; ++p)
      sums_[std::size_t(rank_of(p))] += part(now_[std::size_t(p)], count_[std::size_t(now_[std::size_t(p)])]);
    for (double const s : sums_) mean_ += s;
    mean_ /= double(ranks_);
  }
  void keep_if_better() {
    if (double const p = price(); p < best_price_) best_price_ = p, best_ = now_;
  }

  // More (or fewer) copies to send when a rank gives one expert up for another.
  Index sends(Index rank, Index gives, Index takes) const {
    return (held_.at(rank, takes) >= old_held_.at(rank, takes) ? 1 : 0) -
           (held_.at(rank, gives) > old_held_.at(rank, gives) ? 1 : 0);
  }
  void consider(Step& best, double top, double next, Index sent, Step step) const {
    if (!(next < top * (1 - 1e-9))) return;
    step.value = std::fma(-cost_ * mean_, double(sent), top - next);
    if (step.value > best.value) best = step; // equal: the first
  }

  bool step() {
    Index const heavy = std::max_element(sums_.begin(), sums_.end()) - sums_.begin();
    double const top = sums_[std::size_t(heavy)];
    Step best;
    for (Index a = heavy * each_; a < (heavy + 1) * each_; ++a) {
      consider_swaps(best, top, heavy, a);
      consider_copies(best, top, heavy, now_[std::size_t(a)]);
    }
    if (best.slot < 0) return false;
    if (best.other >= 0)
      std::swap(now_[std::size_t(best.slot)], now_[std::size_t(best.other)]);
    else
      now_[std::size_t(best.slot)] = best.expert;
    held_ = Held(now_.data(), slots_, loads_.size(), ranks_);
    measure();
    return true;
  }

  void consider_swaps(Step& best, double top, Index heavy, Index a) const {
    Index const x = now_[std::size_t(a)];
    double const mine = part(x, count_[std::size_t(x)]);
    for (Index r = 0; r < ranks_; ++r) {
      if (r == heavy || !same_node(r, heavy)) continue;
      double rest = 0; // the fullest of the others
      for (Index o = 0; o < ranks_; ++o) rest = o == r || o == heavy ? rest : std::max(rest, sums_[std::size_t(o)]);
      for (Index b = r * each_; b < (r + 1) * each_; ++b) {
        Index const y = now_[std::size_t(b)];
        double const theirs = part(y, count_[std::size_t(y)]);
        if (x == y || !(theirs < mine)) continue;
        double const next = std::max({rest, (top - mine) + theirs, (sums_[std::size_t(r)] - theirs) + mine});
        consider(best, top, next, sends(heavy, x, y) + sends(r, y, x), {.slot = a, .other = b});
      }
    }
  }
  // A spare copy of y gives its slot to one more copy of x.
  void consider_copies(Step& best, double top, Index heavy, ExpertId x) const {
    Index const copies = count_[std::size_t(x)];
    double const fewer = part(x, copies + 1) - part(x, copies);
    for (Index s = 0; s < slots_; ++s) {
      Index const y = now_[std::size_t(s)], spare = count_[std::size_t(y)], r = rank_of(s);
      if (x == y || spare < 2 || !same_node(r, heavy)) continue;
      double const more = part(y, spare - 1) - part(y, spare);
      double next = 0;
      for (Index o = 0; o < ranks_; ++o) {
        double sum = std::fma(double(held_.at(o, x)), fewer, sums_[std::size_t(o)]);
        sum = std::fma(double(held_.at(o, y)), more, sum);
        if (o == r) sum += part(x, copies + 1) - part(y, spare - 1);
        next = std::max(next, sum);
      }
      consider(best, top, next, sends(r, y, x), {.slot = s, .expert = x});
    }
  }

  VectorView<float const> loads_; // [E]
  Index slots_, ranks_, nodes_, each_;
  double cost_, mean_ = 0, best_price_ = 0;
  std::vector<ExpertId> old_, now_, best_; // [P]
  Held old_held_, held_;
  std::vector<Index> count_; // [E]
  std::vector<double> sums_; // [R]
};

} // namespace moebal::detail
