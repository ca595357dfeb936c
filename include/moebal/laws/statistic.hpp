// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Laws of statistics: a commutative monoid of integers, over tokens that are no padding.

#include "../gate/sigmoid.hpp"
#include "../select/top_k.hpp"
#include "router.hpp"

namespace moebal::laws {

namespace detail {
/// The load of a batch: one row of slots for each sequence.
template <class Needs, class Router>
std::vector<std::int64_t> load(Router const& router, Matrix<float> const& logits, Extras const& extras) {
  return route<Needs>(PlainExec{}, router, logits, extras).load;
}
/// The sum of rows of n integers.
inline std::vector<std::int64_t> folded(std::vector<std::int64_t> const& rows, Index n) {
  std::vector<std::int64_t> sum(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < rows.size(); ++i) sum[i % std::size_t(n)] += rows[i];
  return sum;
}
inline void expect_load(Findings& findings, std::string_view law, std::string const& input,
                        std::vector<std::int64_t> const& needed, std::vector<std::int64_t> const& had) {
  for (std::size_t i = 0; i < needed.size(); ++i)
    findings.expect(law, needed[i] == had[i], [&] {
      return words("for ", input, ", number ", i, " of the load: needed ", needed[i], ", had ", had[i]);
    });
}
} // namespace detail

/// However tokens are cut into sequences and calls, the sums add up to the same, and no tokens give zero.
template <class Statistic, class Router>
void cuts_add_up(Router const& router, Shapes const& shapes, Findings& findings) {
  using Needs = stats::List<Statistic>;
  each_shape(findings, router.selection(), shapes, [&](Index tokens, Index experts) {
    for (Numbers const kind : all_numbers) {
      auto const logits = matrix_of<float>(kind, tokens, experts);
      auto extras = extras_of(tokens, experts, With::Bias);
      Index const slots = Needs::slots(experts);
      auto const input = describe(kind, tokens, experts, router.top_k);
      auto const whole = detail::load<Needs>(router, logits, extras);
      if (tokens == 0)
        detail::expect_load(findings, "no tokens sum to zero", input, std::vector<std::int64_t>(std::size_t(slots)),
                            whole);
      std::vector<std::int64_t> calls;
      for (auto const& part : {range(0, tokens / 3), range(tokens / 3, tokens)}) {
        auto const more = detail::load<Needs>(router, rows_in_order(logits, part), rows_in_order(extras, part));
        calls.insert(calls.end(), more.begin(), more.end());
      }
      detail::expect_load(findings, "calls add up", input, whole, detail::folded(calls, slots));
      extras.segments = {0, tokens / 4, tokens / 4, tokens / 2, tokens};
      detail::expect_load(findings, "sequences add up", input, whole,
                          detail::folded(detail::load<Needs>(router, logits, extras), slots));
    }
  });
}

/// Padding is not counted, whatever lies in it.
template <class Statistic, class Router>
void padding_is_not_counted(Router const& router, Shapes const& shapes, Findings& findings) {
  using Needs = stats::List<Statistic>;
  each_shape(findings, router.selection(), shapes, [&](Index tokens, Index experts) {
    auto const logits = matrix_of<float>(Numbers::Bell, tokens, experts);
    auto const extras = extras_of(tokens, experts, With::Padding);
    std::vector<Index> left;
    for (Index t = 0; t < tokens; ++t)
      if (extras.padding[std::size_t(t)] == 0) left.push_back(t);
    detail::expect_load(findings, "padding is not counted", describe(Numbers::Bell, tokens, experts, router.top_k),
                        detail::load<Needs>(router, rows_in_order(logits, left), rows_in_order(extras, left)),
                        detail::load<Needs>(router, logits, extras));
  });
}

/// Beside other statistics it writes into its own slots alone, and counts the same there.
template <class Statistic, class Router>
void slots_are_its_own(Router const& router, Shapes const& shapes, Findings& findings) {
  using Before = stats::UnbiasedCounts;
  using After = stats::UnbiasedFirstChoiceCounts;
  if constexpr (!std::same_as<Statistic, Before> && !std::same_as<Statistic, After>)
    each_shape(findings, router.selection(), shapes, [&](Index tokens, Index experts) {
      auto const logits = matrix_of<float>(Numbers::Bell, tokens, experts);
      auto const extras = extras_of(tokens, experts);
      auto needed = detail::load<stats::List<Before>>(router, logits, extras);
      for (auto const& more : {detail::load<stats::List<Statistic>>(router, logits, extras),
                               detail::load<stats::List<After>>(router, logits, extras)})
        needed.insert(needed.end(), more.begin() + stats::None::header, more.end());
      detail::expect_load(findings, "a statistic writes into its own slots",
                          describe(Numbers::Bell, tokens, experts, router.top_k), needed,
                          detail::load<stats::List<Before, Statistic, After>>(router, logits, extras));
    });
}

/// The order of the tokens, threads and lanes do not matter.
template <class Statistic, class Router>
void sums_have_no_order(Router const& router, Shapes const& shapes, Findings& findings) {
  using Needs = stats::List<Statistic>;
  each_shape(findings, router.selection(), shapes, [&](Index tokens, Index experts) {
    auto const order = shuffled(tokens);
    for (Numbers const kind : all_numbers) {
      auto const logits = matrix_of<float>(kind, tokens, experts);
      auto const extras = extras_of(tokens, experts);
      auto const input = describe(kind, tokens, experts, router.top_k);
      auto const needed = detail::load<Needs>(router, logits, extras);
      detail::expect_load(findings, "tokens permuted, the same sums", input, needed,
                          detail::load<Needs>(router, rows_in_order(logits, order), rows_in_order(extras, order)));
      each_execution(shapes, [&](auto const& exec, char const* name) {
        detail::expect_load(findings, "the same sums on every execution", words(input, ", ", name), needed,
                            route<Needs>(exec, router, logits, extras).load);
      });
    }
  });
}

/// All laws of a statistic, as this router collects it.
template <class Statistic, class Router> Violations check_statistic(Router const& router, Shapes const& shapes = {}) {
  Findings findings;
  slots_are_its_own<Statistic>(router, shapes, findings);
  if (!findings.violations().empty()) return findings.violations(); // it would write into other memory
  cuts_add_up<Statistic>(router, shapes, findings);
  padding_is_not_counted<Statistic>(router, shapes, findings);
  sums_have_no_order<Statistic>(router, shapes, findings);
  return findings.violations();
}
/// The same for sigmoid and the three best experts.
template <class Statistic> Violations check_statistic(Shapes const& shapes = {}) {
  return check_statistic<Statistic>(Router<TopK<3>, Sigmoid>{}, shapes);
}

} // namespace moebal::laws
