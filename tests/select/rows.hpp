// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One row of keys through a selection, by plain lanes.

#include "reference/reference.hpp"

#include <moebal/core/rank.hpp>
#include <moebal/select/selection.hpp>

#include <vector>

namespace select_rows {

/// The ids that a selection chooses for these keys; the values of groups are the keys.
template <class Real = float, class Selection>
reference::Ids choose(Selection const& selection, std::vector<Real> const& keys, moebal::Index tag = 0, moebal::Index token = 0) {
  using namespace moebal;
  Index const experts = Index(keys.size());
  selection.check(experts);
  std::vector<rank_word_t<Real>> words, scratch(std::size_t(selection.scratch_words(experts)));
  for (Index e = 0; e < experts; ++e) words.push_back(rank_word(keys[std::size_t(e)], e));
  std::vector<ExpertId> ids(std::size_t(Selection::top_k), -7);
  Index const count = selection.choose(
      SerialLanes{}, select::Candidates<Real>{experts, words.data(), keys.data(), scratch.data(), token, tag}, ids.data());
  return reference::Ids(ids.begin(), ids.begin() + count);
}

} // namespace select_rows
