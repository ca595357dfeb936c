// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Laws of rules that move the selection bias.

#include "window.hpp"

namespace moebal::laws {

namespace detail {

/// The bias before and after steps that saw these loads.
template <class Rule> struct Moved {
  std::vector<float> before, after;
  Moved(Rule const& rule, std::vector<Load<typename Rule::needs>> const& loads, Index top_k) {
    Balancer balancer(GlobalBatch<>{}, rule, BalancerShape{.experts = loads[0].experts(), .top_k = top_k},
                      Communicator<Self>{}, std::type_identity<double>{});
    before.assign(balancer.bias().begin(), balancer.bias().end());
    for (auto const& load : loads) {
      balancer.begin_step(1);
      balancer.observe(0, load);
      balancer.end_step();
    }
    after.assign(balancer.bias().begin(), balancer.bias().end());
  }
};
/// A bias [C, E] with its experts renamed.
inline std::vector<float> bias_in_order(std::vector<float> bias, std::vector<Index> const& order) {
  Index const experts = Index(order.size());
  Matrix<float> rows(Index(bias.size()) / experts, experts);
  rows.values = std::move(bias);
  return columns_in_order(rows, order).values;
}
inline void expect_bias(Findings& findings, std::string_view law, std::string const& input,
                        std::vector<float> const& needed, std::vector<float> const& had, double tolerance) {
  for (std::size_t e = 0; e < needed.size(); ++e)
    findings.expect(
        law, tolerance == 0 ? same_bits(needed[e], had[e]) : std::abs(needed[e] - had[e]) <= tolerance,
        [&] { return words("for ", input, ", expert ", e, ": needed a bias of ", needed[e], ", had ", had[e]); });
}

} // namespace detail

/// The step is a function of what is pooled: what stands in the score window does not matter.
template <class Rule> void steps_read_the_load_alone(Rule const& rule, Shapes const& shapes, Findings& findings) {
  each_rule_shape(findings, rule, shapes, [&](Index experts, Index top_k) {
    OneWindow<Rule> window(rule, load_of<Rule>(skewed(61, experts), top_k), top_k), without = window;
    without.scores = Load<typename Rule::needs>(1, experts);
    auto const bias = extras_of(0, experts * moebal::detail::token_classes_of<Rule>(), With::Bias).bias;
    auto const moved = [&](OneWindow<Rule>& w) {
      auto out = bias;
      moebal::detail::move_bias(rule, w.view(), 1.0f, bias, out);
      return out;
    };
    auto const needed = moved(window);
    auto const law = "the bias moves by the load window alone";
    detail::expect_bias(findings, law, words("E ", experts, ", K ", top_k, ", an empty score window"), needed,
                        moved(without), 0);
    detail::expect_bias(findings, law, words("E ", experts, ", K ", top_k, ", asked again"), needed, moved(window), 0);
  });
}

/// A first step without tokens moves nothing.
template <class Rule> void nothing_moves_nothing(Rule const& rule, Shapes const& shapes, Findings& findings) {
  each_rule_shape(findings, rule, shapes, [&](Index experts, Index top_k) {
    detail::Moved<Rule> const moved(rule, {Load<typename Rule::needs>(1, experts)}, top_k);
    detail::expect_bias(findings, "no tokens, no movement", words("T 0, E ", experts, ", K ", top_k), moved.before,
                        moved.after, 0);
  });
}

/// Renaming the experts renames the bias, but for rounding.
template <class Rule> void bias_renamed(Rule const& rule, Shapes const& shapes, Findings& findings) {
  if constexpr (Claims<Rule>::experts_alike)
    each_rule_shape(findings, rule, shapes, [&](Index experts, Index top_k) {
      auto const order = shuffled(experts);
      std::vector<Load<typename Rule::needs>> plain, renamed;
      for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        auto const logits = skewed(61, experts, seed);
        plain.push_back(load_of<Rule>(logits, top_k));
        renamed.push_back(load_of<Rule>(columns_in_order(logits, order), top_k));
      }
      detail::expect_bias(findings, "experts renamed, the same bias renamed", words("T 61, E ", experts, ", K ", top_k),
                          detail::bias_in_order(detail::Moved<Rule>(rule, plain, top_k).after, order),
                          detail::Moved<Rule>(rule, renamed, top_k).after, 1e-6);
    });
}

/// Equal counts move nothing, and an overloaded expert never gains.
template <class Rule> void counts_are_evened(Rule const& rule, Shapes const& shapes, Findings& findings) {
  if constexpr (Rule::pooled::template has<stats::Counts> && Claims<Rule>::evens_counts)
    each_rule_shape(findings, rule, shapes, [&](Index experts, Index top_k) {
      using Needs = typename Rule::needs;
      Load<Needs> even(1, experts);
      even.view().tokens() = 7 * experts;
      for (std::int64_t& c : even.view().template get<stats::Counts>()) c = 7 * top_k;
      detail::Moved<Rule> const still(rule, {even}, top_k);
      detail::expect_bias(findings, "equal counts move nothing", words("E ", experts, ", ", 7 * top_k, " each"),
                          still.before, still.after, 0);

      auto const load = load_of<Rule>(skewed(61, experts), top_k);
      detail::Moved<Rule> const moved(rule, {load}, top_k);
      for (Index e = 0; e < experts; ++e) {
        auto const i = std::size_t(e);
        std::int64_t const count = load.template get<stats::Counts>()[e];
        if (count * experts <= 61 * top_k) continue;
        findings.expect("an overloaded expert never gains", moved.after[i] <= moved.before[i], [&] {
          return words("for T 61, E ", experts, ", K ", top_k, ", expert ", e, " with ", count,
                       " tokens: needed a bias of at most ", moved.before[i], ", had ", moved.after[i]);
        });
      }
    });
}

/// Laws of a rule that moves the bias.
template <bias_rule Rule> void bias_rule_laws(Rule const& rule, Shapes const& shapes, Findings& findings) {
  steps_read_the_load_alone(rule, shapes, findings);
  nothing_moves_nothing(rule, shapes, findings);
  bias_renamed(rule, shapes, findings);
  counts_are_evened(rule, shapes, findings);
}

} // namespace moebal::laws
