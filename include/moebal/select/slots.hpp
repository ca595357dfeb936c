// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How many tokens an expert may take, where a batch-wise selection limits that.

#include "../core/errors.hpp"
#include "../core/ids.hpp"
#include "../core/views.hpp"

#include <string>

namespace moebal {

enum class SlotRounding { Up, Down };

/// Slots of one expert for the T tokens of a call, padding excluded: `fixed` where that is not negative, else
/// per_token * T / E, rounded. Up by default, so that a batch smaller than E (one token at inference) still reaches
/// experts; V-MoE rounds up, DiffMoE down.
struct Slots {
  double per_token = 1; // experts that a token gets on average
  SlotRounding rounding = SlotRounding::Up;
  Index fixed = -1;

  MOEBAL_FN Index of(Index tokens, Index experts) const {
    if (fixed >= 0) return fixed;
    double const exact = double(tokens) * per_token / double(experts);
    if (exact >= 0x1p53) return Index(1) << 53;
    Index const below = Index(exact);
    return below + (rounding == SlotRounding::Up && double(below) < exact ? 1 : 0);
  }
  void check(char const* of_what) const {
    if (fixed < 0 && !(per_token >= 0 && per_token < 0x1p53))
      detail::refuse<ShapeError>(std::string("slots per token of ") + of_what, "a finite number of at least 0",
                                 std::to_string(per_token));
  }
};

namespace select {

/// Slots::of the number of tokens that only the machine knows.
struct SlotsOfBatch {
  Slots slots;
  Index experts;
  Index const* tokens;
  MOEBAL_FN Index operator()() const { return slots.of(*tokens, experts); }
};

/// Counts the tokens that are no padding.
template <class Memory> struct CountTokens {
  VectorView<std::uint8_t const, Memory> padding;
  Index rows;
  Index* tokens;
  MOEBAL_FN void operator()(Index) const {
    Index count = padding.empty() ? rows : 0;
    for (Index t = 0; t < padding.size(); ++t) count += padding[t] == 0 ? 1 : 0;
    *tokens = count;
  }
};

} // namespace select
} // namespace moebal
