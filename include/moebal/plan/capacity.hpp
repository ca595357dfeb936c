// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How many (token, choice) pairs an expert accepts. The published formulas differ in the order of their operations and
// in their rounding, so each of them is kept as it is, behind one policy.

#include "../core/errors.hpp"
#include "../core/ids.hpp"

#include <cmath>
#include <limits>

namespace moebal {

/// What is multiplied by the factor f, and in which order.
enum class CapacityFormula {
  PairShare,      // (T K / E) f in double: Megatron
  PairShareFloat, // float(T / E) float(K f) in float: DeepSpeed, which is sometimes one less than PairShare
  ScaledPairs,    // (T K f) / E: V-MoE
  ScaledTokens,   // (T f) / E, without K: GShard, Mesh
  WholeShare      // K round(f ceil(T / E)): Tutel, FairScale
};
enum class Rounding { Up, Down, NearestEven };
/// A capacity above this is of no use.
enum class CapacityBound { None, Tokens, LargestLoad };

/// T tokens (padding rows included) that choose K of E experts each.
struct CapacityShape {
  Index tokens = 0;
  Index top_k = 1;
  Index experts = 1;
};

/// Slots of one expert: the formula, rounded, lowered to the bound, raised to the minimum, rounded up to the multiple.
/// `capacities` names the published ones.
struct Capacity {
  static constexpr Index unlimited = std::numeric_limits<Index>::max();

  CapacityFormula formula = CapacityFormula::PairShare;
  double factor = 1;
  Rounding rounding = Rounding::Up;
  CapacityBound bound = CapacityBound::None;
  Index minimum = 0;
  Index maximum = unlimited;
  Index multiple = 1;

  /// @param largest_load  the most pairs that any expert was chosen by; read only by CapacityBound::LargestLoad.
  ///                      Without it T stands in, which drops the same pairs and only makes the buffers larger.
  /// @throws ShapeError for E < 1, T < 0, K < 0, a factor that is negative or not finite, or a multiple below 1.
  Index slots(CapacityShape shape, Index largest_load = unlimited) const {
    require_at_least("experts of a capacity", 1, shape.experts);
    require_at_least("tokens of a capacity", 0, shape.tokens);
    require_at_least("choices of a capacity", 0, shape.top_k);
    require_at_least("multiple of a capacity", 1, multiple);
    if (!(factor >= 0 && factor <= std::numeric_limits<double>::max()))
      detail::refuse<ShapeError>("capacity factor", "a finite number of at least 0", std::to_string(factor));
    Index slots = by_formula(shape);
    if (bound == CapacityBound::Tokens) slots = lower(slots, shape.tokens);
    slots = lower(slots < minimum ? minimum : slots, maximum);
    if (bound == CapacityBound::LargestLoad) slots = lower(slots, lower(largest_load, shape.tokens));
    if (slots > unlimited - multiple) return unlimited;
    return (slots + multiple - 1) / multiple * multiple;
  }

private:
  static constexpr Index lower(Index a, Index b) { return a < b ? a : b; }

  Index rounded(double x) const {
    if (x >= 0x1p62) return Index(1) << 62;
    double const below = std::floor(x);
    if (rounding == Rounding::Up) return Index(std::ceil(x));
    if (rounding == Rounding::Down) return Index(below);
    double const rest = x - below; // not std::nearbyint: it obeys the rounding mode
    bool const up = rest > 0.5 || (rest == 0.5 && Index(below) % 2 == 1);
    return Index(below) + (up ? 1 : 0);
  }

  Index by_formula(CapacityShape const& s) const {
    double const tokens = double(s.tokens), experts = double(s.experts);
    double const pairs = double(s.tokens * s.top_k);
    switch (formula) {
    case CapacityFormula::PairShare: return rounded(pairs / experts * factor);
    case CapacityFormula::PairShareFloat: return rounded(float(tokens / experts) * float(double(s.top_k) * factor));
    case CapacityFormula::ScaledPairs: return rounded(pairs * factor / experts);
    case CapacityFormula::ScaledTokens: return rounded(tokens * factor / experts);
    case CapacityFormula::WholeShare: {
      Index const each = rounded(factor * double((s.tokens + s.experts - 1) / s.experts));
      return s.top_k > 0 && each > unlimited / s.top_k ? unlimited : each * s.top_k;
    }
    }
    return 0;
  }
};

/// The published capacities by name.
namespace capacities {

/// n slots, whatever the shape (Switch in Hugging Face).
constexpr Capacity absolute(Index n) { return {.minimum = n, .maximum = n}; }
/// Dropless: as many as the fullest expert needs (DeepSpeed with drop_tokens off).
constexpr Capacity largest_load(Index multiple = 1) {
  return {.bound = CapacityBound::LargestLoad, .minimum = Capacity::unlimited, .multiple = multiple};
}
/// max(minimum, ceil(T K / E f)).
constexpr Capacity megatron(double factor, Index minimum = 0) {
  return {.formula = CapacityFormula::PairShare, .factor = factor, .minimum = minimum};
}
/// max(minimum, ceil(T / E (K f))) in float.
constexpr Capacity deepspeed(double factor, Index minimum = 4) {
  return {.formula = CapacityFormula::PairShareFloat, .factor = factor, .minimum = minimum};
}
/// K int(f ceil(T / E)), rounded up to the alignment. f = 0: the largest load; f < 0: that of -f, but no more than the
/// largest load.
constexpr Capacity tutel(double factor, Index alignment = 1) {
  if (factor == 0) return largest_load(alignment);
  return {.formula = CapacityFormula::WholeShare,
          .factor = factor < 0 ? -factor : factor,
          .rounding = Rounding::Down,
          .bound = factor < 0 ? CapacityBound::LargestLoad : CapacityBound::None,
          .multiple = alignment};
}
/// T K f / E rounded, then up to a multiple of 4 (arXiv 2106.05974).
constexpr Capacity vmoe(double factor, Rounding rounding = Rounding::Up, Index multiple = 4) {
  return {.formula = CapacityFormula::ScaledPairs, .factor = factor, .rounding = rounding, .multiple = multiple};
}
/// max(4, min(T, int(T f / E))) (arXiv 2006.16668 as in Mesh TensorFlow).
constexpr Capacity gshard(double factor) {
  return {.formula = CapacityFormula::ScaledTokens,
          .factor = factor,
          .rounding = Rounding::Down,
          .bound = CapacityBound::Tokens,
          .minimum = 4};
}
/// K ceil(T / E) (FairScale).
constexpr Capacity fairscale() { return {.formula = CapacityFormula::WholeShare}; }

} // namespace capacities
} // namespace moebal
