// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "core/execution.hpp"
#include "core/routing.hpp"
#include "router/backward_row.hpp"
#include "router/check_shapes.hpp"
#include "router/collect_load.hpp"
#include "router/count_ranks.hpp"
#include "router/route_row.hpp"
#include "router/route_tokens.hpp"
#include "router/score_row.hpp"
#include "stats/load.hpp"

#include <algorithm>
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
  ///           ranks [T, K] and loads [E], out, both or none: what plan_into needs to place the pairs in one pass. Only where a
  ///           worker takes consecutive rows, as with EigenExec
  ///   load    [S sequences] of the statistics that Needs lists, out; may be empty when Needs is
  /// One pass over the logits from memory, no allocation, no synchronisation beyond the execution's own. Throws ShapeError before
  /// any work. A row with NaN still gets K distinct ids; weights that are not defined are NaN; such rows are counted in load.
  template <statistic_list Needs = stats::None, execution Exec, matrix_like Logits, class Real, class Memory>
  void route_into(Exec const& exec, Logits const& logits, RowOptions<Memory> options, RoutingView<Real, Memory> routing,
                  LoadView<Needs, Memory> load, WorkspaceView<Memory> workspace) const {
    auto const x = as_matrix(logits);
    using Logit = element_of<Logits const&>;
    detail::check_memory<Exec, Memory, decltype(x)>();
    static_assert(std::same_as<Real, compute_t<Logit>>,
                  "moebal: weights of double logits are double, weights of all other logits are float");
    run<Needs, Logit>(exec, x, options, routing, load, workspace, scratch<Real>(exec, x.cols()).bytes(),
                      [](auto const& route) -> auto const& { return route; });
  }

  /// Bytes of workspace that route_tokens_into needs for T tokens of type Activation.
  template <statistic_list Needs = stats::None, class Activation = float, execution Exec>
  std::size_t tokens_workspace_bytes(Exec const& exec, Index tokens, Index experts, Index sequences = 1) const {
    using Real = compute_t<Activation>;
    Index const slots = sequences * Needs::slots(experts);
    if constexpr (by_batch) // the product, then what route_into takes in its place
      return WorkspaceView<>::bytes_for<Real>(tokens * experts) +
             std::max(shared_bytes(exec, detail::tokens_scratch<Real, Exec>(0, tokens, experts), 0, 0),
                      route_bytes<Real>(exec, tokens, experts, slots));
    else
      return shared_bytes(exec, detail::tokens_scratch<Real, Exec>(scratch<Real>(exec, experts).bytes(), tokens, experts), experts, slots);
  }

  /// The gate product and route_into in one: routes tokens by x [T, D] with logits = x W^T, made some rows at a time and routed while they
  /// are in cache.
  ///   x       [T, D] float, double, BFloat16 or Half, in
  ///   weight  [E, D] a matrix of what x may be (fp64 with fp64 alone), or a PackedGate (host memory), in
  ///   logits  [T, E] out; may stay empty (backward_into and traces need it)
  /// and the rest as for route_into. The sum of a logit has one order: runs of 128 d, each a chain of fused multiply-adds from 0, then the
  /// runs added up, both in ascending order. So logits and what follows are the same bits on every execution and for any number of threads
  /// and tokens; a logit is off by at most (128 + D / 128) 2^-24 sum_d |x_d w_d|. A NaN in x makes its row NaN. T E D fused operations. With
  /// SIMD lanes, in fp32, blocks of 192 rows share what is read of W, each piece of which is put in order first (a PackedGate is in order
  /// already). In fp64, and on the lanes of other executions, a lane follows the chains of its experts and reads W as it lies: the same
  /// bits, not fast. The way back is backward_into with these logits, then d_x = d_logits W and d_weight = d_logits^T x.
  template <statistic_list Needs = stats::None, execution Exec, matrix_like X, gate_weight W, class Real, class Memory>
  void route_tokens_into(Exec const& exec, X const& x, W const& weight, RowOptions<Memory> options, RoutingView<Real, Memory> routing,
                         LoadView<Needs, Memory> load, WorkspaceView<Memory> workspace,
                         std::type_identity_t<MatrixView<Real, Memory>> logits = {}) const {
    auto const in = gate_view(x);
    auto const w = gate_view(weight);
    using Weight = std::remove_const_t<decltype(w)>;
    using Activation = element_of<X const&>;
    static_assert(reachable_from<typename Weight::memory, Exec>,
                  "moebal: this execution cannot read this weight: give host views to a host execution and device views to a device execution");
    static_assert(std::same_as<compute_t<std::remove_const_t<typename Weight::element>>, compute_t<Activation>>,
                  "moebal: double tokens need a double weight, and a double weight double tokens");
    detail::check_memory<Exec, Memory, decltype(in)>();
    static_assert(std::same_as<Real, compute_t<Activation>>,
                  "moebal: weights of double tokens are double, weights of all other tokens are float");
    require_equal("weight [E, D], columns", in.cols(), w.cols());
    if (logits.data() != nullptr) {
      require_equal("logits [T, E], rows", in.rows(), logits.rows());
      require_equal("logits [T, E], columns", w.rows(), logits.cols());
    }
    auto const tokens_of = [&](auto const& route, MatrixView<Real, Memory> out) {
      using Route = std::remove_cvref_t<decltype(route)>;
      return detail::TokenRows<Route, Activation, Weight, Memory>{route, in, w, out, detail::rows_at_once<Exec>(in.rows())};
    };
    if constexpr (by_batch) {
      workspace.require(tokens_workspace_bytes<Needs, Activation>(exec, in.rows(), w.rows(), load.data() ? load.sequences() : 0));
      if (logits.data() == nullptr) logits = {workspace.template take<Real>(in.rows() * w.rows()), in.rows(), w.rows()};
      exec.for_rows(in.rows(), detail::tokens_scratch<Real, Exec>(0, in.rows(), w.rows()), workspace,
                    tokens_of(detail::LogitsOnly<Real, Memory>{}, logits));
      route_into<Needs>(exec, logits, options, routing, load, workspace);
    } else {
      MatrixView<Real const, Memory> const shape(logits.data(), in.rows(), w.rows());
      run<Needs, Real>(exec, shape, options, routing, load, workspace,
                       detail::tokens_scratch<Real, Exec>(scratch<Real>(exec, w.rows()).bytes(), in.rows(), w.rows()),
                       [&](auto const& route) { return tokens_of(route, logits); });
    }
  }

  /// d loss / d logits [T, E] (overwritten; padding rows get 0) from the gradients in `gradient`, for the ids that route_into chose.
  /// Scores are computed again from the logits. The bias has no gradient. Formulas: docs/gradients.md.
  template <execution Exec, matrix_like Logits, class Real, class Memory>
  void backward_into(Exec const& exec, Logits const& logits, RowOptions<Memory> options,
                     MatrixView<ExpertId const, Memory> expert_ids, RouterGradient<Real, Memory> gradient,
                     MatrixView<Real, Memory> d_logits, WorkspaceView<Memory> workspace) const {
    auto const x = as_matrix(logits);
    using Logit = element_of<Logits const&>;
    detail::check_memory<Exec, Memory, decltype(x)>();
    static_assert(std::same_as<Real, compute_t<Logit>>,
                  "moebal: gradients of double logits are double, gradients of all other logits are float");
    Index const sequences = check(x, options);
    detail::check_gradient(gradient, d_logits, expert_ids, x.rows(), top_k, x.cols(), sequences);
    auto const rows = scratch<Real>(exec, x.cols());
    exec.for_rows(x.rows(), rows.bytes(), workspace,
                  detail::BackwardRow<int(top_k), gate::rows_of_t<Gate>, Logit, Memory>{gate::rows_of(gate_), rows, x, options, expert_ids,
                                                                            gradient, d_logits, sequences});
  }

  /// route_tokens_into with memory of its own, without statistics.
  template <execution Exec, matrix_like X, gate_weight W>
  auto route_tokens(Exec const& exec, X const& x, W const& weight, RowOptions<> options = {}) const {
    using Activation = element_of<X const&>;
    Index const tokens = as_matrix(x).rows(), experts = gate_view(weight).rows();
    Routing<compute_t<Activation>> routing(tokens, top_k);
    Workspace workspace(tokens_workspace_bytes<stats::None, Activation>(exec, tokens, experts));
    route_tokens_into(exec, x, weight, options, routing.view(), LoadView<stats::None>{}, WorkspaceView<HostMemory>(workspace));
    return routing;
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
    if constexpr (by_batch) return {};
    else return selection_;
  }
  template <class Real, class Exec> detail::RowScratch<Real> scratch(Exec const&, Index experts) const {
    return {experts, top_k, row_selection_of().scratch_words(experts), detail::tile_rows_of<Exec>()};
  }

  // Rows that share the scratch of their worker, and the workers' sums.
  template <class Exec> static std::size_t shared_bytes(Exec const& exec, std::size_t row_bytes, Index experts, Index load_slots) {
    return WorkspaceView<>::bytes_for<std::byte>(Index(row_bytes) * exec.workers()) + detail::rank_bytes(exec, experts) +
           detail::load_bytes(exec, load_slots);
  }
  template <class Real, class Exec>
  std::size_t route_bytes(Exec const& exec, Index tokens, Index experts, Index load_slots) const {
    std::size_t bytes = shared_bytes(exec, scratch<Real>(exec, experts).bytes(), experts, load_slots);
    if constexpr (by_batch) bytes += detail::assign_bytes<Real>(exec, selection_, tokens, experts);
    return bytes;
  }

  // Rows of logits x [T, E], or of what body_of makes of their body; each worker takes row_bytes of scratch memory.
  template <class Needs, class Logit, class Exec, class X, class Memory, class Real, class BodyOf>
  void run(Exec const& exec, X const& x, RowOptions<Memory> const& options, RoutingView<Real, Memory> const& routing,
           LoadView<Needs, Memory> const& load, WorkspaceView<Memory> workspace, std::size_t row_bytes, BodyOf const& body_of) const {
    Index const sequences = check(x, options);
    detail::check_routing(routing, x.rows(), top_k);
    detail::check_load(load, sequences, x.cols());
    if (routing.has_ranks()) detail::check_ranks<Exec>(routing, x.cols());
    Index const columns = load.data() != nullptr ? load.size() : 0;
    if constexpr (by_batch)
      workspace.require(route_bytes<Real>(exec, x.rows(), x.cols(), columns));
    else
      workspace.require(shared_bytes(exec, row_bytes, x.cols(), columns));
    auto const sums = detail::start_load(exec, load, workspace);
    if constexpr (by_batch)
      detail::assign_batch<Logit>(exec, selection_, gate::rows_of(gate_), x, options, routing, workspace);
    using Row = detail::RouteRow<RowSelection, gate::rows_of_t<Gate>, Needs, Logit, Memory>;
    using Body = std::remove_cvref_t<decltype(body_of(std::declval<Row const&>()))>;
    auto const ranks = detail::start_ranks<Body>(exec, routing, workspace);
    exec.for_rows(x.rows(), row_bytes, workspace,
                  body_of(Row{row_selection_of(), gate::rows_of(gate_), scratch<Real>(exec, x.cols()), x, options, routing, sums.data,
                              sums.stride, sequences, 0, ranks}));
    if (sums.stride != 0) detail::finish_load(exec, sums, load);
    if (ranks.counts != nullptr) detail::finish_ranks(exec, ranks, routing, load);
  }

  // Everything that can be refused, before any work. Returns the number of sequences.
  template <class X, class Memory> Index check(X const& x, RowOptions<Memory> const& options) const {
    require_at_least("E, the columns of logits [T, E]", 1, x.cols());
    require_within("E, the columns of logits [T, E]", 1, 0x7ffffffe, x.cols());
    if constexpr (by_batch)
      selection_.check(x.rows(), x.cols());
    else
      selection_.check(x.cols());
    return detail::check_options(options, x.rows(), x.cols());
  }

  Selection selection_{};
  Gate gate_{};
};

} // namespace moebal
