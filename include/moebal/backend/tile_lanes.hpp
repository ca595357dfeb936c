// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/lanes.hpp"

namespace moebal {

/// One row a lane: the numbers of a row are packs, whose elements belong to different rows, and loops over a row's few
/// choices are plain loops. Sums keep the canonical order.
struct TileLanes {
  static constexpr int width = 1;

  template <class F> void each(Index n, F f) const {
    for (Index k = 0; k < n; ++k) f(k);
  }
  template <class Real, class F> Real sum(Index n, F f) const {
    return fold<Real>(n, [&](Index k, Real so_far) { return so_far + f(k); });
  }
  template <class Real, class F, class G> Real dot(Index n, F f, G g) const {
    return fold<Real>(n, [&](Index k, Real so_far) { return math::fma(f(k), g(k), so_far); });
  }
  template <class Real, class F> Real max(Index n, F f, Real least) const {
    for (Index k = 0; k < n; ++k) {
      Real const value = f(k);
      least = math::Ops<Real>::select(value > least, value, least);
    }
    return least;
  }

private:
  template <class Real, class Step> static Real fold(Index n, Step step) {
    Real partial[partial_sums];
    for (Index k = 0; k < n; ++k)
      partial[k % partial_sums] = step(k, k < partial_sums ? Real{} : partial[k % partial_sums]);
    Index const live =
        n < partial_sums ? n : partial_sums; // the other partial sums are +0, and adding them changes nothing
    for (Index half = partial_sums / 2; half > 0; half /= 2)
      for (Index j = 0; j < half && j + half < live; ++j) partial[j] = partial[j] + partial[j + half];
    return live > 0 ? partial[0] : Real{};
  }
};

} // namespace moebal
