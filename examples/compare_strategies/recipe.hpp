// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A strategy is a Recipe: a logit map, a selection, a gate, balancing rules with their scopes and a way to drop. What
// its type says of itself becomes Facts, for the table and docs/strategies.md; method.hpp runs it.

#include "comm.hpp"
#include "maps.hpp"

#include <moebal/backend/eigen.hpp>
#include <moebal/balance/balancers.hpp>
#include <moebal/balancer.hpp>
#include <moebal/core/local_experts.hpp>
#include <moebal/plan/group.hpp>
#include <moebal/router.hpp>
#include <moebal/select/hash_table.hpp>
#include <moebal/select/top_k.hpp>
#include <moebal/select/zero_experts.hpp>
#include <moebal/stats/by_class.hpp>
#include <moebal/stats/margin_histogram.hpp>
#include <moebal/stats/score_histogram.hpp>
#include <moebal/stats/weight_sums.hpp>

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
  std::uint64_t seed = 1;
  moebal::LocalExperts local{.first = 0, .count = 16};
  std::shared_ptr<moebal::HashTable const> random_1, balanced_1, balanced_2; // token id -> experts

  Index computing() const { return experts * 3 / 4; } // where the others are zero-computation experts
};
inline Make make_for(Index experts, Index ranks, std::vector<std::int64_t> const& frequencies) { // of token ids [V]
  using moebal::HashTable;
  Make m;
  m.experts = experts, m.ranks = ranks;
  m.local = {0, experts};
  m.random_1 = std::make_shared<HashTable>(HashTable::random(Index(frequencies.size()), 1, experts, 7));
  m.balanced_1 = std::make_shared<HashTable>(HashTable::balanced(frequencies, 1, experts));
  m.balanced_2 = std::make_shared<HashTable>(HashTable::balanced(frequencies, std::min<Index>(2, experts), experts));
  return m;
}
/// The same as one rank sees it: its experts are near, where they can be dealt out evenly.
inline Make on_rank(Make m, Index rank) {
  m.rank = rank;
  if (m.experts % m.ranks == 0) m.local = {rank * (m.experts / m.ranks), m.experts / m.ranks};
  return m;
}

/// A micro-batch whose choices are those of as many random tokens of the whole step (shuffled.hpp).
struct RandomSubset : moebal::MicroBatch<> {
  static constexpr char const* name = "random_subset";
};

/// A rule and how far its statistics are summed.
template <moebal::balance_scope S, class R> struct At {
  using scope = S;
  R rule{};
};
template <class S, class R> constexpr At<S, R> at(S, R rule) { return {rule}; }
/// Rules at several scopes.
template <class... A> struct Balance {
  static constexpr bool shuffled = (false || ... || std::same_as<typename A::scope, RandomSubset>);
  static constexpr bool two_passes =
      shuffled || (false || ... || (A::scope::accumulate == moebal::Accumulate::TwoPass));
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

/// What RowOptions::tags are. TokenPair: the token before last and the last, 256 times the one plus the other; for the
/// text model only.
enum class Tags { None, TokenId, TokenPair, Domain };
inline constexpr Index domains = 4;
/// Whose pairs compete for the slots of an expert.
enum class CapacityOf { MicroBatch, AllRanks };

template <class Selection, class Gate, class Rules = Balance<>, class Map = LinearMap,
          class Drop = moebal::DropByPosition<moebal::ChoiceOrder::Equal>>
struct Recipe {
  Selection select{};
  Gate gate{};
  Rules balance{};
  Map map{};
  Drop drop{};
  CapacityOf capacity_of = CapacityOf::MicroBatch;
  Tags tags = Tags::None;
  Index choices = Selection::top_k;    // experts a token is meant to use
  moebal::ZeroExperts zeros{.ffn = 0}; // ffn: experts that compute, whose load counts; 0: all
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
template <class S> struct ClassesOf {};
template <int classes, class List> struct ClassesOf<moebal::stats::ByClass<classes, List>> {
  using list = List;
};
template <class S> std::string name_of_statistic();
template <class... S> std::string names_of(moebal::stats::List<S...>) {
  std::string text;
  ((text += (text.empty() ? "" : ", ") + name_of_statistic<S>()), ...);
  return text.empty() ? "-" : text;
}
template <class S> std::string name_of_statistic() {
  using namespace moebal;
  if constexpr (std::same_as<S, stats::Counts>)
    return "counts";
  else if constexpr (std::same_as<S, stats::FirstChoiceCounts>)
    return "counts of first choices";
  else if constexpr (std::same_as<S, stats::UnbiasedCounts>)
    return "counts without the bias";
  else if constexpr (std::same_as<S, stats::UnbiasedFirstChoiceCounts>)
    return "first choices without the bias";
  else if constexpr (std::same_as<S, stats::ScoreSums>)
    return "score sums";
  else if constexpr (std::same_as<S, stats::LogSumExpSquares>)
    return "sum of logsumexp^2";
  else if constexpr (std::same_as<S, stats::WeightSums>)
    return "weight sums";
  else if constexpr (requires { typename ClassesOf<S>::list; })
    return names_of(typename ClassesOf<S>::list{}) + " by class of token";
  else if constexpr (requires { typename MarginOf<S>::yes; })
    return "margin histogram";
  else if constexpr (S::slots(2) == S::slots(3))
    return "tokens of devices";
  else
    return "score histogram";
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
/// "16 E + 2 integers a micro-batch": what a balancer of this scope sends. Where a scope ends at the rank, a bias still
/// has to move alike on all of them, by the counts of rank 0.
template <class S, class R> std::string sent_text() {
  using Traits = moebal::detail::Traits<moebal::detail::as_rules_t<R>>;
  using Pooled = typename Traits::pooled;
  if (std::same_as<S, RandomSubset>) return "the choices of all tokens, once a step";
  bool const moves = Traits::has_bias || Traits::has_state;
  if (!S::over_ranks && !moves) return "nothing";
  Index const slope = Pooled::slots(64) - Pooled::slots(63), rest = Pooled::slots(64) - 64 * slope;
  std::string text = slope == 0 ? "" : slope == 1 ? "E" : std::to_string(slope) + " E";
  if (rest > 0) text += (text.empty() ? "" : " + ") + std::to_string(rest);
  bool const by_step = !S::over_ranks || S::accumulate == moebal::Accumulate::TwoPass || !Traits::has_loss;
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
  f.on_given_logits =
      std::same_as<Map, LinearMap> || requires(Map map, In z, Out out) { map.over(std::uint64_t(), z, out); };
  f.logits = Map::name;
  f.has_loss = Map::has_loss;
  detail::tell(Rules{}, f);
  if (f.reads.empty()) f.reads = "-";
  if (f.scope.empty()) f.scope = "-";
  if (f.communicated.empty()) f.communicated = "nothing";
  return f;
}

} // namespace lab
