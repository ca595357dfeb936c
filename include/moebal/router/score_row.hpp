// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One row of what a batch-wise selection chooses by.

#include "../core/routing.hpp"
#include "../gate/row.hpp"
#include "../select/batch_selection.hpp"
#include "row_scratch.hpp"

namespace moebal::detail {

template <BatchInput input, class Gate, class Logit, class Memory> struct ScoreRow {
  using real = compute_t<Logit>;

  Gate gate;
  MatrixView<Logit const, Memory> logits;
  RowOptions<Memory> options;
  MatrixView<real, Memory> scores; // [T, E] out

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    auto const x = LogitRow<Logit>{logits.row(t)};
    auto const g = gate;
    auto const row = gate.template open<real>(lanes, x, logits.cols());
    real* const out = scores.row(t);
    float const* const b = options.bias_of(t, logits.cols());
    bool const biased = input != BatchInput::PlainScores && b != nullptr;
    BiasBy const by = options.bias_by;
    lanes.each(logits.cols(), [=](auto e) {
      using V = decltype(x(e));
      V value = x(e);
      if constexpr (input != BatchInput::Logits) value = g.score(row, value);
      if (biased) value = with_bias(value, V(load(b, e)), by);
      store(out, e, value);
    });
  }
};

} // namespace moebal::detail
