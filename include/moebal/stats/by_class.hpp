// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "statistic.hpp"

namespace moebal::stats {

/// The statistics of a list once for each class of tokens (RowOptions::classes: text, image, ...): row c is what a load
/// of the tokens of class c alone would hold, its header with their number included. A token of another class is not
/// counted. Cost: that of the list, `classes` times its integers. Exact, as they are.
template <int classes, statistic_list List> struct ByClass {
  static_assert(classes >= 1, "moebal: ByClass needs at least one class of tokens");
  template <class Real> static constexpr Index most_tokens = List::template most_tokens<Real>;
  MOEBAL_FN static constexpr Index slots(Index experts) { return classes * List::slots(experts); }
  /// Where the row of class c begins.
  MOEBAL_FN static constexpr Index row(Index c, Index experts) { return c * List::slots(experts); }

  template <class Lanes, class Facts> MOEBAL_FN static void add(Lanes lanes, Facts const& facts, std::int64_t* sums) {
    Index const c = facts.token_class();
    if (c >= 0 && c < classes) List::add(lanes, facts, sums + row(c, facts.experts()));
  }
};

} // namespace moebal::stats
