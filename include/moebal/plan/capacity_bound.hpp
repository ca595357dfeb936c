// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// LocMoE's lower bound of the capacity: how many tokens an expert must see until one is among them that it can tell
// apart. Tokens and orthogonal gate rows lie on the unit sphere; a row is told apart where |cos| is at least delta.

#include "../core/errors.hpp"
#include "../core/ids.hpp"
#include "../core/views.hpp"

#include <algorithm>
#include <cmath>

namespace moebal {

/// How the probability p_delta is computed.
enum class DeltaForm {
  Exact, // 1 - I(delta^2; 1/2, (D-1)/2), I the regularised incomplete beta function (2401.13920 Lemma 3)
  Erfc,  // erfc(sqrt(D delta^2 / (2 - delta^2))), for large D (eq. 9)
  Exp    // exp(-D delta^2 / (2 - delta^2)), which eq. 9 goes on to: the bound it gives is 3 to 4 times looser
};

namespace detail {

/// The continued fraction of the incomplete beta function, by Lentz's method: converges fast for x < (a + 1) / (a + b +
/// 2).
inline double beta_fraction(double x, double a, double b) {
  double const tiny = 1e-300;
  auto const away = [=](double v) { return std::fabs(v) < tiny ? tiny : v; };
  double c = 1, d = 1 / away(1 - (a + b) * x / (a + 1)), h = d;
  for (int m = 1; m <= 10000; ++m) {
    double const k = m;
    for (double const term : {k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k)),
                              -(a + k) * (a + b + k) * x / ((a + 2 * k) * (a + 2 * k + 1))}) {
      d = 1 / away(1 + term * d);
      c = away(1 + term / c);
      h *= d * c;
    }
    if (std::fabs(d * c - 1) < 1e-15) break;
  }
  return h;
}

/// Gamma(b + 1/2) / (Gamma(b) Gamma(1/2)) for b = n / 2: a product, so that nothing large is subtracted.
inline double half_beta_inverse(Index n) {
  double ratio = n % 2 == 0 ? 0.5 : 0.318309886183790671538; // b = 1: 1/2; b = 1/2: 1 / pi
  for (Index twice = n % 2 == 0 ? 2 : 1; twice < n; twice += 2) ratio *= double(twice + 1) / double(twice);
  return ratio;
}

} // namespace detail

/// Probability that a random token lies within the angle of an expert's row, |cos| >= delta, in D >= 2 dimensions.
/// Cost: O(D) for the exact form. Exact to about 1e-12. Throws ShapeError.
inline double delta_probability(double delta, Index dimensions, DeltaForm form = DeltaForm::Exact) {
  require_at_least("dimensions of the unit sphere", 2, dimensions);
  if (!(delta >= 0 && delta <= 1)) detail::refuse<ShapeError>("delta, a cosine", "0 to 1", std::to_string(delta));
  double const x = delta * delta, exponent = double(dimensions) * x / (2 - x);
  if (form == DeltaForm::Erfc) return std::erfc(std::sqrt(exponent));
  if (form == DeltaForm::Exp) return std::exp(-exponent);
  double const a = 0.5, b = 0.5 * double(dimensions - 1);
  if (x == 0 || x == 1) return 1 - x;
  double const front = std::exp(b * std::log1p(-x)) * delta * detail::half_beta_inverse(dimensions - 1);
  if (x < (a + 1) / (a + b + 2)) return 1 - front * detail::beta_fraction(x, a, b) / a;
  return front * detail::beta_fraction(1 - x, b, a) / b;
}

/// LocMoE's least capacity of an expert (2401.13920 Theorem 1): 1 / (E p_delta) tokens, infinite where p_delta is 0.
/// It grows exponentially with delta^2 D. LocMoE fixes it once, from the first batch; measured delta there: about 0.03.
inline double least_capacity(double delta, Index dimensions, Index experts, DeltaForm form = DeltaForm::Exact) {
  require_at_least("experts of a capacity bound", 1, experts);
  return 1 / (double(experts) * delta_probability(delta, dimensions, form));
}

/// The largest affinity |cos| of a batch, at most 1; numbers that are not finite do not count. Host only, one pass.
/// @param affinities  [T, E], e.g. of the cosine gate without a temperature
/// @param padding     [T] 1 = a padding row, or empty
template <class Real>
double largest_affinity(MatrixView<Real const> affinities, VectorView<std::uint8_t const> padding = {}) {
  if (!padding.empty()) require_equal("padding [T]", affinities.rows(), padding.size());
  double most = 0;
  for (Index t = 0; t < affinities.rows(); ++t) {
    if (!padding.empty() && padding[t] != 0) continue;
    for (Index e = 0; e < affinities.cols(); ++e)
      if (double const x = std::fabs(double(affinities(t, e))); std::isfinite(x)) most = std::max(most, x);
  }
  return std::min(most, 1.0);
}

/// LocMoE+'s capacity of this step (2406.00023): the least capacity for the batch's own largest affinity, rounded up,
/// at least `minimum` and at most T. To be given as Slots{.fixed = ...} or capacities::absolute(...). form: the paper
/// prints Exp, the default; Exact is the bound that it approximates, 3 to 4 times larger.
struct AdaptiveCapacity {
  DeltaForm form = DeltaForm::Exp;
  Index minimum = 1; // 0 would leave experts without work

  Index slots(double affinity, Index dimensions, Index experts, Index tokens) const {
    require_at_least("tokens of a capacity", 0, tokens);
    double const least = least_capacity(affinity, dimensions, experts, form);
    Index const bound = least < double(tokens) ? Index(std::ceil(least)) : tokens;
    return std::min(std::max(bound, minimum), tokens);
  }
};

} // namespace moebal
