// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a run of the study leaves behind.

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace locality {

using Index = std::int64_t;

inline constexpr double default_locality = 0.3; // coefficient of the locality loss

/// Seconds of what routing decides in a step, by part.
struct Times {
  double compute = 0, dispatch = 0, combine = 0;
  double total() const { return compute + dispatch + combine; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Times, compute, dispatch, combine)

/// What is seen of one run. Traffic and load: kept pairs of the last tenth of the training steps.
struct Result {
  std::string name;
  std::uint64_t seed = 0;
  Index ranks = 0, ranks_per_node = 0, experts = 0, steps = 0;
  double share = 0, locality = 0;

  double in_rank = 0, in_node = 0; // shares of the pairs that stay
  double bytes_between = 0;        // bytes of rows between nodes in a step, to the experts; as many come back
  double max_vio = 0;              // of a step's choices, before any is dropped
  double rank_vio = 0;             // of an exchange: kept pairs of the fullest rank that owns experts
  double dropped = 0;              // share of tokens that reach no expert
  double perplexity = 0, perplexity_causal = 0;
  Index dead = 0;
  double specialisation = 0; // mutual information of domain and expert, bits
  Times here, ascend;        // this machine; the same choices between servers of the paper
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Result, name, seed, ranks, ranks_per_node, experts, steps, share, locality, in_rank,
                                   in_node, bytes_between, max_vio, rank_vio, dropped, perplexity, perplexity_causal,
                                   dead, specialisation, here, ascend)

} // namespace locality
