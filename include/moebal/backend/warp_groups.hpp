// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The best groups of consecutive experts of one row, found by a warp: a team of lanes for each group, all at once.

#include "../core/rank.hpp"
#include "warp_lanes.hpp"

namespace moebal {

/// At most 32 groups, ranked by their best member or by the sum of their best two.
template <class Warp> class WarpGroups {
public:
  /// keys [E] score + bias, in memory that the warp shares. size: members of a group; summed: 1 or 2 of them. NaN members
  /// count as -inf.
  MOEBAL_FN WarpGroups(float const* keys, int size, int groups, int kept, int summed)
      : team_bits_(team_bits(groups)), reciprocal_(reciprocal_of(std::uint32_t(size))) {
    int const team_size = 1 << team_bits_, group = Warp::lane() >> team_bits_, member = Warp::lane() & (team_size - 1);
    float first = -__builtin_huge_valf(), second = first;
    bool live = false; // some member is a number
    if (group < groups)
      for (int i = member; i < size; i += team_size) {
        float const key = keys[group * size + i];
        bool const nan = math::is_nan(key);
        live = live || !nan;
        take(first, second, nan ? -__builtin_huge_valf() : key);
      }
    for (int half = team_size / 2; half > 0; half /= 2) {
      float const a = Warp::shuffle_xor(first, half), b = Warp::shuffle_xor(second, half);
      take(first, second, a);
      take(first, second, b);
    }
    std::uint32_t const team = (~0u >> (warp_size - team_size)) << (group << team_bits_);
    live = (Warp::ballot(live) & team) != 0;
    float const score = summed == 2 ? first + second : first;
    std::uint64_t const word =
        member == 0 && group < groups
            ? rank_word(live ? score : math::Ops<float>::from_bits(math::Ieee<float>::nan), Index(group))
            : 0;
    std::uint64_t least = ~std::uint64_t(0); // the last group that is kept
    for (int r = 0; r < kept; ++r) least = Warp::max(below(word, least));
    kept_ = Warp::ballot(word >= least);
  }

  /// Whether expert e is in a group that is kept; anything for what is no expert.
  MOEBAL_FN bool keeps(Index e) const {
    int const group = int(std::uint64_t(std::uint32_t(e)) * reciprocal_ >> 32);
    return (kept_ >> (group << team_bits_ & (warp_size - 1)) & 1) != 0;
  }

private:
  MOEBAL_FN static void take(float& first, float& second, float key) {
    float const less = key < first ? key : first;
    first = key > first ? key : first;
    second = less > second ? less : second;
  }
  // Teams are powers of two, so that they meet by xor.
  MOEBAL_FN static int team_bits(int groups) {
    int bits = 5;
    while ((groups << bits) > warp_size) --bits;
    return bits;
  }
  // e / size = e * (2^32 / size + 1) / 2^32 for e and size below 2^16.
  MOEBAL_FN static std::uint64_t reciprocal_of(std::uint32_t size) {
    return size == 1 ? std::uint64_t(1) << 32 : std::uint64_t(0xffffffffu / size) + 1;
  }

  int team_bits_;
  std::uint64_t reciprocal_;
  std::uint32_t kept_;
};

} // namespace moebal
