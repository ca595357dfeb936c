// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Laws of a rule, or of several together, in a balancer: however a batch is cut over ranks, micro-batches and
// sequences, it is balanced alike; and what was saved goes on as if it had never stopped.

#include "training.hpp"

namespace moebal::laws {

namespace detail {

inline std::string first_difference(std::string const& a, std::string const& b) {
  std::size_t i = 0;
  while (i < a.size() && i < b.size() && a[i] == b[i]) ++i;
  return words("byte ", i, " of ", a.size());
}
/// Expects the same bytes, and the same losses and gradients but for rounding.
inline void expect_balanced(Findings& findings, std::string const& law, std::string const& input,
                            Balanced const& needed, Balanced const& had) {
  for (std::string const& bytes : had.saved)
    findings.expect(words(law, ": bias and state, to the bit"), bytes == needed.saved[0], [&] {
      return words("for ", input, ": needed the saved bytes of one rank, had others from ",
                   first_difference(needed.saved[0], bytes), " on");
    });
  for (std::size_t s = 0; s < needed.losses.size(); ++s) {
    double const a = needed.losses[s], b = had.losses[s];
    findings.expect(words(law, ": losses"), std::abs(a - b) <= 1e-11 * std::abs(a),
                    [&] { return words("for ", input, ", step ", s, ": needed ", a, ", had ", b); });
    double scale = 1e-5, worst = 0; // with one expert all gradients are rounding
    for (std::size_t i = 0; i < needed.d_logits[s].values.size(); ++i) {
      double const x = needed.d_logits[s].values[i];
      scale = std::max(scale, std::abs(x));
      worst = std::max(worst, std::abs(x - had.d_logits[s].values[i]));
    }
    findings.expect(words(law, ": gradients"), worst <= 1e-11 * scale, [&] {
      return words("for ", input, ", step ", s, ": needed gradients that differ by at most ", 1e-11 * scale, ", had ",
                   worst);
    });
  }
}

} // namespace detail

/// The laws above for a scope. GlobalBatch<TwoPass> keeps them all; MicroBatch does depend on the cut.
template <class Rule, class Scope>
void split_laws(Rule const& rule, Scope scope, Shapes const& shapes, Findings& findings) {
  Shapes few{.tokens = {},
             .experts = {}}; // the three smallest that the rule serves and the largest: many trainings each
  for (Index const experts : shapes.experts)
    if (serves_experts(rule, experts)) few.experts.push_back(experts);
  std::sort(few.experts.begin(), few.experts.end());
  if (few.experts.size() > 4) few.experts.erase(few.experts.begin() + 3, few.experts.end() - 1);
  each_rule_shape(findings, rule, few, [&](Index experts, Index top_k) {
    Training<Scope, Rule> training{scope, rule, {.experts = experts, .top_k = top_k}};
    auto const input = [&](std::string const& how) { return words("E ", experts, ", K ", top_k, ", ", how); };
    auto const whole = training.run({});
    for (Index const ranks : {1, 2, 3, 4})
      for (Index const micro_batches : {1, 2, 5})
        for (Index const sequences : {1, 3}) {
          Cut const cut{ranks, micro_batches, sequences};
          auto const had = training.run(cut);
          detail::expect_balanced(findings, "any cut balances alike", input(cut.text()), whole, had);
          auto const& needed = whole.windows[0];
          for (auto const& windows : had.windows)
            for (std::size_t i = 0; i < windows.size() && Scope::accumulate == Accumulate::TwoPass; ++i) {
              std::size_t const one = needed.size() / std::size_t(training.steps),
                                step = i / (one * std::size_t(micro_batches));
              findings.expect("any cut balances alike: windows, to the bit", windows[i] == needed[step * one + i % one],
                              [&] {
                                return words("for ", input(cut.text()), ", number ", i, ": needed ",
                                             needed[step * one + i % one], ", had ", windows[i]);
                              });
            }
        }
    training.restart_after = 0;
    detail::expect_balanced(findings, "saved and restored, it goes on", input("restored after a step"), whole,
                            training.run({.ranks = 2, .micro_batches = 2}));
    training.restart_after = -1;
    training.shuffle_tokens = true;
    auto shuffled_tokens = training.run({});
    for (auto& d : shuffled_tokens.d_logits) {
      auto const order = shuffled(training.tokens);
      auto const moved = d;
      for (Index t = 0; t < d.rows; ++t)
        for (Index e = 0; e < d.cols; ++e) d(order[std::size_t(t)], e) = moved(t, e);
    }
    detail::expect_balanced(findings, "tokens permuted, balanced alike", input("tokens permuted"), whole,
                            shuffled_tokens);
  });
}

/// The laws of cuts for a rule or Rules{...}, at a scope.
template <class Rule, class Scope = GlobalBatch<Accumulate::TwoPass>>
Violations check_split(Rule const& rule, Scope scope = {}, Shapes const& shapes = {}) {
  Findings findings;
  split_laws(rule, scope, shapes, findings);
  return findings.violations();
}

} // namespace moebal::laws
