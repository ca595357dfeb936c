// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the ranks counted in one step, brought to rank 0 and added to its record in rank order.

#include "collect.hpp"
#include "record.hpp"
#include "validation.hpp"

#include <bit>
#include <numeric>

namespace train {

/// What a rank counted in one step.
struct Tally {
  double loss = 0;                // sum over its tokens, in nats
  std::vector<std::int64_t> load; // [L, E] before any drop
  Index dropped = 0;
  double cpu_seconds = 0, balancer_seconds = 0, routing_seconds = 0;

  void reset(Index layers, Index experts) {
    *this = {.load = std::move(load)};
    load.assign(std::size_t(layers * experts), 0);
  }
  std::vector<std::int64_t> words() const {
    std::vector<std::int64_t> words{dropped};
    for (double const x : {loss, cpu_seconds, balancer_seconds, routing_seconds})
      words.push_back(std::bit_cast<std::int64_t>(x));
    words.insert(words.end(), load.begin(), load.end());
    return words;
  }
};

/// Adds the tallies of all ranks to the record of rank 0. tokens: of all ranks in the step. Collective.
inline void note_step(Comm const& comm, Tally const& mine, Index tokens, Record& record) {
  std::vector<std::int64_t> const words = mine.words();
  std::size_t const size = words.size(), head = size - mine.load.size();
  auto const all = to_rank_0(comm, words, Index(size), std::vector<Index>(std::size_t(comm.size()), 1));
  if (comm.rank() != 0) return;
  std::vector<std::int64_t> load(mine.load.size(), 0);
  double loss = 0;
  for (std::size_t at = 0; at < all.size(); at += size) {
    auto const real = [&](std::size_t i) { return std::bit_cast<double>(all[at + i]); };
    record.dropped_pairs += all[at];
    loss += real(1);
    record.cpu_seconds += real(2);
    record.balancer_seconds += real(3);
    record.routing_seconds += real(4);
    for (std::size_t e = 0; e < load.size(); ++e) load[e] += all[at + head + e];
  }
  record.routed_pairs += std::accumulate(load.begin(), load.end(), std::int64_t(0));
  record.train_loss.push_back(loss / double(tokens));
  record.load.insert(record.load.end(), load.begin(), load.end());
  record.max_vio.push_back(mean_max_vio(load, record.experts, record.computing));
}

} // namespace train
