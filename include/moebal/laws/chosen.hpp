// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a selection of either kind chooses, asked directly: nothing is read by ids that are yet to be checked.

#include "../core/rank.hpp"
#include "routed.hpp"

namespace moebal::laws {
/// What a selection chooses, keys and scores being the logits; weights are 0. A count that is out of range stands in
/// `load`.
template <class Real, row_selection Selection>
Routed<Real> choose(Selection const& selection, Matrix<Real> const& logits, Extras const& extras) {
  Index const experts = logits.cols, top_k = Selection::top_k;
  Routed<Real> out{top_k, std::vector<ExpertId>(std::size_t(logits.rows * top_k), -77), {}, {0}};
  for (Index t = 0; t < logits.rows; ++t) {
    std::vector<Real> const values = rows_in_order(logits, {t}).values;
    std::vector<rank_word_t<Real>> words, scratch(std::size_t(selection.scratch_words(experts)));
    for (Index e = 0; e < experts; ++e) words.push_back(rank_word(values[std::size_t(e)], e));
    ExpertId* const ids = &out.ids[std::size_t(t * top_k)];
    Index const count = selection.choose(
        SerialLanes{},
        select::Candidates<Real>{experts, words.data(), values.data(), scratch.data(), t, extras.tags[std::size_t(t)]},
        ids);
    if (count < 0 || count > top_k) out.load[0] = count;
    for (Index k = std::max<Index>(count, 0); k < top_k; ++k) ids[k] = no_expert;
  }
  out.weights.resize(out.ids.size());
  return out;
}
template <class Real, batch_selection Selection>
Routed<Real> choose(Selection const& selection, Matrix<Real> logits, Extras const& extras) {
  Routed<Real> out{Selection::top_k, std::vector<ExpertId>(std::size_t(logits.rows * Selection::top_k), -77), {}, {0}};
  std::size_t const bytes = selection.template workspace_bytes<Real>(PlainExec{}, logits.rows, logits.cols);
  Workspace memory(bytes);
  fill_with_nonsense(memory, bytes);
  selection.assign(PlainExec{}, select::BatchCandidates<Real>{logits.view(), extras.view()},
                   MatrixView<ExpertId>(out.ids.data(), logits.rows, Selection::top_k), WorkspaceView<>(memory));
  out.weights.resize(out.ids.size());
  return out;
}

} // namespace moebal::laws
