// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a balancing rule is: a small aggregate that names the statistics it reads and answers with numbers.

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
concept score_rule =
    detail::names_statistics<R> && requires(R const rule, detail::window_of<R> const& window, Index expert) {
      { rule.slope(window, expert) } -> std::same_as<double>;
      { rule.value(window) } -> std::same_as<double>;
    };
/// A loss with a slope per token: d value / d square_sum of the score window.
template <class R>
concept square_rule = detail::names_statistics<R> && requires(R const rule, detail::window_of<R> const& window) {
  { rule.z_slope(window) } -> std::same_as<double>;
  { rule.value(window) } -> std::same_as<double>;
};

/// A rule that adds to the loss.
template <class R>
concept loss_rule = score_rule<R> || square_rule<R>;
/// A rule that moves the selection bias at the end of a step, by step() each expert.
template <class R>
concept bias_rule =
    detail::names_statistics<R> && requires(R const rule, detail::window_of<R> const& window, Index expert) {
      { rule.step(window, expert) } -> std::same_as<float>;
    };

template <class R>
concept balance_rule = loss_rule<R> || bias_rule<R>;

} // namespace moebal
