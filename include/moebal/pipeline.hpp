// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "balancer.hpp"
#include "router.hpp"

#include <algorithm>

namespace moebal {

/// The balancing of one MoE layer through a training step: routes with the balancer's bias, collects what its rules read,
/// and hands their gradient to the router's backward.
///
///   layer.begin_step(G);
///   for g in 0 .. G-1:  layer.forward_into(exec, g, logits, options, routing);  experts, their backward;
///                       loss += layer.backward_into(exec, g, logits, options, ids, d_weights, d_logits);
///   layer.end_step();
///
/// With Accumulate::TwoPass all forwards come before the first backward. evaluate() routes with the same bias and moves
/// nothing. A forward pass that is computed again (activation checkpointing) calls forward_into with the same g: it gives the
/// same bits and is not counted twice. One workspace and one load are kept and grow to the largest micro-batch seen; after
/// that nothing is allocated. Host executions; a thread uses its own pipeline. See examples/quick_start.cpp.
template <class Router, class Balancer> class Pipeline {
public:
  using needs = typename Balancer::needs;
  using real = typename Balancer::real;
  static constexpr Index top_k = Router::top_k;

  Pipeline(Router router, Balancer balancer) : router_(router), balancer_(std::move(balancer)) {
    require_equal("K of the pipeline's balancer (that of its router)", top_k, balancer_.shape().top_k);
  }
  Router const& router() const { return router_; }
  Balancer& balancer() { return balancer_; }
  Balancer const& balancer() const { return balancer_; }

  /// Opens a step of G micro-batches.
  void begin_step(Index micro_batches) { balancer_.begin_step(micro_batches); }
  /// Moves the bias and closes the step. rate_scale anneals the bias rules.
  void end_step(float rate_scale = 1) { balancer_.end_step(rate_scale); }

  /// Routes micro-batch g of the open step and shows its statistics to the balancer.
  ///   logits [T, E] in;  options: padding, segments, in;  routing: expert_ids and weights [T, K], out
  /// Collective as the balancer's observe is. Throws ShapeError, StateError or CommError; after a ShapeError nothing has changed.
  template <execution Exec, matrix_like Logits>
  void forward_into(Exec const& exec, Index g, Logits const& logits, RowOptions<> options, RoutingView<real> routing) {
    auto const x = as_matrix(logits);
    Index const sequences = options.segments.empty() ? 1 : options.segments.size() - 1;
    if (load_.sequences() != sequences || load_.experts() != x.cols()) load_ = Load<needs>(sequences, x.cols());
    route(exec, x, options, routing, load_.view());
    balancer_.observe(g, load_);
  }
  /// forward_into with a result of its own.
  template <execution Exec, matrix_like Logits>
  Routing<real> forward(Exec const& exec, Index g, Logits const& logits, RowOptions<> options = {}) {
    Routing<real> routing(as_matrix(logits).rows(), top_k);
    forward_into(exec, g, logits, options, routing.view());
    return routing;
  }

  /// d (loss of the model + balancing losses) / d logits [T, E] of micro-batch g, from d loss / d weights [T, K]. Returns this rank's
  /// part of the balancing loss. The arguments are those of forward_into and the ids that it gave.
  template <execution Exec, matrix_like Logits>
  double backward_into(Exec const& exec, Index g, Logits const& logits, RowOptions<> options,
                       MatrixView<ExpertId const> expert_ids, MatrixView<real const> d_weights, MatrixView<real> d_logits) {
    auto const x = as_matrix(logits);
    auto const terms = balancer_.terms(g);
    reserve(exec, x, std::max(terms.slopes.rows(), terms.weight_slopes.rows()));
    router_.backward_into(exec, x, with_bias(options), expert_ids,
                          RouterGradient<real>{d_weights, terms.router_slopes, terms.router_z_slopes,
                                               terms.router_weight_slopes}, d_logits,
                          WorkspaceView<HostMemory>(workspace_));
    return terms.loss;
  }

  /// Routes for evaluation or inference: the balancer neither sees nor moves anything.
  template <execution Exec, matrix_like Logits>
  void evaluate_into(Exec const& exec, Logits const& logits, RowOptions<> options, RoutingView<real> routing) {
    route(exec, as_matrix(logits), options, routing, LoadView<stats::None>{});
  }
  template <execution Exec, matrix_like Logits>
  Routing<real> evaluate(Exec const& exec, Logits const& logits, RowOptions<> options = {}) {
    Routing<real> routing(as_matrix(logits).rows(), top_k);
    evaluate_into(exec, logits, options, routing.view());
    return routing;
  }

private:
  template <class Exec, class X> void reserve(Exec const& exec, X const& x, Index sequences) {
    using Logit = std::remove_const_t<typename X::element>;
    workspace_.reserve(router_.template workspace_bytes<needs, Logit>(exec, x.rows(), x.cols(), sequences));
  }
  template <class Exec, class X, class Needs>
  void route(Exec const& exec, X x, RowOptions<> options, RoutingView<real> routing, LoadView<Needs> load) {
    require_equal("E, the columns of logits [T, E] (experts of the balancer)", balancer_.shape().experts, x.cols());
    reserve(exec, x, load.sequences());
    router_.template route_into<Needs>(exec, x, with_bias(options), routing, load, WorkspaceView<HostMemory>(workspace_));
  }
  /// A balancer with a bias rule owns the bias; without one the caller may bring a frozen bias.
  RowOptions<> with_bias(RowOptions<> options) const {
    if constexpr (Balancer::has_bias) {
      if (!options.bias.empty())
        detail::refuse<StateError>("bias of a pipeline whose balancer moves the bias", "none (balancer().set_bias sets it)", "one");
      options.bias = balancer_.bias();
      options.bias_by = Balancer::bias_by;
    }
    return options;
  }

  Router router_;
  Balancer balancer_;
  Workspace workspace_;
  Load<needs> load_;
};

} // namespace moebal
