// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "load_weighted_l1.hpp"
#include "state.hpp"

#include "../core/communication.hpp"

namespace moebal {

/// The one lambda of ReMoE's regulariser (2412.14711) for all layers of a model: after each step lambda *= growth where
/// the tokens of all layers, micro-batches and ranks together had more than K experts a layer on, lambda /= growth
/// else.
///   SharedSparsity lambda({.active = K});
///   each layer:  Balancer{GlobalBatch<>{}, lambda.rule(), shape, comm}   (LoadWeightedL1 that reads this lambda)
///   each micro-batch of each layer:  lambda.observe(load)                each step:  lambda.end_step(comm)
/// Layers may differ in E; a layer with few experts weighs no less than one with many, since what is compared is the
/// sum of the experts that were on (the paper averages the share of zeros over layers of one size: the same thing).
/// The layers' rules read this object: keep it where it is while they live. Communicated: two integers a step, for all
/// layers. Gradient: none through lambda. Exact: moved by a comparison of integers, the same bits for any cut of a
/// step.
class SharedSparsity {
public:
  /// first, growth, active: as LoadWeightedL1 says; active: at least 1.
  explicit SharedSparsity(LoadWeightedL1 options) : options_(options), lambda_(options.first) {
    require_at_least("shared_sparsity: active experts a token", 1, options.active);
    options_.shared = &lambda_;
  }
  SharedSparsity(SharedSparsity const&) = delete;
  SharedSparsity& operator=(SharedSparsity const&) = delete;

  /// The rule of a layer.
  LoadWeightedL1 rule() const { return options_; }
  float value() const { return lambda_; }

  /// Counts one micro-batch of one layer, on this rank. load: with stats::Counts, one row a sequence. A recomputed
  /// forward pass is not to be shown again.
  template <class L> void observe(L const& load) {
    for (Index s = 0; s < load.sequences(); ++s) {
      for (std::int64_t const c : load.template get<stats::Counts>(s)) sums_[0] += c;
      sums_[1] += load.tokens(s);
    }
  }
  /// Closes the step. Collective; equal on all ranks.
  template <communicator Comm> void end_step(Comm const& comm) {
    std::int64_t sums[2] = {sums_[0], sums_[1]};
    comm.all_reduce_sum(VectorView<std::int64_t>(sums, 2));
    sums_[0] = sums_[1] = 0;
    lambda_ = options_.moved(lambda_, sums[0], options_.active * sums[1]);
  }

  /// Writes and reads lambda, as a balancer does with its bias (balance/state.hpp).
  void save(std::ostream& out) const { detail::write_state(out, state()); }
  void restore(std::istream& in) { lambda_ = detail::read_state(in, state()).numbers[0]; }

private:
  detail::BalancerState state() const { return {"shared_sparsity", 0, options_.active, 0, {lambda_}}; }

  LoadWeightedL1 options_;
  float lambda_;
  std::int64_t sums_[2] = {}; // experts that were on; tokens, once a layer
};

} // namespace moebal
