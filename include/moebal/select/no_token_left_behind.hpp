// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "columns.hpp"
#include "top_k.hpp"

namespace moebal {

namespace select {

template <class Memory> struct NoPlace {
  MatrixView<ExpertId, Memory> ids;
  MOEBAL_FN void operator()(Index t) const { ids(t, 0) = no_expert; }
};

/// The next best expert of each token that has no place yet.
template <class Real, class Memory> struct AskNext {
  BatchCandidates<Real, Memory> batch;
  MatrixView<ExpertId, Memory> ids; // [T, 1] the place, if there is one
  rank_word_t<Real>* last;          // [T] what it asked before
  ExpertId* asked;                  // [T]
  MOEBAL_FN void operator()(Index t) const {
    asked[t] = no_expert;
    if (ids(t, 0) >= 0 || batch.is_padding(t)) return;
    rank_word_t<Real> best = 0;
    for (Index e = 0; e < batch.scores.cols(); ++e) {
      auto const word = below(rank_word(batch.scores(t, e), e), last[t]);
      best = word > best ? word : best;
    }
    last[t] = best;
    asked[t] = id_of(best);
  }
};

/// In token order, while there is room.
template <class Memory> struct PlaceInOrder {
  ExpertId const* asked;
  MatrixView<ExpertId, Memory> ids;
  Index* load; // [E]
  SlotsOfBatch slots;
  Index* left; // tokens without a place
  MOEBAL_FN void operator()(Index) const {
    Index const room = slots();
    Index without = 0;
    for (Index t = 0; t < ids.rows(); ++t) {
      if (asked[t] < 0) continue;
      if (load[asked[t]] < room) {
        ++load[asked[t]];
        ids(t, 0) = asked[t];
      } else {
        ++without;
      }
    }
    *left = without;
  }
};

} // namespace select

/// No token left behind (Mesh TensorFlow's ntlb): one expert a token. In round i every token that has no place yet asks
/// its i-th best expert, and the experts take them in token order up to their slots. A token that finds no place within
/// `tries` rounds gets none.
/// tries: the length of a token's list; 0, the default: all experts, so that nobody is left behind while there is room.
/// slots: by default 1.25 T / E, the capacity factor of its training configurations.
/// Cost: a pass over [T, E] for each round that is needed, and one thread for the places; T words of workspace. Nothing
/// is communicated. Gradient: through the weight. Not causal: a second try waits for the first ones of later tokens.
/// Inference: TopK<1>.
struct NoTokenLeftBehind {
  static constexpr Index top_k = 1;
  static constexpr bool causal = false;
  static constexpr BatchInput input = BatchInput::Scores;
  using Inference = TopK<1>;

  Index tries = 0;
  Slots slots{.per_token = 1.25};

  void check(Index, Index experts) const {
    require_within("tries of NoTokenLeftBehind for E experts (E is the upper bound)", 0, experts, tries);
    slots.check("NoTokenLeftBehind");
  }
  template <class Real, class Exec> std::size_t workspace_bytes(Exec const&, Index tokens, Index experts) const {
    using W = WorkspaceView<>;
    return W::bytes_for<rank_word_t<Real>>(tokens) + W::bytes_for<ExpertId>(tokens) + W::bytes_for<Index>(experts) +
           2 * W::bytes_for<Index>(1);
  }
  template <class Exec, class Real, class Memory>
  void assign(Exec const& exec, select::BatchCandidates<Real, Memory> batch, MatrixView<ExpertId, Memory> ids,
              WorkspaceView<Memory> workspace) const {
    using Word = rank_word_t<Real>;
    Index const tokens = batch.scores.rows(), experts = batch.scores.cols();
    auto* const last = workspace.template take<Word>(tokens);
    auto* const asked = workspace.template take<ExpertId>(tokens);
    auto* const load = workspace.template take<Index>(experts);
    auto* const count = workspace.template take<Index>(1);
    auto* const left = workspace.template take<Index>(1);
    exec.for_each(1, select::CountTokens<Memory>{batch.options.padding, tokens, count});
    exec.fill(VectorView<Word, Memory>(last, tokens), Word(~Word(0)));
    exec.fill(VectorView<Index, Memory>(load, experts), Index(0));

    exec.for_each(tokens, select::NoPlace<Memory>{ids});
    Index const rounds = tries == 0 ? experts : tries;
    for (Index i = 0; i < rounds; ++i) {
      exec.for_each(tokens, select::AskNext<Real, Memory>{batch, ids, last, asked});
      exec.for_each(1, select::PlaceInOrder<Memory>{asked, ids, load, {slots, experts, count}, left});
      if constexpr (std::same_as<Memory, HostMemory>)
        if (*left == 0) break; // a device goes on: nobody asks
    }
  }
};
static_assert(batch_selection<NoTokenLeftBehind>);

} // namespace moebal
