// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What one run leaves behind: curves for the report, and one row for the table.

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace train {

/// A validation in the middle of a run, on a part of the validation text.
struct Checkpoint {
  std::int64_t step = 0;
  double perplexity = 0;
  double max_vio = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Checkpoint, step, perplexity, max_vio)

/// The columns of the table; what counts experts is the mean over the layers. Numbers of a finished run are the same
/// after a resume, times excepted.
struct Row {
  double perplexity = 0;               // of the whole validation text
  double perplexity_without_drops = 0; // the same weights, no capacity; equal to perplexity where nothing is dropped
  double perplexity_causal = 0;        // where a selection looks at later tokens: with its causal partner in its place
  double max_vio_global = 0;           // load of the whole validation text: max / mean - 1
  double max_vio_batch = 0;            // load of one training step, mean of the last tenth of the steps
  double max_vio_micro_batch = 0;      // load of one micro-batch, mean over the validation text
  double specialisation_bits = 0;      // mutual information of domain and expert over the validation text
  double top_domain_share = 0;         // of an expert's tokens, the share of its commonest domain; weighted by load
  std::int64_t dead_experts = 0;       // with less than a tenth of the mean load; of all layers
  double dropped_train = 0;            // share of (token, choice) pairs, over all steps
  double dropped = 0;                  // the same in validation
  double seconds_per_step = 0;         // wall time, validation excluded
  double choices = 0;                  // experts a token, over the validation text
  double balancer_share = 0;           // of the processor time of a step: balancer calls and statistics
  double balancer_wall_share = 0;      // the same of the wall time on rank 0, waiting included
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Row, perplexity, perplexity_without_drops, perplexity_causal, max_vio_global,
                                   max_vio_batch, max_vio_micro_batch, specialisation_bits, top_domain_share,
                                   dead_experts, dropped_train, dropped, seconds_per_step, choices, balancer_share,
                                   balancer_wall_share)

enum class Finished { No, Yes };

struct Record {
  std::string name; // of the strategy
  std::uint64_t seed = 0;
  std::int64_t experts = 0; // E, in each of L layers
  std::int64_t layers = 1;
  std::int64_t computing = 0; // the first of them, whose load counts: the others are zero-computation experts
  std::vector<std::string> domains;
  Finished finished = Finished::No;
  std::vector<double> train_loss; // [steps so far] nats per byte
  std::vector<double> max_vio;    // [steps so far] mean over the layers
  std::vector<std::int32_t> load; // [steps so far, L, E]
  std::vector<Checkpoint> checkpoints;
  std::vector<std::int64_t> domain_load;            // [domains, L, E] over the validation text, at the end
  std::int64_t dropped_pairs = 0, routed_pairs = 0; // in training
  double step_seconds = 0, cpu_seconds = 0, balancer_seconds = 0, routing_seconds = 0;
  double balancer_wall_seconds = 0; // of rank 0, waiting included
  Row row;
  std::int64_t steps() const { return std::int64_t(train_loss.size()); }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Record, name, seed, experts, layers, computing, domains, finished, train_loss,
                                   max_vio, load, checkpoints, domain_load, dropped_pairs, routed_pairs, step_seconds,
                                   cpu_seconds, balancer_seconds, routing_seconds, balancer_wall_seconds, row)

} // namespace train
