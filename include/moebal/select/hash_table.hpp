// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/random.hpp"
#include "hash.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>
#include <string>
#include <utility>
#include <vector>

namespace moebal {

/// The table of a hash layer, on the host: K distinct experts of E for each of V token ids, checked when it is built.
///   random(V, K, E, seed)         each row drawn on its own (arXiv 2106.04426)
///   balanced(frequency, K, E)     tokens by falling corpus frequency, each to the K experts with the least summed
///                                 frequency so far: the paper's balanced hash for K = 1, and the least-loaded
///                                 tid2eid of kexue.fm/archives/11750 for any K
///   by_id(V, K, E)                token v to experts v K, v K + 1, ... modulo E: balanced for uniform ids
///   HashTable(rows, K, E)         your own, row-major [V, K]
/// Throws ShapeError for K outside of [1, E], an id outside of [0, E), and an expert twice in a row.
class HashTable {
public:
  HashTable(std::vector<ExpertId> rows, Index top_k, Index experts)
      : ids_(std::move(rows)), top_k_(top_k), experts_(experts) {
    check_top_k(top_k, experts);
    require_equal("ids of a hash table modulo K", 0, Index(ids_.size()) % top_k);
    std::vector<ExpertId> row;
    for (Index v = 0; v < vocabulary(); ++v) {
      row.assign(ids_.begin() + v * top_k, ids_.begin() + (v + 1) * top_k);
      for (ExpertId id : row)
        require_within("expert in row " + std::to_string(v) + " of a hash table", 0, experts - 1, id);
      std::sort(row.begin(), row.end());
      Index const distinct = Index(std::unique(row.begin(), row.end()) - row.begin());
      require_equal("distinct experts in row " + std::to_string(v) + " of a hash table", top_k, distinct);
    }
  }

  static HashTable random(Index vocabulary, Index top_k, Index experts, std::uint64_t seed = 0) {
    check_top_k(top_k, experts);
    std::vector<ExpertId> ids;
    for (Index v = 0; v < vocabulary; ++v)
      for (Index k = 0; k < top_k; ++k) { // Floyd's sample: a draw that is taken becomes the new last one
        Index const last = experts - top_k + k;
        ExpertId const drawn = ExpertId(moebal::random::below(seed, std::uint64_t(v * top_k + k), last + 1));
        bool const taken = std::find(ids.end() - k, ids.end(), drawn) != ids.end();
        ids.push_back(taken ? ExpertId(last) : drawn);
      }
    return HashTable(std::move(ids), top_k, experts);
  }

  /// frequency [V] >= 0: how often each token id occurs. Equal frequencies: the lower token id; equal loads: the
  /// lower expert. O(V (log V + K log E)).
  static HashTable balanced(VectorView<std::int64_t const> frequency, Index top_k, Index experts) {
    check_top_k(top_k, experts);
    Index const vocabulary = frequency.size();
    std::vector<Index> order(static_cast<std::size_t>(vocabulary));
    std::iota(order.begin(), order.end(), Index(0));
    std::sort(order.begin(), order.end(),
              [&](Index a, Index b) { return frequency[a] != frequency[b] ? frequency[a] > frequency[b] : a < b; });
    using Load = std::pair<std::int64_t, std::pair<Index, ExpertId>>; // summed frequency, tokens, expert
    std::priority_queue<Load, std::vector<Load>, std::greater<>> least;
    for (Index e = 0; e < experts; ++e) least.push({0, {0, ExpertId(e)}});
    std::vector<ExpertId> ids(std::size_t(vocabulary * top_k));
    std::vector<Load> taken;
    for (Index v : order) {
      require_at_least("frequency [V] of each token of a hash table", 0, frequency[v]);
      taken.clear();
      for (Index k = 0; k < top_k; ++k) {
        taken.push_back(least.top());
        least.pop();
        ids[std::size_t(v * top_k + k)] = taken.back().second.second;
      }
      for (Load& load : taken) least.push({load.first + frequency[v], {load.second.first + 1, load.second.second}});
    }
    return HashTable(std::move(ids), top_k, experts);
  }

  static HashTable by_id(Index vocabulary, Index top_k, Index experts) {
    check_top_k(top_k, experts);
    std::vector<ExpertId> ids;
    for (Index i = 0; i < vocabulary * top_k; ++i) ids.push_back(ExpertId(i % experts));
    return HashTable(std::move(ids), top_k, experts);
  }

  Index vocabulary() const { return Index(ids_.size()) / top_k_; }
  Index top_k() const { return top_k_; }
  Index experts() const { return experts_; }
  MatrixView<ExpertId const> rows() const { return {ids_.data(), vocabulary(), top_k_}; } // [V, K]

  /// The selection that reads this table, which must outlive it.
  template <int K> HashLayer<K> selection() const {
    require_equal("K of a hash table for HashLayer<K>", K, top_k_);
    return {rows(), experts_};
  }

private:
  static void check_top_k(Index top_k, Index experts) {
    require_within("K of a hash table (E is the upper bound)", 1, experts, top_k);
  }

  std::vector<ExpertId> ids_; // [V, K]
  Index top_k_;
  Index experts_;
};

} // namespace moebal
