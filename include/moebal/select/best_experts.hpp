// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The best experts of a token, chosen one by one: the rows of batch-wise selections.

#include "batch_selection.hpp"

namespace moebal::select {

/// The best experts of one token among those that are added, in any order.
template <class Real> struct BestExperts {
  Real const* scores; // [E] of this token
  ExpertId* ids;      // [most]
  Index most;
  Index count = 0;

  MOEBAL_FN void add(Index e) {
    auto const word = rank_word(scores[e], e);
    if (count == most && word_at(most - 1) > word) return;
    Index at = count < most ? count++ : most - 1;
    for (; at > 0 && word_at(at - 1) < word; --at) ids[at] = ids[at - 1];
    ids[at] = ExpertId(e);
  }
  MOEBAL_FN void finish() const {
    for (Index k = count; k < most; ++k) ids[k] = no_expert;
  }
  MOEBAL_FN rank_word_t<Real> word_at(Index k) const { return rank_word(scores[ids[k]], ids[k]); }
};

/// The best experts of each token.
template <class Real, class Memory> struct TakeBest {
  BatchCandidates<Real, Memory> batch;
  MatrixView<ExpertId, Memory> ids;
  MOEBAL_FN void operator()(Index t) const {
    BestExperts<Real> best{batch.scores.row(t), ids.row(t), ids.cols()};
    if (!batch.is_padding(t))
      for (Index e = 0; e < batch.scores.cols(); ++e) best.add(e);
    best.finish();
  }
};

} // namespace moebal::select
