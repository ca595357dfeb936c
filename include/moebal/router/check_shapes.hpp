// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Whether what a router is given fits together. Everything is refused before any work.

#include "../core/errors.hpp"
#include "../core/execution.hpp"
#include "../core/routing.hpp"
#include "../stats/load.hpp"
#include "backward_row.hpp"

namespace moebal::detail {

template <class Exec, class Memory, class X> constexpr void check_memory() {
  check_reach<Exec, Memory, typename X::memory>();
}

template <class Memory> void check_bias(RowOptions<Memory> const& options, Index tokens, Index experts) {
  Index const rows = options.bias.size() / experts;
  if (tokens > 0 && options.classes.empty()) return require_equal("bias [E]", experts, options.bias.size());
  require_equal("bias [C, E], entries", (rows < 1 ? 1 : rows) * experts, options.bias.size());
  if constexpr (std::same_as<Memory, HostMemory>)
    for (Index const c : options.classes) require_within("classes [T], each entry (C - 1 is the upper bound)", 0, rows - 1, c);
}

/// Returns the number of sequences.
template <class Memory> Index check_options(RowOptions<Memory> const& options, Index tokens, Index experts) {
  if (!options.classes.empty()) require_equal("classes [T]", tokens, options.classes.size());
  if (!options.bias.empty()) check_bias(options, tokens, experts);
  if (!options.padding.empty()) require_equal("padding [T]", tokens, options.padding.size());
  if (!options.tags.empty()) require_equal("tags [T]", tokens, options.tags.size());
  if (options.segments.empty()) return 1;
  require_at_least("segments [S + 1], entries", 2, options.segments.size());
  if constexpr (std::same_as<Memory, HostMemory>) {
    require_equal("segments [S + 1], first entry", 0, options.segments[0]);
    require_equal("segments [S + 1], last entry (T)", tokens, options.segments[options.segments.size() - 1]);
    for (Index s = 1; s < options.segments.size(); ++s)
      require_at_least("segments [S + 1], each entry after the one before it", options.segments[s - 1], options.segments[s]);
  }
  return options.segments.size() - 1;
}

template <class Real, class Memory>
void check_routing(RoutingView<Real, Memory> const& routing, Index tokens, Index top_k) {
  require_equal("expert_ids [T, K], rows", tokens, routing.expert_ids.rows());
  require_equal("expert_ids [T, K], columns", top_k, routing.expert_ids.cols());
  require_equal("weights [T, K], rows", tokens, routing.weights.rows());
  require_equal("weights [T, K], columns", top_k, routing.weights.cols());
}

/// An empty load asks for nothing, which is an answer only where nothing is needed.
template <class Needs, class Memory>
void check_load(LoadView<Needs, Memory> const& load, Index sequences, Index experts) {
  if (load.data() == nullptr && Needs::slots(1) <= Needs::header) return;
  require_equal("load, sequences", sequences, load.sequences());
  require_equal("load, experts", experts, load.experts());
}

template <class Real, class Memory>
void check_gradient(RouterGradient<Real, Memory> const& gradient, MatrixView<Real, Memory> d_logits,
                    MatrixView<ExpertId const, Memory> expert_ids, Index tokens, Index top_k, Index experts,
                    Index sequences) {
  require_equal("d_logits [T, E], rows", tokens, d_logits.rows());
  require_equal("d_logits [T, E], columns", experts, d_logits.cols());
  if (gradient.d_weights.cols() > 0 || gradient.weight_slopes.cols() > 0) {
    require_equal("expert_ids [T, K], rows", tokens, expert_ids.rows());
    require_equal("expert_ids [T, K], columns", top_k, expert_ids.cols());
  }
  if (gradient.weight_slopes.cols() > 0) {
    require_equal("weight_slopes [S, E], rows", sequences, gradient.weight_slopes.rows());
    require_equal("weight_slopes [S, E], columns", experts, gradient.weight_slopes.cols());
  }
  if (gradient.d_weights.cols() > 0) {
    require_equal("d_weights [T, K], rows", tokens, gradient.d_weights.rows());
    require_equal("d_weights [T, K], columns", top_k, gradient.d_weights.cols());
  }
  if (gradient.slopes.cols() > 0) {
    require_equal("slopes [S, E], rows", sequences, gradient.slopes.rows());
    require_equal("slopes [S, E], columns", experts, gradient.slopes.cols());
  }
  if (gradient.z_slopes.size() > 0) require_equal("z_slopes [S]", sequences, gradient.z_slopes.size());
}

} // namespace moebal::detail
