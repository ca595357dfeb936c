// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a balancing rule is: a small aggregate that names the statistics it reads and answers with numbers.

#include "../core/routing.hpp"
#include "window.hpp"

#include <string_view>

namespace moebal {

namespace detail {
/// The window as the rule R asks for it.
template <class R> using window_of = Window<typename R::needs, typename R::pooled>;

template <class R>
concept names_statistics = std::is_trivially_copyable_v<R> && std::is_aggregate_v<R> && requires {
  typename window_of<R>;
  { R::name } -> std::convertible_to<std::string_view>;
};
} // namespace detail

/// A loss with a slope per expert: d value / d score_sum of the score window.
template <class R>
concept score_rule = detail::names_statistics<R> &&
    requires(R const rule, detail::window_of<R> const& window, Index expert) {
  { rule.slope(window, expert) } -> std::same_as<double>;
  { rule.value(window) } -> std::same_as<double>;
};
/// A loss with a slope per token: d value / d square_sum of the score window.
template <class R>
concept square_rule = detail::names_statistics<R> && requires(R const rule, detail::window_of<R> const& window) {
  { rule.z_slope(window) } -> std::same_as<double>;
  { rule.value(window) } -> std::same_as<double>;
};
/// A loss with a slope per expert on the combine weights: d value / d weight_sum of the score window.
template <class R>
concept weight_rule = detail::names_statistics<R> &&
    requires(R const rule, detail::window_of<R> const& window, Index expert) {
  { rule.weight_slope(window, expert) } -> std::same_as<double>;
  { rule.value(window) } -> std::same_as<double>;
};

// A rule may also have check(E), which refuses what it cannot serve, with a ShapeError.

/// A rule that adds to the loss.
template <class R>
concept loss_rule = score_rule<R> || square_rule<R> || weight_rule<R>;
/// A rule that moves the selection bias at the end of a step, by step() each expert.
template <class R>
concept step_rule = detail::names_statistics<R> &&
    requires(R const rule, detail::window_of<R> const& window, Index expert) {
  { rule.step(window, expert) } -> std::same_as<float>;
};
/// A rule that answers with the whole new bias [E], from the old one.
template <class R>
concept move_rule = detail::names_statistics<R> &&
    requires(R const rule, detail::window_of<R> const& window, VectorView<float const> bias, VectorView<float> moved) {
  { rule.move(window, bias, moved) } -> std::same_as<void>;
};
/// A rule that moves the selection bias.
template <class R>
concept bias_rule = step_rule<R> || move_rule<R>;

/// A rule with numbers of its own that live from step to step: state_size(E) floats, kept and saved by the balancer,
/// equal on all ranks. start() writes the first ones; at the end of each step advance() moves them by that step's
/// window, before the bias moves. The rule reads them as window.state(i).
template <class R>
concept stateful_rule = detail::names_statistics<R> &&
    requires(R const rule, detail::window_of<R> const& window, Index experts, VectorView<float> state) {
  { R::state_size(experts) } -> std::same_as<Index>;
  { rule.start(state) } -> std::same_as<void>;
  { rule.advance(window, state) } -> std::same_as<void>;
};

template <class R>
concept balance_rule = loss_rule<R> || bias_rule<R>;

/// Whether the balancer takes the mean over the experts off the steps of a bias rule, so that the bias stays around
/// zero.
enum class Centring { None, Mean };

namespace detail {
template <class R> constexpr Index state_size_of(Index experts) {
  if constexpr (stateful_rule<R>) return R::state_size(experts);
  return 0;
}
/// The centring that a rule asks for; a combinator has that of the rule that it holds.
template <class R> Centring centring_of(R const& rule) {
  if constexpr (requires { rule.centring; })
    return rule.centring;
  else if constexpr (requires { rule.rule; })
    return centring_of(rule.rule);
  else
    return Centring::None;
}
/// How the bias of a rule changes scores: as its bias_by says, else by adding.
template <class R> constexpr BiasBy bias_by_of() {
  if constexpr (requires { R::bias_by; }) return R::bias_by;
  return BiasBy::Adding;
}
/// How many biases [E] a rule keeps, one for each class of tokens (RowOptions::classes): as its token_classes says,
/// else one for all.
template <class R> constexpr Index token_classes_of() {
  if constexpr (requires { R::token_classes; }) return R::token_classes;
  return 1;
}
} // namespace detail

} // namespace moebal
