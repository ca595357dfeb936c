// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Laws of selections, row by row or over the batch.

#include "../gate/softmax.hpp"
#include "chosen.hpp"
#include "router.hpp"

namespace moebal::laws {

namespace detail {
/// Expects that the tokens `rows` of `logits` and of `other` get the same experts.
template <class Selection, class Real>
void expect_same_choices(Findings& findings, std::string_view law, Numbers kind, Selection const& selection,
                         Matrix<Real> const& logits, Matrix<Real> const& other, std::vector<Index> const& rows) {
  auto const chosen = [&](Matrix<Real> const& m) {
    return rows_in_order(choose(selection, m, extras_of(m.rows, m.cols)), rows);
  };
  expect_same(findings, law, describe(kind, logits.rows, logits.cols, Selection::top_k), chosen(logits), chosen(other));
}

} // namespace detail

/// At most K distinct ids in [0, E), then no expert, for any bits; and the order of the keys, where it is claimed.
template <class Real, class Selection>
void ids_are_lawful(Selection const& selection, Shapes const& shapes, Findings& findings) {
  each_shape(findings, selection, shapes, [&](Index tokens, Index experts) {
    for (Numbers const kind : all_numbers) {
      auto const logits = matrix_of<Real>(kind, tokens, experts);
      auto const chosen = choose(selection, logits, extras_of(tokens, experts));
      auto const input = describe(kind, tokens, experts, Selection::top_k);
      findings.expect("no more than K experts are chosen", chosen.load[0] == 0, [&] {
        return words("for ", input, ": needed 0 to ", Selection::top_k, ", had ", chosen.load[0]);
      });
      for (Index t = 0; t < tokens; ++t)
        for (Index k = 0; k < chosen.top_k; ++k) {
          ExpertId const id = chosen.id(t, k), before = k > 0 ? chosen.id(t, k - 1) : id;
          auto const place = [&] { return words("for ", input, ", token ", t, ", choice ", k, ": "); };
          if (id == no_expert) continue;
          if (!findings.expect("ids lie in [0, E)", id >= 0 && id < experts,
                               [&] { return words(place(), "needed 0 to ", experts - 1, ", had ", id); }))
            return;
          findings.expect("no expert stands last", before != no_expert,
                          [&] { return words(place(), "needed no expert after no expert, had ", id); });
          for (Index j = 0; j < k; ++j)
            findings.expect("ids are distinct", chosen.id(t, j) != id,
                            [&] { return words(place(), "needed an expert not taken yet, had ", id, " again"); });
          if (!Claims<Selection>::best_first || k == 0 || before == no_expert) continue;
          findings.expect("best first, equal keys the lower id first",
                          rank_word(logits(t, before), before) > rank_word(logits(t, id), id), [&] {
                            return words(place(), "needed a key after ", logits(t, before), " of expert ", before,
                                         ", had ", logits(t, id), " of expert ", id);
                          });
        }
    }
  });
}

/// Padding rows of a batch get no expert. (A selection by row is not shown them.)
template <batch_selection Selection>
void padding_holds_no_expert(Selection const& selection, Shapes const& shapes, Findings& findings) {
  each_shape(findings, selection, shapes, [&](Index tokens, Index experts) {
    auto const extras = extras_of(tokens, experts, With::Padding);
    auto const chosen = choose(selection, matrix_of<float>(Numbers::Bell, tokens, experts), extras);
    for (Index t = 0; t < tokens; ++t)
      for (Index k = 0; extras.padding[std::size_t(t)] != 0 && k < chosen.top_k; ++k)
        findings.expect("padding holds no expert", chosen.id(t, k) == no_expert, [&] {
          return words("for ", describe(Numbers::Bell, tokens, experts, chosen.top_k), ", padding row ", t,
                       ": needed no expert, had ", chosen.id(t, k));
        });
  });
}

/// Equal keys are chosen as if the lower id (and, over a batch, the lower token) had a slightly larger one.
template <class Selection>
void ties_to_the_lower_id(Selection const& selection, Shapes const& shapes, Findings& findings) {
  if constexpr (Claims<Selection>::best_first)
    each_shape(findings, selection, shapes, [&](Index tokens, Index experts) {
      for (Numbers const kind : {Numbers::Ties, Numbers::Equal}) {
        auto logits = matrix_of<double>(kind, tokens, experts);
        for (double& z : logits.values) z += 3; // positive, as most scores are
        auto apart = logits;
        for (std::size_t i = 0; i < apart.values.size(); ++i) apart.values[i] -= double(i) * 0x1p-40;
        detail::expect_same_choices(findings, "ties go to the lower id", kind, selection, apart, logits,
                                    range(0, tokens));
      }
    });
}

/// A NaN is chosen as -infinity would be: when nothing else is left. (Tokens after it may count the two differently.)
template <class Selection> void nan_comes_last(Selection const& selection, Shapes const& shapes, Findings& findings) {
  each_shape(findings, selection, shapes, [&](Index tokens, Index experts) {
    for (Index t = 0; t < tokens; t += 1 + tokens / 4) {
      auto nan = matrix_of<float>(Numbers::Bell, tokens, experts), infinite = nan;
      Index const e = random::below(3, std::uint64_t(t), experts);
      nan(t, e) = std::numeric_limits<float>::quiet_NaN();
      infinite(t, e) = -std::numeric_limits<float>::infinity();
      detail::expect_same_choices(findings, "NaN comes last", Numbers::Bell, selection, infinite, nan, {t});
    }
  });
}

/// What calls itself causal chooses for a token without a look at later ones: they may change, or not be there.
template <class Selection>
void causal_as_claimed(Selection const& selection, Shapes const& shapes, Findings& findings) {
  if constexpr (Selection::causal)
    each_shape(findings, selection, shapes, [&](Index tokens, Index experts) {
      Index const first = tokens / 2;
      auto const logits = matrix_of<float>(Numbers::Bell, tokens, experts);
      auto other = logits, shuffle = matrix_of<float>(Numbers::Bell, tokens, experts, 2);
      for (Index t = first; t < tokens; ++t)
        for (Index e = 0; e < experts; ++e) other(t, e) = 3 + shuffle(t, e); // late tokens that everybody would take
      detail::expect_same_choices(findings, "later tokens change nothing", Numbers::Bell, selection, logits, other,
                                  range(0, first));
      if (serves(selection, first, experts))
        detail::expect_same_choices(findings, "later tokens change nothing", Numbers::Bell, selection, logits,
                                    rows_in_order(logits, range(0, first)), range(0, first));
    });
}

/// A constant added to all keys, as by a bias, changes no choice.
template <class Selection> void keys_shifted(Selection const& selection, Shapes const& shapes, Findings& findings) {
  if constexpr (Claims<Selection>::shift_invariant)
    each_shape(findings, selection, shapes, [&](Index tokens, Index experts) {
      auto const logits = matrix_of<double>(Numbers::Bell, tokens, experts); // widened floats: the sums are exact
      for (double const constant : {-8.0, 0.5, 1024.0}) {
        auto shifted = logits;
        for (double& z : shifted.values) z += constant;
        detail::expect_same_choices(findings, "a constant added to all keys changes no choice", Numbers::Bell,
                                    selection, logits, shifted, range(0, tokens));
      }
    });
}

/// All laws of a selection, of either kind. shapes: those that it should serve, where the usual ones do not fit. Where
/// ids are unlawful the other laws are not asked: a router would read by those ids.
template <class Selection>
  requires(row_selection<Selection> || batch_selection<Selection>)
Violations check_selection(Selection const& selection, Shapes const& shapes = {}) {
  Findings findings;
  ids_are_lawful<float>(selection, shapes, findings);
  ids_are_lawful<double>(selection, shapes, findings);
  if (findings.broken("ids lie in [0, E)") || findings.broken("no more than K experts are chosen"))
    return findings.violations();
  if constexpr (batch_selection<Selection>) padding_holds_no_expert(selection, shapes, findings);
  ties_to_the_lower_id(selection, shapes, findings);
  nan_comes_last(selection, shapes, findings);
  causal_as_claimed(selection, shapes, findings);
  keys_shifted(selection, shapes, findings);
  router_laws(Router(selection, SoftmaxOverChosen{}), shapes, findings); // whose scores are the logits
  return findings.violations();
}

} // namespace moebal::laws
