// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// From validated micro-batches to the numbers of a record. All sums run in the order of the micro-batches.

#include "parameters.hpp"
#include "record.hpp"

#include <moebal/stats/metrics.hpp>
#include <moebal/stats/metrics_specialisation.hpp>

#include <numeric>

namespace train {

/// How much validation text is read.
struct Validation {
  Index at_end = 48;     // micro-batches of each domain
  Index midway = 12;     // the same, at each checkpoint
  Index checkpoints = 8; // in a run
};

/// What became of one validation micro-batch.
struct Validated {
  Index domain = 0;
  double loss = 0, loss_without_drops = 0; // sums over its tokens, in nats
  std::vector<std::int64_t> load;          // [L, E] before any drop
  Index dropped = 0;
};

/// tokens: of a micro-batch.
inline double perplexity_of(std::vector<Validated> const& results, Index tokens) {
  double loss = 0;
  for (Validated const& r : results) loss += r.loss;
  return std::exp(loss / (double(results.size()) * double(tokens)));
}

/// The mean over the layers of f(the first `computing` loads of the layer). load: [L, E].
template <class F> double mean_of_layers(std::vector<std::int64_t> const& load, Index experts, Index computing, F f) {
  double sum = 0;
  Index const layers = Index(load.size()) / experts;
  for (Index l = 0; l < layers; ++l) {
    auto const first = load.begin() + l * experts;
    sum += double(f(std::vector<std::int64_t>(first, first + computing)));
  }
  return sum / double(layers);
}
inline double mean_max_vio(std::vector<std::int64_t> const& load, Index experts, Index computing) {
  return mean_of_layers(load, experts, computing, [](auto const& layer) { return moebal::stats::max_vio(layer); });
}

/// [L, E], of all micro-batches.
inline std::vector<std::int64_t> total_load(std::vector<Validated> const& results) {
  std::vector<std::int64_t> load(results.front().load.size(), 0);
  for (Validated const& r : results)
    for (std::size_t e = 0; e < load.size(); ++e) load[e] += r.load[e];
  return load;
}

/// Adds a checkpoint. tokens: of a micro-batch.
inline void note_checkpoint(std::vector<Validated> const& results, Index step, Index tokens, Record& record) {
  record.checkpoints.push_back({.step = step,
                                .perplexity = perplexity_of(results, tokens),
                                .max_vio = mean_max_vio(total_load(results), record.experts, record.computing)});
}

/// Fills the row of the table. tokens: of a micro-batch.
inline void finish(std::vector<Validated> const& results, Index domains, Index tokens, Record& record) {
  double loss_without_drops = 0, micro = 0;
  Index dropped = 0, pairs = 0;
  Index const all_layers = record.layers * record.experts;
  record.domain_load.assign(std::size_t(domains * all_layers), 0);
  for (Validated const& r : results) {
    loss_without_drops += r.loss_without_drops;
    micro += mean_max_vio(r.load, record.experts, record.computing);
    pairs += std::accumulate(r.load.begin(), r.load.end(), std::int64_t(0));
    dropped += r.dropped;
    for (std::size_t e = 0; e < r.load.size(); ++e)
      record.domain_load[std::size_t(r.domain * all_layers) + e] += r.load[e];
  }
  std::vector<std::int64_t> const load = total_load(results);
  double const batches = double(results.size());
  Row& row = record.row;
  row.perplexity = row.perplexity_causal = perplexity_of(results, tokens);
  row.perplexity_without_drops = std::exp(loss_without_drops / (batches * double(tokens)));
  row.max_vio_global = mean_max_vio(load, record.experts, record.computing);
  Index const tail = std::max<Index>(1, record.steps() / 10);
  row.max_vio_batch = std::accumulate(record.max_vio.end() - tail, record.max_vio.end(), 0.0) / double(tail);
  row.max_vio_micro_batch = micro / batches;
  for (Index l = 0; l < record.layers; ++l) {
    moebal::MatrixView<std::int64_t const> const table(record.domain_load.data() + l * record.experts, domains,
                                                       record.experts, all_layers);
    row.specialisation_bits += moebal::stats::mutual_information(table) / double(record.layers);
    row.top_domain_share += moebal::stats::top_domain_share(table) / double(record.layers);
  }
  row.dead_experts = std::llround(double(record.layers) *
                                  mean_of_layers(load, record.experts, record.computing, [](auto const& layer) {
                                    return moebal::stats::dead_experts(layer, 0.1);
                                  }));
  row.dropped_train = moebal::stats::drop_rate(record.dropped_pairs, record.routed_pairs);
  row.dropped = moebal::stats::drop_rate(dropped, pairs);
  row.choices = double(pairs) / (batches * double(tokens * record.layers));
  row.seconds_per_step = record.step_seconds / double(record.steps());
  row.balancer_share = record.cpu_seconds > 0 ? record.balancer_seconds / record.cpu_seconds : 0;
  row.balancer_wall_share = record.balancer_wall_seconds / record.step_seconds;
  record.checkpoints.push_back({.step = record.steps(), .perplexity = row.perplexity, .max_vio = row.max_vio_global});
  record.finished = Finished::Yes;
}

} // namespace train
