// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Quantiles read from counts in equal bins.

#include "../core/ids.hpp"

namespace moebal::detail {

/// Where the count from below reaches part / of of all, in bins: those below, and the part of the bin that it lies in.
/// The bin is found in integers; -1 where all bins are empty.
inline double histogram_quantile(std::int64_t const* bins, Index n, Index part, Index of) {
  std::int64_t counted = 0, before = 0;
  for (Index b = 0; b < n; ++b) counted += bins[b];
  std::int64_t const wanted = part * counted;
  for (Index b = 0; b < n; ++b) {
    if (bins[b] > 0 && (before + bins[b]) * of >= wanted) {
      double const inside = (double(wanted) / double(of) - double(before)) / double(bins[b]);
      return double(b) + (inside < 0 ? 0 : inside > 1 ? 1 : inside);
    }
    before += bins[b];
  }
  return -1;
}

} // namespace moebal::detail
