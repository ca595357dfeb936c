// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a batch-wise selection is: it looks at the scores of all tokens of a call before it decides for any of them (expert choice,
// Sinkhorn, assignment, ...). Few of these are causal. The price is the [T, E] score matrix, which the router keeps in its workspace.

#include "../core/execution.hpp"
#include "../core/routing.hpp"

#include <concepts>

namespace moebal {

/// What a batch-wise selection chooses by.
enum class BatchInput {
  Scores,      // the gate's score, plus the bias
  PlainScores, // the gate's score: the selection reads the bias itself
  Logits,      // the logits, plus the bias
};

namespace select {

/// All candidates of a call, in the router's workspace, where a selection may rewrite them.
template <class Real, class Memory = HostMemory> struct BatchCandidates {
  MatrixView<Real, Memory> scores; // [T, E] what BatchInput says
  RowOptions<Memory> options{};    // padding, segments and tags, and the bias, which is in the scores already but for PlainScores

  MOEBAL_FN bool is_padding(Index t) const { return !options.padding.empty() && options.padding[t] != 0; }
};

/// The row-wise selection that takes what a batch-wise one has written: ids [K], then no_expert.
template <int K> struct Given {
  static constexpr Index top_k = K;
  static constexpr bool causal = true, needs_scores = false, needs_keys = false;
  void check(Index) const {}
  MOEBAL_FN static constexpr Index scratch_words(Index) { return 0; }
  template <class Lanes, class Row> MOEBAL_FN Index choose(Lanes, Row, ExpertId* ids) const {
    Index count = 0;
    while (count < K && ids[count] >= 0) ++count;
    return count;
  }
};

struct AnyBatchExec {
  using memory = HostMemory;
  Index workers() const { return 1; }
  Index copies() const { return 1; }
  template <class Body> void for_rows(Index, std::size_t, WorkspaceView<>, Body) const {}
  template <class F> void for_each(Index, F) const {}
  void exclusive_scan(VectorView<std::int64_t>) const {}
  void reduce_columns(MatrixView<std::int64_t const>, VectorView<std::int64_t>) const {}
  template <class T> void copy(VectorView<T const>, VectorView<T>) const {}
  template <class T> void fill(VectorView<T>, T) const {}
};

} // namespace select

template <class S>
concept batch_selection = requires(S const& s, select::AnyBatchExec const& exec, select::BatchCandidates<float> batch,
                                   MatrixView<ExpertId> ids, WorkspaceView<> workspace, Index n) {
  { S::top_k } -> std::convertible_to<Index>; // experts a token may get at most
  { S::causal } -> std::convertible_to<bool>;
  { S::input } -> std::convertible_to<BatchInput>;
  s.check(n, n); // T, E; throws ShapeError
  { s.template workspace_bytes<float>(exec, n, n) } -> std::same_as<std::size_t>;
  { s.assign(exec, batch, ids, workspace) } -> std::same_as<void>; // ids [T, K]: best first, then no_expert; padding rows: no_expert
};

} // namespace moebal
