// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Balancing without a word to the host: sums, slopes and bias stay in the memory of the execution, and every step is a launch on
// its stream. The rules are those of Balancer; one is a pure function of sums, so a kernel calls it as the host does.
//
//   exec.fill(as_vector(pooled), 0);                                          at the start of a step
//   router.route_into<Rule::needs>(exec, logits, {.bias = bias}, routing, load, workspace);
//   add_to_window(exec, rule, load, pooled);                                  after each micro-batch
//   communicator.all_reduce_sum(pooled row);                                  on the same stream (comm/nccl.hpp)
//   slopes_into(exec, rule, of, load, pooled, slopes);                        then Router::backward_into with these
//   move_bias_into(exec, rule, of, pooled, bias);                             at the end of the step
//
// Same bits as Balancer<GlobalBatch<...>, Rule> and Balancer<MicroBatch<...>, Rule> give. Rules with numbers of their own, or that
// answer with a whole bias, are Balancer's alone. Example: examples/route_anywhere.cpp.

#include "../core/errors.hpp"
#include "../core/execution.hpp"
#include "linear.hpp"

namespace moebal {

/// What a window is beside its sums.
struct WindowOf {
  Index top_k = 1;           // K
  double ranks = 1;          // ranks that the gradient is averaged over, where the window is summed over them; else 1
  double micro_batches = 1;  // G that the loss is averaged over; 1 where all of a step are one window (TwoPass)
  double score_unit = 1.0 / stats::score_one<float>;
};

namespace detail {

/// Window slot i, of the load's sequences one after the other.
template <class Needs, class Pooled, class Memory> struct AddToWindow {
  LoadView<Needs, Memory> load;
  LoadView<Pooled, Memory> pooled;
  MOEBAL_FN void operator()(Index i) const {
    for (Index s = 0; s < load.sequences(); ++s) pooled.data()[i] += load.data()[s * load.slots() + place(i)];
  }
  /// Where Needs keeps what Pooled keeps at i.
  MOEBAL_FN Index place(Index i) const { return place(i, static_cast<Pooled const*>(nullptr)); }
  template <class... S> MOEBAL_FN Index place(Index i, stats::List<S...> const*) const {
    Index at = i; // the header is the same
    ((i >= Pooled::template offset<S>(load.experts()) && i < Pooled::template offset<S>(load.experts()) + S::slots(load.experts())
          ? void(at = Needs::template offset<S>(load.experts()) + i - Pooled::template offset<S>(load.experts()))
          : void()),
     ...);
    return at;
  }
};

template <class Rule, class Memory, class Real> struct SlopeOfExpert {
  Rule rule;
  WindowOf of;
  LoadView<typename Rule::needs, Memory> scores;
  LoadView<typename Rule::pooled, Memory> pooled;
  MatrixView<Real, Memory> slopes;
  MOEBAL_FN void operator()(Index e) const {
    double const tokens = double(pooled.tokens());
    double const weight = pooled.tokens() == 0 ? 0 : of.ranks / (tokens * of.micro_batches);
    window_of<Rule> const window(of.top_k, scores, pooled, weight, 1.0 / of.micro_batches, of.score_unit);
    if constexpr (requires { rule.summary(window); })
      slopes(0, e) = Real(rule.slope(window, e, rule.summary(window)));
    else
      slopes(0, e) = Real(rule.slope(window, e));
  }
};

template <class Rule, class Memory> struct MoveBiasOfExpert {
  Rule rule;
  WindowOf of;
  LoadView<typename Rule::pooled, Memory> pooled;
  VectorView<float, Memory> bias;
  float scale;
  Centring centring;
  MOEBAL_FN void operator()(Index e) const {
    window_of<Rule> const window(of.top_k, pooled, pooled, 0, 0, of.score_unit);
    double sum = 0; // in the order of the host, by everybody for himself
    for (Index i = 0; centring == Centring::Mean && i < bias.size(); ++i) sum += double(rule.step(window, i));
    float const mean = centring == Centring::Mean ? float(sum / double(bias.size())) : 0.0f;
    bias[e] = math::fma(scale, rule.step(window, e) - mean, bias[e]);
  }
};

} // namespace detail

/// pooled [1] += the statistics that the rule sums over its scope, of all sequences of load [S]. One launch of E work items and more.
template <balance_rule Rule, execution Exec>
void add_to_window(Exec const& exec, Rule const&, LoadView<typename Rule::needs, typename Exec::memory> load,
                   LoadView<typename Rule::pooled, typename Exec::memory> pooled) {
  using Add = detail::AddToWindow<typename Rule::needs, typename Rule::pooled, typename Exec::memory>;
  require_equal("add_to_window: experts of the window", load.experts(), pooled.experts());
  require_equal("add_to_window: sequences of the window", 1, pooled.sequences());
  exec.for_each(pooled.slots(), Add{load, pooled});
}

/// slopes [1, E] = d loss / d score sum, for RouterGradient. scores: the load [1] of the micro-batch whose gradient is wanted. One
/// launch of E work items, each with O(E) work.
template <score_rule Rule, execution Exec, class Real>
  requires(!stateful_rule<Rule>)
void slopes_into(Exec const& exec, Rule const& rule, WindowOf of, LoadView<typename Rule::needs, typename Exec::memory> scores,
                 LoadView<typename Rule::pooled, typename Exec::memory> pooled, MatrixView<Real, typename Exec::memory> slopes) {
  require_equal("slopes_into: sequences of the scores", 1, scores.sequences());
  require_equal("slopes_into: experts of the window", scores.experts(), pooled.experts());
  require_equal("slopes [1, E], rows", 1, slopes.rows());
  require_equal("slopes [1, E], columns", scores.experts(), slopes.cols());
  exec.for_each(slopes.cols(), detail::SlopeOfExpert<Rule, typename Exec::memory, Real>{rule, of, scores, pooled, slopes});
}

/// bias [E] moves by one window, as at Balancer::end_step(rate_scale). One launch of E work items, each with O(E) work.
template <step_rule Rule, execution Exec>
  requires(!stateful_rule<Rule> && std::same_as<typename Rule::needs, typename Rule::pooled>)
void move_bias_into(Exec const& exec, Rule const& rule, WindowOf of, LoadView<typename Rule::pooled, typename Exec::memory> pooled,
                    VectorView<float, typename Exec::memory> bias, float rate_scale = 1) {
  require_equal("move_bias_into: bias [E]", pooled.experts(), bias.size());
  exec.for_each(bias.size(), detail::MoveBiasOfExpert<Rule, typename Exec::memory>{rule, of, pooled, bias, rate_scale,
                                                                                  detail::centring_of(rule)});
}

} // namespace moebal
