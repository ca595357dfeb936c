// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Laws of a selection and a gate together.

#include "../stats/counts.hpp"
#include "../stats/score_sums.hpp"
#include "claims.hpp"
#include "routed.hpp"

namespace moebal::laws {

/// SIMD lanes, tiles of rows, threads and any order of work give the bits of the plain loop, for any logits.
template <class Selection, class Gate>
void same_bits_on_every_execution(Router<Selection, Gate> const& router, Shapes const& shapes, Findings& findings) {
  using Needs = stats::List<stats::Counts, stats::ScoreSums>;
  each_shape(findings, router.selection(), shapes, [&](Index tokens, Index experts) {
    for (Numbers const kind : all_numbers)
      for (With const with : {With::Tags, With::Padding, With::Bias}) {
        auto const logits = matrix_of<float>(kind, tokens, experts);
        auto const extras = extras_of(tokens, experts, with);
        auto const plain = route<Needs>(PlainExec{}, router, logits, extras);
        expect_same(findings, "the same bits when run again", describe(kind, tokens, experts, router.top_k), plain,
                    route<Needs>(PlainExec{}, router, logits, extras));
        each_execution(shapes, [&](auto const& exec, char const* name) {
          expect_same(findings, "the same bits on every execution",
                      words(describe(kind, tokens, experts, router.top_k), ", ", name), plain,
                      route<Needs>(exec, router, logits, extras));
        });
      }
  });
}

/// What lies in padding rows is nobody's business.
template <class Selection, class Gate>
void padding_is_not_there(Router<Selection, Gate> const& router, Shapes const& shapes, Findings& findings) {
  using Needs = stats::List<stats::Counts, stats::ScoreSums>;
  each_shape(findings, router.selection(), shapes, [&](Index tokens, Index experts) {
    auto const extras = extras_of(tokens, experts, With::Padding);
    auto const logits = matrix_of<float>(Numbers::Bell, tokens, experts);
    auto other = logits;
    std::vector<Index> left;
    for (Index t = 0; t < tokens; ++t) {
      if (extras.padding[std::size_t(t)] == 0) left.push_back(t);
      for (Index e = 0; extras.padding[std::size_t(t)] != 0 && e < experts; ++e)
        other(t, e) = std::numeric_limits<float>::quiet_NaN();
    }
    auto const input = describe(Numbers::Bell, tokens, experts, router.top_k);
    auto const routed = route<Needs>(PlainExec{}, router, logits, extras);
    expect_same(findings, "what lies in padding matters to nobody", input, routed,
                route<Needs>(PlainExec{}, router, other, extras));
    if (!Claims<Selection>::tokens_alike) return; // its draws are by place
    auto without = rows_in_order(extras, left);
    without.padding.clear();
    expect_same(findings, "a batch with padding is the batch without", input, rows_in_order(routed, left),
                route<Needs>(PlainExec{}, router, rows_in_order(logits, left), without));
  });
}

/// Permuting the tokens permutes what is routed.
template <class Selection, class Gate>
void tokens_permuted(Router<Selection, Gate> const& router, Shapes const& shapes, Findings& findings) {
  using Needs = stats::List<stats::Counts, stats::ScoreSums>;
  if constexpr (Claims<Selection>::tokens_alike)
    each_shape(findings, router.selection(), shapes, [&](Index tokens, Index experts) {
      auto const logits = matrix_of<float>(Numbers::Bell, tokens, experts);
      auto const extras = extras_of(tokens, experts, With::Bias);
      auto const order = shuffled(tokens);
      expect_same(findings, "tokens permuted, the same answer permuted",
                  describe(Numbers::Bell, tokens, experts, router.top_k),
                  rows_in_order(route<Needs>(PlainExec{}, router, logits, extras), order),
                  route<Needs>(PlainExec{}, router, rows_in_order(logits, order), rows_in_order(extras, order)));
    });
}

/// Renaming the experts renames the choices, and leaves the weights but for rounding.
template <class Selection, class Gate>
void experts_renamed(Router<Selection, Gate> const& router, Shapes const& shapes, Findings& findings) {
  if constexpr (Claims<Selection>::experts_alike && Claims<Gate>::experts_alike)
    each_shape(findings, router.selection(), shapes, [&](Index tokens, Index experts) {
      auto const logits = matrix_of<double>(Numbers::Bell, tokens, experts);
      auto const extras = extras_of(tokens, experts);
      auto const order = shuffled(experts);
      auto renamed = route(PlainExec{}, router, columns_in_order(logits, order), extras);
      for (ExpertId& id : renamed.ids)
        if (id >= 0 && id < experts) id = ExpertId(order[std::size_t(id)]);
      expect_same(findings, "experts renamed, the same answer renamed",
                  describe(Numbers::Bell, tokens, experts, router.top_k), route(PlainExec{}, router, logits, extras),
                  renamed, 1e-12);
    });
}

/// Laws of one pair of a selection and a gate.
template <class Selection, class Gate>
void router_laws(Router<Selection, Gate> const& router, Shapes const& shapes, Findings& findings) {
  same_bits_on_every_execution(router, shapes, findings);
  padding_is_not_there(router, shapes, findings);
  tokens_permuted(router, shapes, findings);
  experts_renamed(router, shapes, findings);
}

} // namespace moebal::laws
