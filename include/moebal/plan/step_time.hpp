// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How long a training step of a Mixture-of-Experts model takes, by part, from what a routing did: the load of each
// expert and the traffic between ranks. To compare routings on a machine that one does not have.

#include "link_cost.hpp"

namespace moebal::cost {

/// A rank as a processor of expert networks. An expert with n > 0 rows takes (n + start_rows) * FLOP of a row / flops:
/// at start_rows rows it runs at half its rate.
struct Processor {
  double flops = std::numeric_limits<double>::infinity(); // FLOP a second, of long products
  double start_rows = 0;                                  // rows that take as long as beginning
  double seconds(double rows, double flop_per_row) const {
    return rows > 0 ? (rows + start_rows) * flop_per_row / flops : 0;
  }
};

struct Machine {
  Network network{};
  Processor processor{};
};

/// Sizes of an expert.
struct Expert {
  Index width = 1;          // D
  Index hidden = 1;         // H of its feed-forward network
  Index matrices = 2;       // [D, H] each: 2, or 3 with a gate
  double element_bytes = 2; // of what is sent
  double row_bytes() const { return double(width) * element_bytes; }
  /// Multiply and add, forward.
  double flop_per_row() const { return 2 * double(matrices) * double(width) * double(hidden); }
};

enum class Pass {
  Forward,
  Training, // backward takes two products for each of forward, and exchanges the same rows once more each way
};

/// What the balancer sends: `messages` all-reduces a step of `bytes` each. `hidden` seconds of each run under something
/// else: 0 for a blocking one.
struct Statistics {
  double messages = 0, bytes = 0, hidden = 0;
  AllReduce algorithm = AllReduce::RecursiveDoubling;
};

/// The step around one layer's routing.
struct Step {
  Index layers = 1, micro_batches = 1; // that many exchanges with the given load and traffic
  Pass pass = Pass::Training;
  Statistics statistics{};
  double gradient_bytes = 0; // all-reduced over all ranks, by a ring, in the open; 0: not asked for
  double other = 0;          // seconds that no routing changes: attention, optimizer
};

/// Seconds of a step, by part. Every part ends where its busiest rank does, so they add up.
struct StepTime {
  double compute = 0;    // the experts
  double dispatch = 0;   // rows to the experts
  double combine = 0;    // and back
  double statistics = 0; // of the balancer
  double gradients = 0;
  double other = 0;
  double exchange() const { return dispatch + combine; }
  double total() const { return compute + dispatch + combine + statistics + gradients + other; }
};

/// Seconds that the busiest rank computes: max over ranks of the sum over its experts e of processor.seconds(load_e).
/// @param load  [E] rows of each expert, kept ones; with padded slots, the slots
inline double compute_seconds(Processor const& processor, Topology const& topology, VectorView<std::int64_t const> load,
                              double flop_per_row) {
  require_equal("load [E]", topology.experts(), load.size());
  if (!(processor.flops > 0))
    moebal::detail::refuse<ShapeError>("FLOP a second of a rank", "more than 0", std::to_string(processor.flops));
  double busiest = 0;
  for (Index r = 0; r < topology.ranks(); ++r) {
    double mine = 0;
    for (ExpertId const e : topology.experts_of(r)) mine += processor.seconds(double(load[e]), flop_per_row);
    busiest = std::max(busiest, mine);
  }
  return busiest;
}

/// The time of a step whose layers and micro-batches are all routed alike.
/// @param load     [E] rows of each expert in one layer and micro-batch of all ranks
/// @param traffic  [R, R] rows from a rank (row) to a rank (column), in the same (plan/traffic.hpp)
/// @param path     the way of the rows
/// Formula: layers * micro_batches * (p compute + q exchange there + q exchange back), p = 3 and q = 2 for Training, 1
/// and 1 for Forward; and the collectives of Statistics and gradients. The all-reduces count all ranks
/// of the topology as nodes of equal size (the first node's); ShapeError where that does not divide and one is asked
/// for. What is left out: overlap of exchange and experts, waiting that is not load, and all that `other` is.
/// Cost: O(R^2 + E). Errors: those of exchange_seconds and all_reduce_seconds. Example: examples/locality.
template <dispatch_path Path = path::Flat>
StepTime step_time(Machine const& machine, Topology const& topology, Expert const& expert,
                   VectorView<std::int64_t const> load, MatrixView<std::int64_t const> traffic, Step const& step = {},
                   Path path = {}) {
  require_at_least("layers of a step", 0, step.layers);
  require_at_least("micro-batches of a step", 0, step.micro_batches);
  double const times = double(step.layers) * double(step.micro_batches);
  bool const training = step.pass == Pass::Training;
  StepTime time;
  time.compute = times * (training ? 3 : 1) *
                 compute_seconds(machine.processor, topology, load, expert.flop_per_row());
  time.dispatch = times * (training ? 2 : 1) *
                  exchange_seconds(machine.network, topology, traffic, expert.row_bytes(), path);
  time.combine = time.dispatch; // the same rows the way that they came, on links that are alike in both directions
  VectorView<Index const> const nodes = topology.node_of_rank();
  Ranks const ranks{topology.ranks(), Index(std::count(nodes.begin(), nodes.end(), Index(0)))};
  if (Statistics const& s = step.statistics; s.messages > 0)
    time.statistics =
        s.messages * std::max(0.0, all_reduce_seconds(machine.network, ranks, s.bytes, s.algorithm) - s.hidden);
  if (step.gradient_bytes > 0)
    time.gradients = all_reduce_seconds(machine.network, ranks, step.gradient_bytes, AllReduce::Ring);
  time.other = step.other;
  return time;
}

} // namespace moebal::cost
