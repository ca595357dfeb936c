// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/views.hpp"
#include "selection.hpp"

namespace moebal {

/// Hash layers (arXiv 2106.04426): a fixed table says which K experts a token id goes to, RowOptions::tags[t] being
/// the id. The logits choose nothing; they may still weigh:
///   Router{table.selection<1>(), SoftmaxOverChosen{}}          the paper: weight 1 for K = 1, and no gradient
///   Router{table.selection<6>(), SqrtSoftplus{.scale = 1.5f}}  DeepSeek-V4's first layers (2606.19348): learned
///     weights
/// Ids come in the order of the table's row. A tag outside of [0, V) gets no expert. Tables, and their checks:
/// select/hash_table.hpp. Cost: K loads a token; no balance loss, nothing communicated: balance is by construction,
/// for the corpus that the table was made for.
template <int K, class Memory = HostMemory> struct HashLayer {
  static_assert(K >= 1, "moebal: HashLayer<K> needs K of at least 1");
  static constexpr Index top_k = K;
  static constexpr bool causal = true;
  static constexpr bool needs_keys = false;
  static constexpr bool needs_scores = false;

  MatrixView<ExpertId const, Memory> table{}; // [V, K] distinct ids in each row, as HashTable has checked
  Index experts = 0;                          // E that the table is for

  void check(Index e) const {
    require_equal("E, the columns of logits [T, E], for the experts of the hash table", experts, e);
    require_equal("table [V, K] of HashLayer<K>, columns", K, table.cols());
  }
  MOEBAL_FN static constexpr Index scratch_words(Index) { return 0; }

  template <class Real, class Lanes>
  MOEBAL_FN Index choose(Lanes lanes, select::Candidates<Real> row, ExpertId* ids) const {
    if (row.tag < 0 || row.tag >= table.rows()) return 0;
    ExpertId const* const from = table.row(row.tag);
    lanes.each_one(top_k, [=](Index k) { ids[k] = from[k]; });
    return top_k;
  }
};
static_assert(row_selection<HashLayer<2>>);

} // namespace moebal
