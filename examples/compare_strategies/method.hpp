// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A strategy is a Recipe: a logit map, a selection, a gate, balancing rules with their scopes and a way to drop. Method hides its
// type, so that one loop runs them all; what a type says of itself becomes Facts, for the table and docs/strategies.md.

#include "../train_moe_lm/clock.hpp"
#include "counted.hpp"
#include "maps.hpp"

#include <moebal/backend/eigen.hpp>
#include <moebal/balance/balancers.hpp>
#include <moebal/balancer.hpp>
#include <moebal/core/local_experts.hpp>
#include <moebal/plan/group.hpp>
#include <moebal/router.hpp>
#include <moebal/select/hash_table.hpp>
#include <moebal/select/top_k.hpp>
#include <moebal/stats/margin_histogram.hpp>
#include <moebal/stats/score_histogram.hpp>

#include <string>
#include <tuple>

namespace lab {

using moebal::ExpertId;
using moebal::StateError;
using Ids = MatrixView<ExpertId const>;

/// What strategies may read of a run.
struct Make {
  Index experts = 16;
  Index rank = 0, ranks = 1;
  double coefficient = 0.1; // of losses
  double rate = 0.01;       // first rate of a bias; it falls in a line to 0
  double capacity = 1.25;   // factor, where pairs are dropped
  moebal::LocalExperts local{.first = 0, .count = 16};
  std::shared_ptr<moebal::HashTable const> random_1, balanced_1, balanced_2; // token id -> experts

  Index computing() const { return experts * 3 / 4; } // where the others are zero-computation experts
};

/// A rule and how far its statistics are summed.
template <moebal::balance_scope S, class R> struct At {
  using scope = S;
  R rule{};
};
template <class S, class R> constexpr At<S, R> at(S, R rule) { return {rule}; }
/// Rules at several scopes.
template <class... A> struct Balance {
  std::tuple<A...> all{};
  auto make(moebal::BalancerShape shape, Comm comm) const {
    return std::apply(
        [&](auto const&... a) {
          if constexpr (sizeof...(a) == 0)
            return moebal::Balancer(moebal::MicroBatch<>{}, moebal::Rules<>{}, shape, comm);
          else if constexpr (sizeof...(a) == 1)
            return (moebal::Balancer(typename std::remove_cvref_t<decltype(a)>::scope{}, a.rule, shape, comm), ...);
          else
            return moebal::Balancers(
                moebal::Balancer(typename std::remove_cvref_t<decltype(a)>::scope{}, a.rule, shape, comm)...);
        },
        all);
  }
};
template <class... A> constexpr Balance<A...> balance(A... a) { return {{a...}}; }

/// What RowOptions::tags are.
enum class Tags { None, TokenId, Domain };
inline constexpr Index domains = 4;
/// Whose pairs compete for the slots of an expert.
enum class CapacityOf { MicroBatch, AllRanks };

template <class Selection, class Gate, class Rules = Balance<>, class Map = LinearMap, class Drop = moebal::DropByPosition<moebal::ChoiceOrder::Equal>>
struct Recipe {
  Selection select{};
  Gate gate{};
  Rules balance{};
  Map map{};
  Drop drop{};
  CapacityOf capacity_of = CapacityOf::MicroBatch;
  Tags tags = Tags::None;
  Index choices = Selection::top_k; // experts a token is meant to use
  Index computing = 0;              // experts whose load counts; 0: all
};

/// What the types of a recipe say of it.
struct Facts {
  Index top_k = 0;
  bool causal = true, causal_drop = true;
  bool has_loss = false, has_bias = false;
  bool on_given_logits = true; // runs on a trace, and in a model that has its own gate product
  std::string logits, reads, scope, communicated;
};

namespace detail {
template <class S> struct MarginOf {};
template <Index bins> struct MarginOf<moebal::stats::MarginHistogram<bins>> {
  using yes = int;
};
template <class S> std::string name_of_statistic() {
  using namespace moebal;
  if constexpr (std::same_as<S, stats::Counts>) return "counts";
  else if constexpr (std::same_as<S, stats::FirstChoiceCounts>) return "counts of first choices";
  else if constexpr (std::same_as<S, stats::UnbiasedCounts>) return "counts without the bias";
  else if constexpr (std::same_as<S, stats::UnbiasedFirstChoiceCounts>) return "first choices without the bias";
  else if constexpr (std::same_as<S, stats::ScoreSums>) return "score sums";
  else if constexpr (std::same_as<S, stats::LogSumExpSquares>) return "sum of logsumexp^2";
  else if constexpr (requires { typename MarginOf<S>::yes; }) return "margin histogram";
  else if constexpr (S::slots(2) == S::slots(3)) return "tokens of devices";
  else return "score histogram";
}
template <class... S> std::string names_of(moebal::stats::List<S...>) {
  std::string text;
  ((text += (text.empty() ? "" : ", ") + name_of_statistic<S>()), ...);
  return text.empty() ? "-" : text;
}
template <class... R> std::string names_of(moebal::Rules<R...> rules) {
  std::string text;
  rules.each([&](auto const& rule) { text += (text.empty() ? "" : ", ") + std::string(rule.name); });
  return text;
}
template <class S> std::string scope_text() {
  std::string text = S::name;
  for (char& c : text) c = c == '_' ? ' ' : c;
  return text + (S::accumulate == moebal::Accumulate::Running   ? ", running"
                 : S::accumulate == moebal::Accumulate::TwoPass ? ", two passes"
                                                                : "");
}
/// "16 E + 2 integers a micro-batch": what a balancer of this scope sends.
template <class S, class R> std::string sent_text() {
  using Traits = moebal::detail::Traits<moebal::detail::as_rules_t<R>>;
  using Pooled = typename Traits::pooled;
  if (!S::over_ranks) return "nothing";
  Index const slope = Pooled::slots(64) - Pooled::slots(63), rest = Pooled::slots(64) - 64 * slope;
  std::string text = slope == 0 ? "" : slope == 1 ? "E" : std::to_string(slope) + " E";
  if (rest > 0) text += (text.empty() ? "" : " + ") + std::to_string(rest);
  bool const by_step = S::accumulate == moebal::Accumulate::TwoPass || !Traits::has_loss;
  return text + " integers a " + (by_step ? "step" : "micro-batch");
}
template <class Text> void add_once(std::string& to, Text const& text) {
  if (to.find(text) == std::string::npos) to += (to.empty() ? "" : "; ") + std::string(text);
}
template <class... A> void tell(Balance<A...>, Facts& facts) {
  [[maybe_unused]] auto const one = [&]<class S, class R>(At<S, R>) {
    using Traits = moebal::detail::Traits<moebal::detail::as_rules_t<R>>;
    add_once(facts.reads, names_of(typename Traits::needs{}));
    add_once(facts.scope, scope_text<S>());
    if (sent_text<S, R>() != "nothing") add_once(facts.communicated, sent_text<S, R>());
    facts.has_loss = facts.has_loss || Traits::has_loss;
    facts.has_bias = facts.has_bias || Traits::has_bias;
  };
  (one(A{}), ...);
}
} // namespace detail

template <class Selection, class Gate, class Rules, class Map, class Drop>
Facts facts_of(Recipe<Selection, Gate, Rules, Map, Drop> const* = nullptr) {
  Facts f;
  f.top_k = Selection::top_k;
  f.causal = Selection::causal && Map::causal;
  f.causal_drop = Drop::causal;
  f.on_given_logits = std::same_as<Map, LinearMap> || requires(Map map, In z, Out out) { map.over(std::uint64_t(), z, out); };
  f.logits = Map::name;
  f.has_loss = Map::has_loss;
  detail::tell(Rules{}, f);
  if (f.reads.empty()) f.reads = "-";
  if (f.scope.empty()) f.scope = "-";
  if (f.communicated.empty()) f.communicated = "nothing";
  return f;
}

/// A strategy at work on one rank.
class Method {
public:
  virtual ~Method() = default;
  virtual Index top_k() const = 0;
  virtual Index choices() const = 0;
  virtual Index computing() const = 0;
  virtual Tags tags() const = 0;
  virtual bool learns() const = 0; // whether a gradient moves the router

  virtual Index parameters(Index width) const = 0;
  virtual void start(std::uint64_t seed, Index width, std::span<float> parameters) = 0;
  /// Logits of tokens x, and what comes back to the parameters (overwritten). d_z may be written.
  virtual void forward(In x, std::uint64_t seed, Numbers const& parameters, Out z) = 0;
  virtual void backward_map(In x, std::uint64_t seed, Numbers const& parameters, In z, Out d_z, Numbers& d_parameters) = 0;
  /// The logits without noise.
  virtual void reference(In x, std::uint64_t seed, Numbers const& parameters, Out z) = 0;
  virtual bool deaf() const = 0; // to offsets of the logits
  /// What the map makes of given logits, in place.
  virtual void over(std::uint64_t seed, Out z) = 0;

  virtual void begin_step(Index step, Index micro_batches) = 0;
  virtual void route(Index g, In z, VectorView<Index const> tags, moebal::RoutingView<float> out) = 0;
  virtual void backward(Index g, In z, VectorView<Index const> tags, Ids ids, MatrixView<float const> d_weights, Out d_z) = 0;
  virtual void end_step(float rate_scale) = 0;
  virtual bool two_passes() const = 0; // slopes are known only after all micro-batches were routed
  virtual VectorView<std::int64_t const> counts() const = 0; // [E] of the micro-batch routed last
  /// As at inference: nothing is counted, and what looks at later tokens has its causal partner in its place.
  virtual void evaluate(In z, VectorView<Index const> tags, moebal::RoutingView<float> out) = 0;
  /// kept [T, K] out: 1 where a pair has a slot.
  virtual void keep(Ids ids, MatrixView<float const> weights, std::vector<std::uint8_t>& kept) = 0;
  virtual void save(std::ostream& out) const = 0;
  virtual void restore(std::istream& in) = 0;
  virtual Comm const& comm() const = 0;
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
        balancer_(plan.balance.make({.experts = make.experts, .top_k = Selection::top_k}, comm)) {}

  Index top_k() const override { return Selection::top_k; }
  Index choices() const override { return plan_.choices; }
  Index computing() const override { return plan_.computing > 0 ? plan_.computing : make_.experts; }
  Tags tags() const override { return plan_.tags; }
  bool learns() const override { return Balancer::has_loss || Map::has_loss; }
  Comm const& comm() const override { return comm_; }

  Index parameters(Index width) const override { return plan_.map.parameters(make_.experts, width); }
  void start(std::uint64_t seed, Index width, std::span<float> p) override { plan_.map.start(seed, make_.experts, width, p); }
  void forward(In x, std::uint64_t seed, Numbers const& p, Out z) override { plan_.map.forward(x, seed, p, z); }
  void backward_map(In x, std::uint64_t seed, Numbers const& p, In z, Out d_z, Numbers& d_p) override {
    plan_.map.backward(x, seed, p, z, d_z, d_p);
  }
  void reference(In x, std::uint64_t seed, Numbers const& p, Out z) override {
    if constexpr (requires { plan_.map.reference(x, p, z); })
      plan_.map.reference(x, p, z);
    else
      plan_.map.forward(x, seed, p, z);
  }
  bool deaf() const override { return requires { Map::deaf; }; }
  void over(std::uint64_t seed, Out z) override {
    if constexpr (requires(Map map) { map.over(seed, z, z); }) plan_.map.over(seed, z, z);
  }

  void begin_step(Index step, Index micro_batches) override {
    seed_ = std::uint64_t(step);
    balancer_.begin_step(micro_batches);
  }
  void route(Index g, In z, VectorView<Index const> tags, moebal::RoutingView<float> out) override {
    auto const options = options_of(z.rows(), tags);
    Index const sequences = options.segments.size() - 1;
    if (load_.sequences() != sequences) load_ = moebal::Load<Needs>(sequences, make_.experts);
    route_with<Needs>(router(), z, options, out, load_.view());
    balancer_.observe(g, load_);
  }
  void backward(Index g, In z, VectorView<Index const> tags, Ids ids, MatrixView<float const> d_weights, Out d_z) override {
    auto const options = options_of(z.rows(), tags);
    auto const terms = balancer_.terms(g);
    Router const r = router();
    workspace_.reserve(r.template workspace_bytes<Needs>(exec_, z.rows(), z.cols(), options.segments.size() - 1));
    r.backward_into(exec_, z, options, ids, moebal::RouterGradient<float>{d_weights, terms.router_slopes, terms.router_z_slopes},
                    d_z, moebal::WorkspaceView<>(workspace_));
  }
  void end_step(float rate_scale) override { balancer_.end_step(rate_scale); }
  bool two_passes() const override {
    return std::apply(
        [](auto const&... a) {
          return (false || ... || (std::remove_cvref_t<decltype(a)>::scope::accumulate == moebal::Accumulate::TwoPass));
        },
        plan_.balance.all);
  }
  VectorView<std::int64_t const> counts() const override {
    counts_.assign(std::size_t(make_.experts), 0);
    for (Index s = 0; s < load_.sequences(); ++s) {
      auto const more = load_.template get<moebal::stats::Counts>(s);
      for (Index e = 0; e < make_.experts; ++e) counts_[std::size_t(e)] += more[e];
    }
    return counts_;
  }
  void evaluate(In z, VectorView<Index const> tags, moebal::RoutingView<float> out) override {
    auto options = options_of(z.rows(), tags);
    if constexpr (requires { typename Selection::Inference; }) {
      moebal::Router<typename Selection::Inference, Gate> const partner{{}, plan_.gate};
      route_with<moebal::stats::None>(partner, z, options, out, {});
    } else {
      route_with<moebal::stats::None>(router(), z, options, out, {});
    }
  }
  void keep(Ids ids, MatrixView<float const> weights, std::vector<std::uint8_t>& kept) override {
    Index const pairs = ids.rows() * ids.cols();
    if (plan_.capacity_of == CapacityOf::MicroBatch) return keep_of(ids, weights, 0, pairs, kept);
    all_ids_.resize(std::size_t(pairs * comm_.size()));
    comm_.all_gather(VectorView<ExpertId const>(ids.data(), pairs), VectorView<ExpertId>(all_ids_));
    all_weights_.assign(all_ids_.size(), 0.0f);
    Index const rows = ids.rows() * comm_.size();
    keep_of({all_ids_.data(), rows, ids.cols()}, {all_weights_.data(), rows, ids.cols()}, comm_.rank() * pairs, pairs, kept);
  }
  void save(std::ostream& out) const override { balancer_.save(out); }
  void restore(std::istream& in) override { balancer_.restore(in); }

private:
  Router router() const {
    Selection select = plan_.select;
    if constexpr (requires { select.seed; }) select.seed = seed_; // no position keeps its luck
    return Router{select, plan_.gate};
  }
  /// Four sequences of equal length, as far as they go.
  moebal::RowOptions<> options_of(Index tokens, VectorView<Index const> tags) {
    segments_.clear();
    for (Index s = 0; s <= 4; ++s) segments_.push_back(tokens * s / 4);
    moebal::RowOptions<> options;
    options.segments = segments_;
    if (plan_.tags != Tags::None) options.tags = tags;
    options.bias = balancer_.bias();
    options.bias_by = Balancer::bias_by;
    return options;
  }
  template <class N, class AnyRouter>
  void route_with(AnyRouter const& r, In z, moebal::RowOptions<> options, moebal::RoutingView<float> out, moebal::LoadView<N> load) {
    workspace_.reserve(r.template workspace_bytes<N>(exec_, z.rows(), z.cols(), options.segments.size() - 1));
    r.template route_into<N>(exec_, z, options, out, load, moebal::WorkspaceView<>(workspace_));
  }
  void keep_of(Ids ids, MatrixView<float const> weights, Index first, Index pairs, std::vector<std::uint8_t>& kept) {
    if (slots_.tokens() != ids.rows()) slots_ = moebal::Plan(ids.rows(), ids.cols(), make_.experts, ids.rows() * ids.cols());
    // A token is meant to use `choices` experts, which may be fewer than the K that a row has room for.
    moebal::PlanPolicy<Drop> policy{.drop = plan_.drop, .capacity = {.factor = make_.capacity * double(plan_.choices) / double(top_k())}};
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
  moebal::Plan slots_;
  std::vector<Index> segments_;
  std::vector<ExpertId> all_ids_;
  Numbers all_weights_;
  mutable std::vector<std::int64_t> counts_;
  std::uint64_t seed_ = 0;
};

} // namespace lab
