// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What is timed of the library, behind one interface, so that routers are compiled once (ours.cpp) and peers read no templates.
// One virtual call stands before a batch.

#include "data.hpp"
#include "model.hpp"

#include <moebal/core/routing.hpp>
#include <moebal/plan/plan.hpp>

#include <memory>

namespace bench {

/// One model's router, T tokens at a time, with its input and all the memory that the work needs. Small batches walk through
/// at least 1024 rows, for a branch predictor would learn fewer by heart.
class Ours {
public:
  static constexpr Index least_rows = 1024;

  /// `threads`: the caller's and those of a pool.
  static std::shared_ptr<Ours> make(Model const&, Index tokens, Kind kind = Kind::iid, int threads = 1);
  virtual ~Ours() = default;

  virtual void route(Index first) = 0;       // with counts
  virtual void route_stats(Index first) = 0; // with counts and score sums
  virtual void route_ranked(Index first) = 0; // with counts and ranks
  virtual void plan(Index first) = 0;        // of what was routed, from its ranks
  virtual void plan_ids(Index first) = 0;    // from the ids alone
  virtual void backward(Index first) = 0;    // from d_weights and slopes
  virtual double step(Index first) = 0;      // Pipeline with MicroBatch, SwitchLoss and Self: forward, loss, backward
  virtual double step_by_hand(Index first) = 0;
  virtual moebal::VectorView<std::int64_t const> counts() const = 0; // [E] of the last route
  virtual double score_sum(Index e) const = 0;                       // of the last route_stats

  /// work(first row) for each batch.
  template <class Work> void each_batch(Work const& work) const {
    for (Index t = 0; t < rows; t += tokens) work(t);
  }

  Model const model;
  Index const tokens, rows;
  Array<float> const logits;     // [rows, E]
  std::vector<float> const bias; // [E] or empty
  moebal::Routing<float> routing; // [rows, K]
  moebal::Plan planned;
  std::vector<float> d_weights; // [T, K]
  std::vector<float> slopes;    // [E]
  Array<float> d_logits;        // [rows, E]

protected:
  Ours(Model const&, Index tokens, Kind);
};

} // namespace bench
