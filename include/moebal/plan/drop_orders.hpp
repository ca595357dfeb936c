// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The orders that the policies of plan/drop.hpp hand out, and the keys that they sort by.

#include "../core/execution.hpp"
#include "../core/random.hpp"
#include "../core/rank.hpp"
#include "plan.hpp"

namespace moebal {

/// What ranks a token: its largest weight, or the sum of its weights.
enum class TokenPriority { Max, Sum };

namespace detail {

struct FlatOrder {
  MOEBAL_FN Index operator()(Index i) const { return i; }
};
struct ListedOrder {
  Index const* pairs;
  MOEBAL_FN Index operator()(Index i) const { return pairs[i]; }
};
/// All tokens for choice 0, then all for choice 1, ...; tokens in the order of `ranked`, if there is one.
struct ChoiceMajorOrder {
  Index tokens;
  Index top_k;
  Index const* ranked;
  MOEBAL_FN Index operator()(Index i) const {
    Index const k = i / tokens, t = i - k * tokens;
    return (ranked ? ranked[t] : t) * top_k + k;
  }
};

template <class Real> using weight_key_t = decltype(order_key(Real{}));

template <class Real> struct KeyByWeight {
  Flat<Real const> weights;
  weight_key_t<Real>* keys;
  Index* values;
  MOEBAL_FN void operator()(Index pair) const {
    keys[pair] = weight_key_t<Real>(~order_key(weights[pair])); // the largest first, NaN last
    values[pair] = pair;
  }
};

template <class Real, class Memory> struct KeyByPriority {
  MatrixView<ExpertId const, Memory> ids;
  MatrixView<Real const, Memory> weights;
  TokenPriority priority;
  weight_key_t<Real>* keys;
  Index* values;
  MOEBAL_FN void operator()(Index t) const {
    weight_key_t<Real> best{};
    Real sum = 0;
    for (Index k = 0; k < ids.cols(); ++k)
      if (ids(t, k) >= 0) {
        auto const key = order_key(weights(t, k));
        best = key > best ? key : best;
        sum = sum + weights(t, k);
      }
    keys[t] = weight_key_t<Real>(~(priority == TokenPriority::Max ? best : order_key(sum)));
    values[t] = t;
  }
};

struct KeyByHash {
  std::uint64_t seed;
  std::uint32_t* keys;
  Index* values;
  MOEBAL_FN void operator()(Index pair) const {
    keys[pair] = std::uint32_t(random::bits(seed, std::uint64_t(pair)) >> 32);
    values[pair] = pair;
  }
};

} // namespace detail
} // namespace moebal
