// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Method hides the type of a Recipe, so that one loop runs them all: that of synthetic logits and traces (run.cpp), and
// the training of examples/train_moe_lm.

#include "../train_moe_lm/clock.hpp"
#include "recipe.hpp"
#include "shuffled.hpp"

namespace lab {

enum class Evaluation {
  AsTrained,
  Causal, // as at inference: what looks at later tokens has its causal partner in its place
};

/// A strategy at work on one rank.
class Method {
public:
  virtual ~Method() = default;
  virtual Index top_k() const = 0;
  virtual Index choices() const = 0;
  virtual moebal::ZeroExperts zeros() const = 0; // ffn: experts that compute
  virtual Tags tags() const = 0;
  virtual bool causal() const = 0; // whether a token's choices depend on no later token
  virtual bool learns() const = 0; // whether a gradient moves the router

  virtual Index parameters(Index width) const = 0;
  virtual void start(std::uint64_t seed, Index width, std::span<float> parameters) = 0;
  /// Logits of tokens x, and what comes back: added to d_parameters, and to d_x [T, D] unless that is empty. d_z may be
  /// written.
  virtual void forward(In x, std::uint64_t seed, Weights parameters, Out z) = 0;
  virtual void backward_map(In x, std::uint64_t seed, Weights parameters, In z, Out d_z, Slopes d_parameters,
                            Out d_x) = 0;
  /// The logits without noise.
  virtual void reference(In x, std::uint64_t seed, Weights parameters, Out z) = 0;
  virtual bool deaf() const = 0; // to offsets of the logits
  /// What the map makes of given logits, in place.
  virtual void over(std::uint64_t seed, Out z) = 0;

  virtual void begin_step(Index step, Index micro_batches) = 0;
  virtual void route(Index g, In z, VectorView<Index const> tags, moebal::RoutingView<float> out) = 0;
  /// After all micro-batches. Collective.
  virtual void all_routed() = 0;
  virtual void backward(Index g, In z, VectorView<Index const> tags, Ids ids, MatrixView<float const> d_weights,
                        Out d_z) = 0;
  virtual void end_step(float rate_scale) = 0;
  virtual bool two_passes() const = 0; // slopes are known only after all micro-batches were routed
  virtual VectorView<std::int64_t const> counts() const = 0; // [E] of the micro-batch routed last
  /// Routes for validation: nothing is counted, no state moves.
  virtual void evaluate(Evaluation how, In z, VectorView<Index const> tags, moebal::RoutingView<float> out) = 0;
  /// kept [T, K] out: 1 where a pair has a slot.
  virtual void keep(Ids ids, MatrixView<float const> weights, std::vector<std::uint8_t>& kept) = 0;
  virtual void save(std::ostream& out) const = 0;
  virtual void restore(std::istream& in) = 0;
  virtual Comm const& comm() const = 0;

  /// Processor time spent so far from begin_step to end_step, the logit map excluded.
  virtual double routing_seconds() const = 0;
  /// The part of it in the balancer, and on its statistics once these were measured.
  virtual double balancer_seconds() const = 0;
  /// The same in wall time, with what it waits for other ranks.
  virtual double balancer_wall_seconds() const = 0;
  /// The part of it that collecting the statistics took.
  virtual double collecting_seconds() const = 0;
  /// Measures what collecting the statistics of such a micro-batch costs: the difference to routing without.
  virtual void measure_statistics(In z, VectorView<Index const> tags, moebal::RoutingView<float> out) = 0;
};

template <class R> class MethodOf;
template <class Selection, class Gate, class Rules, class Map, class Drop>
class MethodOf<Recipe<Selection, Gate, Rules, Map, Drop>> final : public Method {
  using Plan = Recipe<Selection, Gate, Rules, Map, Drop>;
  using Router = moebal::Router<Selection, Gate>;
  using Balancer = decltype(std::declval<Rules>().make({}, std::declval<Comm>()));
  using Needs = moebal::stats::merge_t<typename Balancer::needs, moebal::stats::List<moebal::stats::Counts>>;

public:
  MethodOf(Plan plan, Make const& make, Comm comm)
      : plan_(plan), make_(make), comm_(comm),
        balancer_(plan.balance.make({.experts = make.experts, .top_k = Selection::top_k}, comm)),
        busy_(std::size_t(make.experts)) {
    if (plan_.zeros.ffn == 0) plan_.zeros = {.ffn = make.experts};
  }

  Index top_k() const override { return Selection::top_k; }
  Index choices() const override { return plan_.choices; }
  moebal::ZeroExperts zeros() const override { return plan_.zeros; }
  Tags tags() const override { return plan_.tags; }
  bool causal() const override { return Selection::causal && Map::causal; }
  bool learns() const override { return Balancer::has_loss || Map::has_loss; }
  Comm const& comm() const override { return comm_; }

  Index parameters(Index width) const override { return plan_.map.parameters(make_.experts, width); }
  void start(std::uint64_t seed, Index width, std::span<float> p) override {
    plan_.map.start(seed, make_.experts, width, p);
  }
  void forward(In x, std::uint64_t seed, Weights p, Out z) override { plan_.map.forward(x, seed, p, z); }
  void backward_map(In x, std::uint64_t seed, Weights p, In z, Out d_z, Slopes d_p, Out d_x) override {
    plan_.map.backward(x, seed, p, z, d_z, d_p, d_x);
  }
  void reference(In x, std::uint64_t seed, Weights p, Out z) override {
    if constexpr (requires { plan_.map.reference(x, p, z); })
      plan_.map.reference(x, p, z);
    else
      plan_.map.forward(x, seed, p, z);
  }
  bool deaf() const override {
    return requires { Map::deaf; };
  }
  void over(std::uint64_t seed, Out z) override {
    if constexpr (requires(Map map) { map.over(seed, z, z); }) plan_.map.over(seed, z, z);
  }

  void begin_step(Index step, Index micro_batches) override {
    train::Measured const routing(routing_seconds_);
    auto const measured = balancer_time();
    seed_ = std::uint64_t(step);
    if constexpr (requires { plan_.map.share; }) plan_.map.share = 1 / double(micro_batches);
    balancer_.begin_step(micro_batches);
    if constexpr (Rules::shuffled) shuffled_.begin_step(micro_batches);
  }
  void route(Index g, In z, VectorView<Index const> tags, moebal::RoutingView<float> out) override {
    train::Measured const routing(routing_seconds_);
    auto const options = options_of(z.rows(), tags);
    Index const sequences = options.segments.size() - 1;
    if (load_.sequences() != sequences) load_ = moebal::Load<Needs>(sequences, make_.experts);
    route_with<Needs>(router(z), z, options, out, load_.view());
    count();
    auto const measured = balancer_time();
    for (double* const seconds : {&collecting_seconds_, &balancer_seconds_, &balancer_wall_seconds_})
      *seconds += statistics_seconds_;
    if constexpr (Rules::shuffled)
      shuffled_.keep(g, out.expert_ids, load_);
    else
      balancer_.observe(g, load_);
  }
  void all_routed() override {
    train::Measured const routing(routing_seconds_);
    auto const measured = balancer_time();
    if constexpr (Rules::shuffled) shuffled_.show(make_.seed, seed_, comm_, balancer_);
  }
  void backward(Index g, In z, VectorView<Index const> tags, Ids ids, MatrixView<float const> d_weights,
                Out d_z) override {
    train::Measured const routing(routing_seconds_);
    auto const options = options_of(z.rows(), tags);
    auto const terms = terms_of(g);
    Router const r = router(z);
    workspace_.reserve(r.template workspace_bytes<Needs>(exec_, z.rows(), z.cols(), options.segments.size() - 1));
    r.backward_into(exec_, z, options, ids,
                    moebal::RouterGradient<float>{d_weights, terms.router_slopes, terms.router_z_slopes,
                                                  terms.router_weight_slopes},
                    d_z, moebal::WorkspaceView<>(workspace_));
  }
  void end_step(float rate_scale) override {
    train::Measured const routing(routing_seconds_);
    auto const measured = balancer_time();
    balancer_.end_step(rate_scale);
  }
  bool two_passes() const override { return Rules::two_passes; }
  VectorView<std::int64_t const> counts() const override { return counts_; }
  void evaluate(Evaluation how, In z, VectorView<Index const> tags, moebal::RoutingView<float> out) override {
    auto const options = options_of(z.rows(), tags);
    if constexpr (requires { typename Selection::Inference; }) {
      if (how == Evaluation::Causal) {
        moebal::Router<typename Selection::Inference, Gate> const partner{{}, plan_.gate};
        route_with<moebal::stats::None>(partner, z, options, out, {});
        for (Index t = 0; t < z.rows(); ++t) // no more experts than in training
          for (Index k = plan_.choices; k < top_k(); ++k)
            out.expert_ids(t, k) = moebal::no_expert, out.weights(t, k) = 0;
        return;
      }
    }
    route_with<moebal::stats::None>(router(z), z, options, out, {});
  }
  void keep(Ids ids, MatrixView<float const> weights, std::vector<std::uint8_t>& kept) override {
    Index const pairs = ids.rows() * ids.cols();
    if (plan_.capacity_of == CapacityOf::MicroBatch) return keep_of(ids, weights, 0, pairs, kept);
    all_ids_.resize(std::size_t(pairs * comm_.size()));
    comm_.all_gather(VectorView<ExpertId const>(ids.data(), pairs), VectorView<ExpertId>(all_ids_));
    all_weights_.assign(all_ids_.size(), 0.0f);
    Index const rows = ids.rows() * comm_.size();
    keep_of({all_ids_.data(), rows, ids.cols()}, {all_weights_.data(), rows, ids.cols()}, comm_.rank() * pairs, pairs,
            kept);
  }
  void save(std::ostream& out) const override { balancer_.save(out); }
  void restore(std::istream& in) override { balancer_.restore(in); }
  double routing_seconds() const override { return routing_seconds_; }
  double balancer_seconds() const override { return balancer_seconds_; }
  double balancer_wall_seconds() const override { return balancer_wall_seconds_; }
  double collecting_seconds() const override { return collecting_seconds_; }
  void measure_statistics(In z, VectorView<Index const> tags, moebal::RoutingView<float> out) override {
    if constexpr (balances) {
      auto const options = options_of(z.rows(), tags);
      auto const seconds_of = [&]<class N>(std::type_identity<N>, moebal::LoadView<N> load) {
        double best = 1;
        for (int i = 0; i < 20; ++i) {
          double seconds = 0;
          {
            train::Measured const measured(seconds);
            route_with<N>(router(z), z, options, out, load);
          }
          best = std::min(best, seconds);
        }
        return best;
      };
      moebal::Load<Needs> load(options.segments.size() - 1, make_.experts);
      double const with = seconds_of(std::type_identity<Needs>{}, load.view());
      statistics_seconds_ = std::max(0.0, with - seconds_of(std::type_identity<moebal::stats::None>{}, {}));
    }
  }

private:
  static constexpr bool balances = Balancer::has_loss || Balancer::has_bias;
  train::MeasuredTwice balancer_time() {
    return balances ? train::MeasuredTwice(balancer_seconds_, balancer_wall_seconds_)
                    : train::MeasuredTwice(ignored_, ignored_);
  }
  auto terms_of(Index g) {
    auto const measured = balancer_time();
    return balancer_.terms(g);
  }
  void count() {
    counts_.assign(busy_.size(), 0);
    for (Index s = 0; s < load_.sequences(); ++s) {
      auto const more = load_.template get<moebal::stats::Counts>(s);
      for (std::size_t e = 0; e < counts_.size(); ++e) counts_[e] += more[Index(e)];
    }
    for (std::size_t e = 0; e < counts_.size(); ++e) busy_[e] += counts_[e];
  }
  /// The router of a micro-batch with these logits.
  Router router(In z) const {
    Selection select = plan_.select;
    if constexpr (requires { select.fit(z); }) select.fit(z);
    if constexpr (requires { select.seed; }) select.seed = seed_; // no position keeps its luck
    if constexpr (requires { select.move.seed; }) select.move.seed = seed_;
    if constexpr (requires { select.load.size(); }) select.load = busy_;
    return Router{select, plan_.gate};
  }
  /// Four sequences of equal length, as far as they go.
  moebal::RowOptions<> options_of(Index tokens, VectorView<Index const> tags) {
    segments_.clear();
    for (Index s = 0; s <= 4; ++s) segments_.push_back(tokens * s / 4);
    moebal::RowOptions<> options;
    options.segments = segments_;
    if (plan_.tags != Tags::None) options.tags = tags;
    if constexpr (Balancer::token_classes > 1) {
      classes_.clear();
      for (Index const tag : tags) classes_.push_back((tag < 0 ? 0 : tag) % Balancer::token_classes);
      options.classes = classes_;
    }
    options.bias = balancer_.bias();
    options.bias_by = Balancer::bias_by;
    return options;
  }
  template <class N, class AnyRouter>
  void route_with(AnyRouter const& r, In z, moebal::RowOptions<> options, moebal::RoutingView<float> out,
                  moebal::LoadView<N> load) {
    workspace_.reserve(r.template workspace_bytes<N>(exec_, z.rows(), z.cols(), options.segments.size() - 1));
    r.template route_into<N>(exec_, z, options, out, load, moebal::WorkspaceView<>(workspace_));
  }
  void keep_of(Ids ids, MatrixView<float const> weights, Index first, Index pairs, std::vector<std::uint8_t>& kept) {
    if (slots_.tokens() != ids.rows())
      slots_ = moebal::Plan(ids.rows(), ids.cols(), make_.experts, ids.rows() * ids.cols());
    // A token is meant to use `choices` experts, which may be fewer than the K that a row has room for.
    moebal::PlanPolicy<Drop> policy{.drop = plan_.drop,
                                    .capacity = {.factor = make_.capacity * double(plan_.choices) / double(top_k())}};
    if constexpr (requires { policy.drop.seed; }) policy.drop.seed = seed_;
    plan_workspace_.reserve(moebal::plan_workspace_bytes(exec_, policy, ids.rows(), ids.cols(), make_.experts));
    moebal::plan_into(exec_, policy, make_.experts, ids, weights, slots_.target(), plan_workspace_);
    kept.resize(std::size_t(pairs));
    for (Index i = 0; i < pairs; ++i) kept[std::size_t(i)] = slots_.slot_of().data()[first + i] != moebal::no_slot;
  }

  Plan plan_;
  Make make_;
  Comm comm_;
  Balancer balancer_;
  moebal::EigenExec exec_{};
  moebal::Workspace workspace_, plan_workspace_;
  moebal::Load<Needs> load_;
  Shuffled<Needs> shuffled_;
  moebal::Plan slots_;
  std::vector<Index> segments_, classes_;
  std::vector<std::int64_t> counts_, busy_; // [E] choices of the last micro-batch; so far, for selections that look
  std::vector<ExpertId> all_ids_;
  Numbers all_weights_;
  std::uint64_t seed_ = 0; // of the step
  double routing_seconds_ = 0, balancer_seconds_ = 0, balancer_wall_seconds_ = 0, ignored_ = 0;
  double collecting_seconds_ = 0, statistics_seconds_ = 0; // in all; of one micro-batch
};

} // namespace lab
