// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "statistic.hpp"

namespace moebal::stats {

inline constexpr double square_one = 0x1p40;   // units in 1 of the fractions
inline constexpr double square_limit = 0x1p40; // larger squares count as this

/// Sum over tokens of logsumexp(logits)^2: the whole units, then the fractions in units of 1 / square_one. NaN counts
/// as 0.
struct LogSumExpSquares {
  template <class> static constexpr Index most_tokens = Index(1) << 22; // square_limit * 2^22 = 2^62
  MOEBAL_FN static constexpr Index slots(Index) { return 2; }
  template <class Lanes, class Facts>
  MOEBAL_FN static void add(Lanes lanes, Facts const& facts, std::int64_t* squares) {
    double const lse = facts.log_sum_exp(lanes);
    double square = math::mul(lse, lse);
    square = square < square_limit ? square : square_limit;
    if (math::is_nan(lse)) square = 0;
    std::int64_t const whole = std::int64_t(square);
    std::int64_t const fraction = math::to_fixed(square - double(whole), square_one);
    lanes.once([=] {
      lanes.add(squares, 0, whole);
      lanes.add(squares, 1, fraction);
    });
  }
};

} // namespace moebal::stats
