// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Quantiles read from counts in equal bins.

#include "../core/ids.hpp"

namespace moebal::detail {

inline std::int64_t counted(std::int64_t const* bins, Index n) {
  std::int64_t sum = 0;
  for (Index b = 0; b < n; ++b) sum += bins[b];
  return sum;
}

/// Where the count from below reaches wanted / parts, in bins: those below, and the part of the bin that it lies in.
/// The bin is found in integers; 0 where all bins are empty.
inline double histogram_quantile(std::int64_t const* bins, Index n, std::int64_t wanted, Index parts) {
  std::int64_t before = 0;
  for (Index b = 0; b < n; ++b) {
    if (bins[b] > 0 && (before + bins[b]) * parts >= wanted) {
      double const part = (double(wanted) / double(parts) - double(before)) / double(bins[b]);
      return double(b) + (part < 0 ? 0 : part > 1 ? 1 : part);
    }
    before += bins[b];
  }
  return 0;
}

} // namespace moebal::detail
