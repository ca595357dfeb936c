// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One strategy on synthetic tokens or on a recorded trace: R ranks as threads, the same loop for all.

#include "inputs.hpp"
#include "judge.hpp"
#include "registry.hpp"

#include "../train_moe_lm/record.hpp"

#include <moebal/core/trace.hpp>
#include <moebal/core/trace_writer.hpp>

#include <optional>

namespace lab {

/// One strategy's line of the table.
struct Result {
  std::string name, skipped;       // why it does not run here; empty: it ran
  std::vector<double> max_vio;     // [steps] load of a step on all ranks: max / mean - 1
  double max_vio_at[3] = {};       // after a tenth, a quarter, a half of the steps, mean of a few
  double max_vio_end = 0;          // mean of the last tenth
  double max_vio_micro = 0;        // of one micro-batch of one rank, mean of the last tenth
  Index balanced_after = -1;       // steps until max_vio was below the threshold, mean of a few; -1: never
  double drop_rate = 0;            // of the (token, choice) pairs of all steps
  double moved = 0;                // part of the choices that the router would not have made as it started; last tenth
  double mass = 0;                 // its probability, of kept choices, as a part of that of its own top-K; last tenth
  double bytes = 0;                // that a rank hands to collectives, a step
  double calls = 0;                // collectives a step
  double ns_per_token = 0;         // processor time of routing and balancing
  std::optional<train::Row> model; // what became of the model that was trained
  std::uint64_t seed = 1;
};

/// Fills what follows from max_vio of the steps, from that of their micro-batches, and from what ranks counted.
void summarise(std::vector<double> const& micro, Tally const& sum, double threshold, Result& result);

/// What does not depend on the strategy.
struct Setting {
  double coefficient = 0.1, rate = 0, capacity = 1.25, threshold = 0; // 0: by where the batches come from
  double anchor = 0.02; // how strongly a router is drawn to where it started, beside a loss
};

/// Where batches come from.
class Source {
public:
  explicit Source(Inputs const& inputs) : inputs_(&inputs) {}
  explicit Source(moebal::Trace const& trace);

  Index experts() const { return inputs_ ? inputs_->shape().experts : trace_->shape().experts; }
  Index ranks() const { return inputs_ ? inputs_->shape().ranks : ranks_; }
  Index micro_batches() const { return inputs_ ? inputs_->shape().micro_batches : micro_batches_; }
  Index steps() const { return inputs_ ? inputs_->shape().steps : steps_; }
  Inputs const* inputs() const { return inputs_; }
  std::uint64_t seed() const { return inputs_ ? inputs_->shape().seed : 1; }
  moebal::TraceBatch const& batch(Index step, Index rank, Index g) const {
    return *batches_[std::size_t((step * ranks_ + rank) * micro_batches_ + g)];
  }
  bool has_tags() const { return inputs_ != nullptr || trace_->shape().tags == moebal::TraceTags::Recorded; }
  /// Token ids in [0, V) and how often they occur.
  std::vector<std::int64_t> frequencies() const;

private:
  Inputs const* inputs_ = nullptr;
  moebal::Trace const* trace_ = nullptr;
  Index ranks_ = 1, micro_batches_ = 1, steps_ = 0;
  std::vector<moebal::TraceBatch const*> batches_; // [steps, ranks, micro-batches]
};

Make make_of(Source const& source, Setting const& setting);
/// record: where the logits go that the strategy routes by, or null.
Result run(Row const& row, Source const& source, Setting const& setting, moebal::TraceWriter* record = nullptr);

} // namespace lab
