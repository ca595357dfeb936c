// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "rule.hpp"

namespace moebal {

/// Several rules together: their losses and slopes add, and so do their steps of the bias. Rules{SwitchLoss<>{},
/// LossFreeBias{}}. The same rule may stand there twice. Rules{} balances nothing.
template <class... R> struct Rules;

template <> struct Rules<> {
  template <class F> constexpr void each(F const&) const {}
};

template <class Head, class... Rest> struct Rules<Head, Rest...> {
  static_assert(balance_rule<Head>, "moebal: Rules{...} holds something that is neither a loss rule nor a bias rule");

  Rules() = default;
  MOEBAL_FN constexpr Rules(Head first, Rest... others) : head(first), rest(others...) {}
  /// f(rule) for each, in order. On the host: device code walks head and rest.
  template <class F> constexpr void each(F const& f) const {
    f(head);
    rest.each(f);
  }

  Head head{};
  Rules<Rest...> rest{};
};
template <class... R> Rules(R...) -> Rules<R...>;

namespace detail {
/// One rule or several, seen as several.
template <class R> struct AsRules { using type = Rules<R>; };
template <class... R> struct AsRules<Rules<R...>> { using type = Rules<R...>; };
template <class R> using as_rules_t = typename AsRules<R>::type;

/// What the balancer must know about Rules<...> as a whole.
template <class R> struct Traits;
template <> struct Traits<Rules<>> {
  using needs = stats::None;
  using pooled = stats::None;
  static constexpr bool has_loss = false, has_slopes = false, has_z_slopes = false, has_weight_slopes = false;
  static constexpr bool has_bias = false, has_state = false;
  static constexpr BiasBy bias_by = BiasBy::Adding;
  static constexpr Index token_classes = 1;
};
template <class Head, class... Rest> struct Traits<Rules<Head, Rest...>> {
  using Tail = Traits<Rules<Rest...>>;
  using needs = stats::merge_t<typename Head::needs, typename Tail::needs>;
  using pooled = stats::merge_t<typename Head::pooled, typename Tail::pooled>;
  static constexpr bool has_loss = loss_rule<Head> || Tail::has_loss;
  static constexpr bool has_slopes = score_rule<Head> || Tail::has_slopes;
  static constexpr bool has_z_slopes = square_rule<Head> || Tail::has_z_slopes;
  static constexpr bool has_weight_slopes = weight_rule<Head> || Tail::has_weight_slopes;
  static constexpr bool has_bias = bias_rule<Head> || Tail::has_bias;
  static constexpr bool has_state = stateful_rule<Head> || Tail::has_state;
  static constexpr BiasBy bias_by = bias_rule<Head> ? bias_by_of<Head>() : Tail::bias_by;
  static constexpr Index token_classes = bias_rule<Head> ? token_classes_of<Head>() : Tail::token_classes;
  static_assert(!bias_rule<Head> || !Tail::has_bias || token_classes_of<Head>() == Tail::token_classes,
                "moebal: one of these rules keeps a bias for each class of tokens and another does not");
  static_assert(!bias_rule<Head> || !Tail::has_bias || bias_by_of<Head>() == Tail::bias_by,
                "moebal: one of these rules adds the bias to the scores and another multiplies by it");
};
} // namespace detail

} // namespace moebal
