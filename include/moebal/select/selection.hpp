// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a row-wise selection is: from the ranked candidates of one token to at most K distinct ids, best first. Selections that
// choose over columns are select/batch_selection.hpp.

#include "../core/errors.hpp"
#include "../core/lanes.hpp"

#include <concepts>

namespace moebal {
namespace select {

/// The candidates of one token, in scratch memory that a selection may rewrite.
template <class Real> struct Candidates {
  Index experts;
  rank_word_t<Real>* words;   // [E] rank_word(key, id)
  Real const* values;         // [E] score + bias; only when the selection says needs_scores
  rank_word_t<Real>* scratch; // [scratch_words(E)]
  Index token;                // the row's number in this call
  Index tag;                  // RowOptions::tags of the row, or 0
};

} // namespace select

template <class S>
concept row_selection = requires(S const& s, SerialLanes lanes, select::Candidates<float> row, ExpertId* ids, Index experts) {
  { S::top_k } -> std::convertible_to<Index>;
  { S::causal } -> std::convertible_to<bool>;
  { S::needs_scores } -> std::convertible_to<bool>; // reads Candidates::values
  { S::needs_keys } -> std::convertible_to<bool>;   // reads Candidates::words
  s.check(experts); // throws ShapeError for an E that it cannot serve
  { s.scratch_words(experts) } -> std::same_as<Index>;
  { s.choose(lanes, row, ids) } -> std::same_as<Index>; // how many were chosen; ids [K], of which these are written
};

} // namespace moebal
