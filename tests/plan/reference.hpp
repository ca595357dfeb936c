// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Plans the slow and obvious way, without a header of the library: sort the pairs of each expert, cut, sort again.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <tuple>
#include <vector>

namespace reference {

enum class Policy { None, PositionFirstBeforeSecond, PositionEqual, Probability, PriorityMax, PrioritySum, Random };

struct Batch {
  std::int64_t tokens = 0, top_k = 0, experts = 0;
  std::vector<std::int32_t> ids; // [T, K]
  std::vector<float> weights;    // [T, K]
};

/// K distinct ids a row, every fifth row padding, now and then a single choice missing, crowded on low ids; weights of
/// few values, so that many are equal, some of them -0, NaN and infinite.
inline Batch random_batch(std::int64_t tokens, std::int64_t top_k, std::int64_t experts, std::uint64_t seed) {
  Batch batch{tokens, top_k, experts, {}, {}};
  std::mt19937_64 random(seed);
  std::vector<std::int32_t> all(static_cast<std::size_t>(experts));
  for (std::size_t e = 0; e < all.size(); ++e) all[e] = static_cast<std::int32_t>(e);
  for (std::int64_t t = 0; t < tokens; ++t) {
    bool const padding = random() % 5 == 0;
    for (std::int64_t k = 0; k < top_k; ++k) {
      std::uint64_t const left = static_cast<std::uint64_t>(experts - k);
      std::uint64_t const pick = std::min(random() % left, random() % left);
      std::swap(all[static_cast<std::size_t>(k)], all[static_cast<std::size_t>(k) + pick]);
      batch.ids.push_back(padding || random() % 29 == 0 ? -1 : all[static_cast<std::size_t>(k)]);
      std::uint64_t const kind = random() % 64;
      float const plain = static_cast<float>(random() % 9) / 8.0f;
      batch.weights.push_back(kind == 0 ? NAN : kind == 1 ? -0.0f : kind == 2 ? INFINITY : kind == 3 ? -plain : plain);
    }
    std::sort(all.begin(), all.end());
  }
  return batch;
}

/// Orders like a weight: NaN below -inf, -0 equal to 0.
inline std::pair<int, double> rank_of(double w) { return std::isnan(w) ? std::pair{0, 0.0} : std::pair{1, w + 0.0}; }

inline std::uint64_t splitmix64(std::uint64_t seed, std::uint64_t n) {
  std::uint64_t z = seed;
  z += 0x9e3779b97f4a7c15ull * (n + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

struct Expert {
  std::vector<std::int64_t> all;  // pairs that chose it, best first
  std::vector<std::int64_t> kept; // pairs with a slot, in the order of the slots
};

inline std::vector<Expert> plan(Batch const& batch, Policy policy, std::int64_t capacity, bool by_priority = false,
                                std::uint64_t seed = 0) {
  std::int64_t const K = batch.top_k;
  std::vector<float> priority(static_cast<std::size_t>(batch.tokens));
  for (std::int64_t t = 0; t < batch.tokens; ++t) {
    float sum = 0, best = NAN;
    for (std::int64_t k = 0; k < K; ++k) {
      float const w = batch.weights[static_cast<std::size_t>(t * K + k)];
      if (batch.ids[static_cast<std::size_t>(t * K + k)] < 0) continue;
      sum += w;
      if (rank_of(best) < rank_of(w)) best = w;
    }
    priority[static_cast<std::size_t>(t)] = policy == Policy::PrioritySum ? sum : best;
  }
  // Smaller is better.
  auto const key = [&](std::int64_t pair) {
    std::int64_t const t = pair / K, k = pair % K;
    auto const down = [](double w) {
      auto const r = rank_of(w);
      return std::tuple{-r.first, -r.second};
    };
    auto const [number, value] = policy == Policy::Probability ? down(batch.weights[static_cast<std::size_t>(pair)])
                                 : policy == Policy::PriorityMax || policy == Policy::PrioritySum
                                     ? down(priority[static_cast<std::size_t>(t)])
                                     : std::tuple{0, 0.0};
    bool const by_choice =
        policy == Policy::PositionFirstBeforeSecond || policy == Policy::PriorityMax || policy == Policy::PrioritySum;
    std::uint64_t const hash = policy == Policy::Random ? splitmix64(seed, static_cast<std::uint64_t>(pair)) >> 32 : 0;
    return std::tuple{by_choice ? k : 0, number, value, hash, pair};
  };
  std::vector<Expert> experts(static_cast<std::size_t>(batch.experts));
  for (std::size_t pair = 0; pair < batch.ids.size(); ++pair)
    if (batch.ids[pair] >= 0) experts[static_cast<std::size_t>(batch.ids[pair])].all.push_back(std::int64_t(pair));
  for (Expert& e : experts) {
    std::vector<decltype(key(0))> keys;
    for (std::int64_t const pair : e.all) keys.push_back(key(pair));
    std::sort(keys.begin(), keys.end());
    for (std::size_t i = 0; i < keys.size(); ++i) e.all[i] = std::get<4>(keys[i]);
    e.kept = e.all;
    if (policy != Policy::None && std::int64_t(e.kept.size()) > capacity) e.kept.resize(std::size_t(capacity));
    if (!by_priority) std::sort(e.kept.begin(), e.kept.end());
  }
  return experts;
}

} // namespace reference
