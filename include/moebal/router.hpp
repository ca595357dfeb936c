// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "core/execution.hpp"
#include "core/routing.hpp"
#include "router/backward_row.hpp"
#include "router/route_row.hpp"
#include "router/score_row.hpp"
#include "stats/load.hpp"

#include <utility>

namespace moebal {

/// A selection that chooses row by row, or over the whole batch.
template <class S>
concept selection_policy = row_selection<S> || batch_selection<S>;

/// Sends each token to K of E experts (at most K, where the selection says so). Selection says how choices are made from scores, Gate how scores and combine weights are
/// made from logits; both are values, set by designated initialisers:
///   Router router{TopK<8>{}, Sigmoid{.scale = 2.5f}};
/// A router has no state: the selection bias, the padding mask and the statistics are arguments. Ids, weights and statistics are
/// the same bits on every execution and for any number of threads. See examples/quick_start.cpp.
template <class Selection, class Gate> class Router {
  static constexpr bool by_batch = batch_selection<Selection>;
  static_assert(!(gate_policy<Selection> && selection_policy<Gate>),
                "moebal: the arguments are swapped: write Router<TopK<8>, Sigmoid>");
  static_assert(gate_policy<Selection> || selection_policy<Selection>,
                "moebal: the first argument of Router is no selection: a selection has top_k, check and choose, as in select/top_k.hpp");
  static_assert(selection_policy<Gate> || gate_policy<Gate>,
                "moebal: the second argument of Router is no gate: a gate has score(z) and slope(z, s), as in gate/sigmoid.hpp");

public:
  static constexpr Index top_k = Selection::top_k;
  static constexpr bool causal = Selection::causal;

  constexpr Router() = default;
  constexpr Router(Selection selection, Gate gate) : selection_(selection), gate_(gate) {}
  constexpr Selection const& selection() const { return selection_; }
  constexpr Gate const& gate() const { return gate_; }

  /// Bytes of workspace that route_into and backward_into need for T tokens, E experts and S sequences.
  template <statistic_list Needs = stats::None, class Logit = float, execution Exec>
  std::size_t workspace_bytes(Exec const& exec, Index tokens, Index experts, Index sequences = 1) const {
    return route_bytes<compute_t<Logit>>(exec, tokens, experts, sequences * Needs::slots(experts));
  }

  /// Routes T tokens: fills routing (and load, which is overwritten with the statistics of these tokens).
  ///   logits  [T, E] float, double, BFloat16 or Half, in
  ///   options bias [E], padding [T], segments [S + 1], in; each may be empty
  ///   routing expert_ids [T, K], weights [T, K], out
  ///   load    [S sequences] of the statistics that Needs lists, out; may be empty when Needs is
  /// One pass over the logits from memory, no allocation, no synchronisation beyond the execution's own. Throws ShapeError before
  /// any work. A row with NaN still gets K distinct ids; weights that are not defined are NaN; such rows are counted in load.
  template <statistic_list Needs = stats::None, execution Exec, matrix_like Logits, class Real, class Memory>
  void route_into(Exec const& exec, Logits const& logits, RowOptions<Memory> options, RoutingView<Real, Memory> routing,
                  LoadView<Needs, Memory> load, WorkspaceView<Memory> workspace) const {
    auto const x = as_matrix(logits);
    using Logit = element_of<Logits const&>;
    static_assert(reachable_from<Memory, Exec> && reachable_from<typename decltype(x)::memory, Exec>,
                  "moebal: this execution cannot read this memory: give host views to a host execution and device views to a device execution");
    static_assert(std::same_as<Real, compute_t<Logit>>,
                  "moebal: weights of double logits are double, weights of all other logits are float");
    Index const sequences = check(x, options);
    require_equal("expert_ids [T, K], rows", x.rows(), routing.expert_ids.rows());
    require_equal("expert_ids [T, K], columns", top_k, routing.expert_ids.cols());
    require_equal("weights [T, K], rows", x.rows(), routing.weights.rows());
    require_equal("weights [T, K], columns", top_k, routing.weights.cols());
    bool const collect = load.data() != nullptr;
    if (collect || Needs::slots(1) > Needs::header) {
      require_equal("load, sequences", sequences, load.sequences());
      require_equal("load, experts", x.cols(), load.experts());
    }
    auto const rows = scratch<Real>(exec, x.cols());
    std::int64_t* partial = nullptr;
    Index const columns = collect ? load.size() : 0;
    workspace.require(route_bytes<Real>(exec, x.rows(), x.cols(), columns));
    if (collect) {
      partial = workspace.template take<std::int64_t>(exec.copies() * columns);
      exec.fill(VectorView<std::int64_t, Memory>(partial, exec.copies() * columns), std::int64_t(0));
    }
    if constexpr (by_batch) assign<Logit>(exec, x, options, routing, workspace);
    exec.for_rows(x.rows(), rows.bytes(), workspace,
                  detail::RouteRow<RowSelection, gate::rows_of_t<Gate>, Needs, Logit, Memory>{
                      row_selection_of(), gate::rows_of(gate_), rows, x, options, routing, partial, exec.copies(), sequences});
    if (collect)
      exec.reduce_columns(MatrixView<std::int64_t const, Memory>(partial, exec.copies(), columns),
                          VectorView<std::int64_t, Memory>(load.data(), columns));
  }

  /// d loss / d logits [T, E] (overwritten; padding rows get 0) from the gradients in `gradient`, for the ids that route_into chose.
  /// Scores are computed again from the logits. The bias has no gradient. Formulas: docs/gradients.md.
  template <execution Exec, matrix_like Logits, class Real, class Memory>
  void backward_into(Exec const& exec, Logits const& logits, RowOptions<Memory> options,
                     MatrixView<ExpertId const, Memory> expert_ids, RouterGradient<Real, Memory> gradient,
                     MatrixView<Real, Memory> d_logits, WorkspaceView<Memory> workspace) const {
    auto const x = as_matrix(logits);
    using Logit = element_of<Logits const&>;
    static_assert(reachable_from<Memory, Exec> && reachable_from<typename decltype(x)::memory, Exec>,
                  "moebal: this execution cannot read this memory: give host views to a host execution and device views to a device execution");
    static_assert(std::same_as<Real, compute_t<Logit>>,
                  "moebal: gradients of double logits are double, gradients of all other logits are float");
    Index const sequences = check(x, options);
    require_equal("d_logits [T, E], rows", x.rows(), d_logits.rows());
    require_equal("d_logits [T, E], columns", x.cols(), d_logits.cols());
    if (gradient.d_weights.cols() > 0 || gradient.weight_slopes.cols() > 0) {
      require_equal("expert_ids [T, K], rows", x.rows(), expert_ids.rows());
      require_equal("expert_ids [T, K], columns", top_k, expert_ids.cols());
    }
    if (gradient.weight_slopes.cols() > 0) {
      require_equal("weight_slopes [S, E], rows", sequences, gradient.weight_slopes.rows());
      require_equal("weight_slopes [S, E], columns", x.cols(), gradient.weight_slopes.cols());
    }
    if (gradient.d_weights.cols() > 0) {
      require_equal("d_weights [T, K], rows", x.rows(), gradient.d_weights.rows());
      require_equal("d_weights [T, K], columns", top_k, gradient.d_weights.cols());
    }
    if (gradient.slopes.cols() > 0) {
      require_equal("slopes [S, E], rows", sequences, gradient.slopes.rows());
      require_equal("slopes [S, E], columns", x.cols(), gradient.slopes.cols());
    }
    if (gradient.z_slopes.size() > 0) require_equal("z_slopes [S]", sequences, gradient.z_slopes.size());
    auto const rows = scratch<Real>(exec, x.cols());
    exec.for_rows(x.rows(), rows.bytes(), workspace,
                  detail::BackwardRow<int(top_k), gate::rows_of_t<Gate>, Logit, Memory>{gate::rows_of(gate_), rows, x, options, expert_ids,
                                                                            gradient, d_logits, sequences});
  }

  /// route_into with memory of its own, without statistics.
  template <execution Exec, matrix_like Logits>
  auto route(Exec const& exec, Logits const& logits, RowOptions<> options = {}) const {
    return route_with<stats::None>(exec, logits, options).first;
  }

  /// route_into with memory of its own: {routing, load}.
  template <statistic_list Needs, execution Exec, matrix_like Logits>
  auto route_with(Exec const& exec, Logits const& logits, RowOptions<> options = {}) const {
    auto const x = as_matrix(logits);
    using Logit = element_of<Logits const&>;
    Index const sequences = check(x, options);
    std::pair<Routing<compute_t<Logit>>, Load<Needs>> result{{x.rows(), top_k}, {sequences, x.cols()}};
    Workspace workspace(workspace_bytes<Needs, Logit>(exec, x.rows(), x.cols(), sequences));
    route_into<Needs>(exec, x, options, result.first.view(), result.second.view(), WorkspaceView<HostMemory>(workspace));
    return result;
  }

private:

  using RowSelection = std::conditional_t<by_batch, select::Given<int(Selection::top_k)>, Selection>;
  RowSelection row_selection_of() const {
    if constexpr (by_batch)
      return {};
    else
      return selection_;
  }
  template <class Real, class Exec> detail::RowScratch<Real> scratch(Exec const&, Index experts) const {
    Index tile_rows = 0;
    if constexpr (requires { Exec::tile_rows; }) tile_rows = Exec::tile_rows;
    return {experts, top_k, row_selection_of().scratch_words(experts), tile_rows};
  }

  template <class Real, class Exec>
  std::size_t route_bytes(Exec const& exec, Index tokens, Index experts, Index load_slots) const {
    using Ws = WorkspaceView<typename Exec::memory>;
    std::size_t bytes = Ws::template bytes_for<std::byte>(Index(scratch<Real>(exec, experts).bytes()) * exec.workers()) +
                        Ws::template bytes_for<std::int64_t>(exec.copies() * load_slots);
    if constexpr (by_batch) // rows otherwise share the scratch of their worker
      bytes += Ws::template bytes_for<Real>(tokens * experts) + selection_.template workspace_bytes<Real>(exec, tokens, experts);
    return bytes;
  }

  // The choices of a batch-wise selection, into routing.expert_ids.
  template <class Logit, class Exec, class X, class Real, class Memory>
  void assign(Exec const& exec, X x, RowOptions<Memory> const& options, RoutingView<Real, Memory> routing,
              WorkspaceView<Memory>& workspace) const {
    MatrixView<Real, Memory> const scores(workspace.template take<Real>(x.rows() * x.cols()), x.rows(), x.cols());
    exec.for_rows(x.rows(), 0, workspace,
                  detail::ScoreRow<Selection::input, gate::rows_of_t<Gate>, Logit, Memory>{gate::rows_of(gate_), x, options, scores});
    selection_.assign(exec, select::BatchCandidates<Real, Memory>{scores, options}, routing.expert_ids, workspace);
  }

  // Everything that can be refused, before any work. Returns the number of sequences.
  template <class X, class Memory> Index check(X const& x, RowOptions<Memory> const& options) const {
    require_at_least("E, the columns of logits [T, E]", 1, x.cols());
    require_within("E, the columns of logits [T, E]", 1, 0x7ffffffe, x.cols());
    if constexpr (by_batch)
      selection_.check(x.rows(), x.cols());
    else
      selection_.check(x.cols());
    if (!options.classes.empty()) require_equal("classes [T]", x.rows(), options.classes.size());
    if (!options.bias.empty()) check_bias(x, options);
    if (!options.padding.empty()) require_equal("padding [T]", x.rows(), options.padding.size());
    if (!options.tags.empty()) require_equal("tags [T]", x.rows(), options.tags.size());
    if (options.segments.empty()) return 1;
    require_at_least("segments [S + 1], entries", 2, options.segments.size());
    if constexpr (std::same_as<Memory, HostMemory>) {
      require_equal("segments [S + 1], first entry", 0, options.segments[0]);
      require_equal("segments [S + 1], last entry (T)", x.rows(), options.segments[options.segments.size() - 1]);
      for (Index s = 1; s < options.segments.size(); ++s)
        require_at_least("segments [S + 1], each entry after the one before it", options.segments[s - 1], options.segments[s]);
    }
    return options.segments.size() - 1;
  }
  template <class X, class Memory> static void check_bias(X const& x, RowOptions<Memory> const& options) {
    Index const experts = x.cols(), rows = options.bias.size() / experts;
    if (x.rows() > 0 && options.classes.empty()) return require_equal("bias [E]", experts, options.bias.size());
    require_equal("bias [C, E], entries", (rows < 1 ? 1 : rows) * experts, options.bias.size());
    if constexpr (std::same_as<Memory, HostMemory>)
      for (Index const c : options.classes) require_within("classes [T], each entry (C - 1 is the upper bound)", 0, rows - 1, c);
  }

  Selection selection_{};
  Gate gate_{};
};

} // namespace moebal
