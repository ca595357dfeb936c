// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Balancer<Scope, Rule>: the statistics of a training step in, loss terms and the selection bias out.

#include "balance/balancers.hpp"
#include "balance/loss_free_bias.hpp"
#include "balance/move_bias.hpp"
#include "balance/rule_states.hpp"
#include "balance/scope.hpp"
#include "balance/state.hpp"
#include "balance/step_record.hpp"
#include "balance/switch_loss.hpp"
#include "balance/terms.hpp"
#include "balance/z_loss.hpp"
#include "comm/handshake.hpp"
#include "communicator.hpp"

namespace moebal {

/// Balances one MoE layer. A step of the optimizer has G micro-batches:
///
///   balancer.begin_step(G);
///   for g: route with balancer.bias(), balancer.observe(g, load), balancer.terms(g) into the router's backward
///   optimizer step; balancer.end_step();
///
/// With TwoPass, terms(g) come after all G were observed. Nothing else moves state: evaluation just does not call
/// observe.
///
/// Scope: Sequence, MicroBatch or GlobalBatch, each <Accumulate::None|Running|TwoPass>. Rule: one rule or Rules{...}.
/// Comm: how the ranks talk; each rank has its own balancer and calls the same functions in the same order.
/// Real: the router's compute type, whose fixed-point unit the score sums are in.
///
/// Gradients: the mean over ranks (Reduction::Sum: the sum) of what the ranks compute is the gradient of the loss
/// over all ranks, also where they hold unequal numbers of tokens. The losses of the G micro-batches are averaged:
/// terms are already divided by G, and are summed by the user. Sequence and MicroBatch average the ranks' own losses.
///
/// Cost: observe copies S rows of integers and, at GlobalBatch, starts the sum of one message over the ranks: E counts
/// and a header of two. That is one message a micro-batch, or one a step where TwoPass is used or no loss rule is
/// there. Nobody waits for it before terms, window or end_step read it: between lies work to hide it under. A model of
/// L layers has L balancers with copies of one communicator: each sends its own message when its layer is routed, or,
/// over Communicator<Packed<Backend>>, all send one when the last layer is (comm/packed.hpp).
/// terms: S E slopes. After the first step of a kind nothing is allocated here.
/// Moves with sums under way; is copied between steps.
/// Exactness: windows and bias have the same bits for any cut of the step over sequences, micro-batches and ranks
/// that the scope sums over, and on all ranks.
/// Errors: StateError for a call or a copy at the wrong moment and for saved state that does not fit, ShapeError,
/// CommError.
/// Example: examples/train_moe_lm.
template <class Scope, class Rule, class Comm = Communicator<Self>, class Real = float> class Balancer {
  static constexpr bool swapped = balance_scope<Rule> && !balance_scope<Scope>;
  static_assert(!swapped, "moebal: the arguments are swapped: write Balancer<GlobalBatch<>, SwitchLoss<>>");
  static_assert(swapped || balance_scope<Scope>,
                "moebal: the first argument of Balancer is a scope: Sequence<>, MicroBatch<> or GlobalBatch<>");
  static_assert(
      communicator<Comm>,
      "moebal: the third argument of Balancer is a communicator: Communicator<Self>, Communicator<Threads>, ...");

  using RuleSet = detail::as_rules_t<std::conditional_t<swapped, Rules<>, Rule>>; // one sentence is enough
  using Traits = detail::Traits<RuleSet>;
  using Record = detail::StepRecord<Scope, Traits, Real, typename Comm::Request>;

public:
  using needs = typename Traits::needs;   // what the router has to collect: route_into<Balancer::needs>
  using pooled = typename Traits::pooled; // what is summed over the scope
  using real = Real;
  static constexpr bool has_loss = Traits::has_loss, has_bias = Traits::has_bias;
  static constexpr BiasBy bias_by = Traits::bias_by; // for RowOptions
  static constexpr Index token_classes = Traits::token_classes;

  /// shape: E >= 1 and 1 <= K <= E. The last argument, std::type_identity<double>{}, is for routers that compute in
  /// double. Collective where the balancer will talk to other ranks: a handshake finds the rank whose E, K, scope,
  /// rules, type or version differs (comm/handshake.hpp), before it sends what the
  /// others do not expect.
  Balancer(Scope, Rule rule, BalancerShape shape, Comm comm = Comm{}, std::type_identity<Real> = {})
      : shape_(detail::checked(shape)), states_(rule, shape.experts), comm_(std::move(comm)), step_(shape.experts),
        bias_(has_bias ? std::size_t(token_classes * shape.experts) : 0, bias_by == BiasBy::Scaling ? 1.0f : 0.0f),
        moved_(bias_.size()) {
    if constexpr (Scope::over_ranks || has_bias || Traits::has_state)
      if (comm_.size() > 1)
        handshake(comm_, {{"experts", shape.experts},
                          {"top_k", shape.top_k},
                          {"balancer", name()},
                          {"compute type", std::same_as<Real, float> ? "float" : "double"},
                          {"reduction", shape.reduction == Reduction::Sum ? "sum" : "mean over ranks"}});
  }

  BalancerShape shape() const { return shape_; }
  RuleSet const& rules() const { return states_.rules(); }
  Comm const& comm() const { return comm_; }

  /// Opens a step of G >= 1 micro-batches, the same G on all ranks.
  void begin_step(Index micro_batches) {
    step_.require_closed("begin_step");
    require_at_least("begin_step: micro-batches", 1, micro_batches);
    step_.begin(micro_batches);
  }

  /// Takes the statistics of micro-batch g, in the order 0, 1, ... G - 1. load: LoadView or Load of at least `needs`,
  /// one row a sequence; it is copied. A micro-batch that was observed already (a recomputed forward pass) is
  /// compared, not counted. Starts a collective, and waits for nobody: at GlobalBatch for each new micro-batch, or
  /// (TwoPass, or no loss rule) for the last; at a narrower scope with a bias rule or a stateful rule for the last.
  /// ShapeError where a window has more tokens than its sums have room for: stats::max_tokens<Real> with score sums,
  /// 2^22 with a z-loss, 2^40 else. What is too much only over the ranks is refused where the sum is read.
  template <class L> void observe(Index g, L const& load) {
    static_assert(detail::load_on_host<L>, "moebal: observe takes a Load or a LoadView in host memory");
    static_assert(detail::load_has<L, needs>,
                  "moebal: this load lacks a statistic that the rules read: collect Balancer::needs");
    step_.require_open("observe");
    require_within("observe: micro-batch", 0, step_.micro_batches() - 1, g);
    require_equal("observe: experts of the load", shape_.experts, load.experts());
    if (g > step_.observed())
      detail::refuse<StateError>("observe: micro-batches come in order", std::to_string(step_.observed()),
                                 std::to_string(g));
    if (g == step_.observed()) return step_.observe(load, comm_);
    if (!step_.same(g, load))
      detail::refuse<StateError>("observe: micro-batch " + std::to_string(g) + " was observed already",
                                 "the same statistics when it is recomputed", "others");
  }

  /// Loss and slopes of micro-batch g. Waits for its sum over the ranks; may be asked again. After a CommError the step
  /// is lost: abandon_step.
  Terms<Real> terms(Index g) {
    step_.require_observed("terms", g, Scope::accumulate);
    Index const sequences = step_.sequences(g); // may be 0
    terms_.clear(sequences, shape_.experts, Traits::has_slopes, Traits::has_weight_slopes, Traits::has_z_slopes);
    for (Index w = 0; has_loss && w < step_.windows(g); ++w) {
      auto const wide = window(g, w);
      states_.each(wide, [&](auto const& rule, auto const& narrow, VectorView<float>) { terms_.add(rule, narrow, w); });
    }
    step_.poll();
    if constexpr (has_loss && !Scope::per_sequence) terms_.repeat_first(); // one window: all sequences have its slopes
    return terms_.view();
  }

  /// What the rules read for micro-batch g (Sequence: for its sequence w): for metrics and tests. Valid in this step.
  /// At GlobalBatch without a loss rule there is one window, of the step, once all micro-batches were observed.
  Window<needs, pooled> window(Index g, Index w = 0) {
    step_.require_observed("window", g, Record::how);
    require_within("window: sequence", 0, step_.windows(g) - 1, w);
    step_.settle(g);
    // With TwoPass the mean runs over the step, else over a micro-batch, and the micro-batches are averaged.
    constexpr bool by_sum = Scope::accumulate == Accumulate::TwoPass;
    Index const micro_batches = step_.micro_batches(), tokens = step_.mean_tokens(g, w);
    bool const mean = shape_.reduction == Reduction::MeanOverRanks;
    double const ranks = double(comm_.size()), parts = double(step_.windows(g));
    double const rank_factor = Scope::over_ranks ? (mean ? ranks : 1.0) : (mean ? 1.0 : 1.0 / ranks);
    double const weight = tokens == 0 ? 0 : rank_factor / (double(tokens) * parts * double(by_sum ? 1 : micro_batches));
    double const share = 1.0 / (parts * double(micro_batches) * (mean ? 1.0 : ranks));
    Window<needs, pooled> window(shape_.top_k, step_.scores(g, w), step_.loads(g, w), weight, share,
                                 1.0 / stats::score_one<Real>);
    return window.at_step(steps_);
  }

  /// Closes the step: stateful rules move their state and bias rules the bias by one window, the same on all ranks:
  /// the whole step at GlobalBatch; rank 0's first micro-batch (or its first sequence) at the narrower scopes without
  /// accumulation, all of its micro-batches with. Waits for that window. rate_scale multiplies the steps of the bias
  /// (see also Annealed).
  void end_step(float rate_scale = 1) {
    step_.require_open("end_step");
    if (step_.observed() != step_.micro_batches())
      detail::refuse<StateError>("end_step: observed micro-batches", std::to_string(step_.micro_batches()),
                                 std::to_string(step_.observed()));
    if constexpr (has_bias || Traits::has_state) move(rate_scale);
    step_.close();
    ++steps_;
  }

  /// Closes the step as if it had never been opened: a skipped batch, or a way out after an error. Not collective: sums
  /// that were started are dropped, which disturbs no other rank.
  void abandon_step() {
    step_.require_open("abandon_step");
    step_.close();
  }

  /// The selection bias [E], fp32, or [C, E] where a rule keeps one for each class of tokens; empty without a bias
  /// rule. The view stays valid and shows the bias as it moves.
  VectorView<float const> bias() const { return bias_; }
  /// Starts from a given bias, of the size of bias(), e.g. of a published model; equal on all ranks. Not in an open
  /// step.
  void set_bias(VectorView<float const> bias) {
    step_.require_closed("set_bias");
    require_equal("set_bias: experts", Index(bias_.size()), bias.size());
    std::copy(bias.begin(), bias.end(), bias_.begin());
  }
  /// Steps that were closed by end_step.
  std::int64_t steps() const { return steps_; }

  /// Writes bias, state of the rules, step count, sizes and names, with a checksum (balance/state.hpp); several
  /// balancers may follow one another in one stream. Coefficients and rates are not state. Not in an open step.
  void save(std::ostream& out) const {
    step_.require_closed("save");
    detail::write_state(out, state());
  }
  /// Reads what save wrote, for the same scope, rules and sizes. StateError for anything else, and then nothing has
  /// changed. Not in an open step.
  void restore(std::istream& in) { restore(read(in)); }
  /// What was read and found to fit, and is not taken yet: so that several balancers are restored all or not at all.
  using State = detail::BalancerState;
  State read(std::istream& in) const {
    step_.require_closed("restore");
    return detail::read_state(in, state());
  }
  void restore(State const& read) {
    auto const states = read.numbers.begin() + std::ptrdiff_t(bias_.size());
    std::copy(read.numbers.begin(), states, bias_.begin());
    std::copy(states, read.numbers.end(), states_.numbers().begin());
    steps_ = read.steps;
  }

private:
  void move(float rate_scale) {
    auto const loads = step_.bias_loads();
    Window<needs, pooled> wide(shape_.top_k, step_.no_scores(), loads, 0, 0, 1.0 / stats::score_one<Real>);
    states_.each(wide.at_step(steps_),
                 [&]<class R>(R const& rule, detail::window_of<R> const& narrow, VectorView<float> numbers) {
                   if constexpr (stateful_rule<R>) rule.advance(narrow, numbers);
                   if constexpr (bias_rule<R>) {
                     detail::move_bias(rule, narrow, rate_scale, bias_, moved_);
                     std::copy(moved_.begin(), moved_.end(), bias_.begin());
                   }
                 });
  }

  /// "global_batch,two_pass+switch": what this balances by.
  std::string name() const {
    std::string name = scope_text<Scope>();
    rules().each([&](auto const& rule) { name.append("+").append(rule.name); });
    return name;
  }
  State state() const {
    std::vector<float> numbers = bias_;
    numbers.insert(numbers.end(), states_.numbers().begin(), states_.numbers().end());
    return {name(), shape_.experts, shape_.top_k, steps_, numbers};
  }

  BalancerShape shape_;
  detail::RuleStates<RuleSet> states_;
  [[no_unique_address]] Comm comm_;
  Record step_;
  detail::TermsBuffer<Real> terms_;
  std::vector<float> bias_;  // [C, E] or empty
  std::vector<float> moved_; // [C, E] or empty: what one rule answered
  std::int64_t steps_ = 0;
};

} // namespace moebal
