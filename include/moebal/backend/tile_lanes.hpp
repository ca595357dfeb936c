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
    Real partial[partial_sums];
    for (Index k = 0; k < n; ++k) partial[k % partial_sums] = (k < partial_sums ? Real{} : partial[k % partial_sums]) + f(k);
    Index const live = n < partial_sums ? n : partial_sums; // the other partial sums are +0, and adding them changes nothing
    for (Index half = partial_sums / 2; half > 0; half /= 2)
      for (Index j = 0; j < half && j + half < live; ++j) partial[j] = partial[j] + partial[j + half];
    return live > 0 ? partial[0] : Real{};
  }
  template <class Real, class F> Real max(Index n, F f, Real least) const {
    for (Index k = 0; k < n; ++k) {
      Real const value = f(k);
      least = math::Ops<Real>::select(value > least, value, least);
    }
    return least;
  }
};

} // namespace moebal
