// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Logits to route: what a trained router sees, and what is meant to hurt.

#include "memory.hpp"

#include <moebal/core/ids.hpp>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace bench {

using moebal::Index;

enum class Kind { iid, bf16, equal, sorted, hot_columns, periodic, negative };
struct NamedKind {
  Kind kind;
  char const* name;
};
inline constexpr NamedKind kinds[] = {{Kind::iid, "iid"},       {Kind::bf16, "bf16"},          {Kind::equal, "equal"},
                                      {Kind::sorted, "sorted"}, {Kind::hot_columns, "hot"},    {Kind::periodic, "periodic"},
                                      {Kind::negative, "negative"}};

/// [T, E] normal logits with a bias of standard deviation 0.5 for each expert, changed as `kind` says.
inline Array<float> logits(Index tokens, Index experts, Kind kind, unsigned seed = 1) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> bias(static_cast<std::size_t>(experts));
  Array<float> z(std::size_t(tokens * experts));
  for (float& b : bias) b = 0.5f * normal(engine);
  for (Index t = 0; t < tokens; ++t) {
    float* const row = z.data() + t * experts;
    for (Index e = 0; e < experts; ++e) row[e] = normal(engine) + bias[std::size_t(e)];
    for (Index e = 0; e < experts; ++e) {
      float& x = row[e];
      if (kind == Kind::bf16) x = __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, x) & 0xffff0000u);
      if (kind == Kind::equal) x = 1;
      if (kind == Kind::hot_columns && e % 16 == 3) x += 10;
      if (kind == Kind::periodic) x = float(e % 16);
      if (kind == Kind::negative) x -= 100;
    }
    if (kind == Kind::sorted) std::sort(row, row + experts);
  }
  return z;
}

} // namespace bench
