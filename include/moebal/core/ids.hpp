// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

namespace moebal {

using Index = std::int64_t;    // tokens, rows, offsets: 64 bits everywhere
using ExpertId = std::int32_t; // an expert of one layer

/// In place of an id: this (token, choice) goes nowhere (a padding row). Everything downstream skips it.
inline constexpr ExpertId no_expert = -1;
/// In place of a position: this slot holds no token, or this (token, choice) holds no slot.
inline constexpr Index no_slot = -1;

} // namespace moebal
