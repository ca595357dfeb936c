// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../stats/by_class.hpp"
#include "loss_free_bias.hpp"
#include "move_bias.hpp"
#include "named.hpp"

namespace moebal {

/// A bias for each class of tokens, b [C, E], each moved by the rule on the load of its own tokens, as if the others
/// did not exist: DeepSeek-V4.1's separate biases of text and image tokens (as reported; its rule is the sign rule,
/// ByTokenClass<2, LossFreeBias>{}). Without it the rarer class is balanced by the load of the other, and an expert
/// that is good at images alone looks idle. Route with RowOptions::classes [T], which a Pipeline hands on; which class
/// a token is of is the caller's. A class without tokens in a step keeps its bias as far as the rule does on no tokens.
/// For rules of a bias of which all statistics are pooled; the rule's own state is kept once a class. Classes of
/// experts are PerClass's. Communicated: C times what the rule alone does. Gradient: none. Causal, if the class of a
/// token is. Exact: as the rule, the same bits for any cut of a step.
template <int classes, bias_rule R> struct ByTokenClass {
  static_assert(!loss_rule<R>,
                "moebal: ByTokenClass holds rules that move the bias; a loss knows no classes of tokens");
  static_assert(std::same_as<typename R::needs, typename R::pooled>,
                "moebal: ByTokenClass holds rules that pool all the statistics that they need");
  using by_class = stats::ByClass<classes, typename R::pooled>;
  using needs = stats::List<by_class>;
  using pooled = stats::List<by_class>;
  using window_type = Window<needs, pooled>;
  struct Prefix {
    static constexpr char const* name = "by_token_class";
  };
  static constexpr char const* name = detail::Named<Prefix, R>::text.data();
  static constexpr BiasBy bias_by = detail::bias_by_of<R>();
  static constexpr Index token_classes = classes;

  R rule{};

  void check(Index experts) const {
    if constexpr (requires { rule.check(experts); }) rule.check(experts);
  }
  void move(window_type const& window, VectorView<float const> bias, VectorView<float> moved) const {
    Index const n = window.experts();
    for (Index c = 0; c < classes; ++c)
      detail::move_bias(rule, of_class(window, c), 1.0f, bias.part(c * n, n), moved.part(c * n, n));
  }

  MOEBAL_FN static Index state_size(Index experts)
    requires stateful_rule<R>
  {
    return classes * R::state_size(experts);
  }
  void start(VectorView<float> state) const
    requires stateful_rule<R>
  {
    for (Index c = 0; c < classes; ++c) rule.start(part(state, c));
  }
  void advance(window_type const& window, VectorView<float> state) const
    requires stateful_rule<R>
  {
    for (Index c = 0; c < classes; ++c) rule.advance(of_class(window, c), part(state, c));
  }

private:
  static VectorView<float> part(VectorView<float> state, Index c) {
    Index const n = state.size() / classes;
    return state.part(c * n, n);
  }
  /// The window that the rule would have of the tokens of class c.
  static detail::window_of<R> of_class(window_type const& window, Index c) {
    auto const* const sums = window.template load_data<by_class>() + by_class::row(c, window.experts());
    LoadView<typename R::pooled> const load(const_cast<std::int64_t*>(sums), 1,
                                            window.experts()); // a window only reads
    detail::window_of<R> narrow(window.top_k(), load, load, 0, 0, window.score_unit());
    narrow.at_step(window.step());
    if constexpr (stateful_rule<R>) narrow.with_state(window.state_data() + c * R::state_size(window.experts()));
    return narrow;
  }
};
static_assert(move_rule<ByTokenClass<2, LossFreeBias>> && !loss_rule<ByTokenClass<2, LossFreeBias>>);

} // namespace moebal
