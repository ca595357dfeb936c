// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Numbers read from counts of tokens per expert.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>

namespace train {

using Counts = std::span<std::int64_t const>;

/// max / mean - 1 (arXiv 2408.15664); 0 without tokens.
inline double max_vio(Counts load) {
  std::int64_t const sum = std::accumulate(load.begin(), load.end(), std::int64_t(0));
  if (sum == 0) return 0;
  return double(*std::max_element(load.begin(), load.end())) * double(load.size()) / double(sum) - 1;
}
/// Experts with less than a tenth of the mean load.
inline std::int64_t dead_experts(Counts load) {
  std::int64_t const sum = std::accumulate(load.begin(), load.end(), std::int64_t(0));
  return std::count_if(load.begin(), load.end(),
                       [&](std::int64_t n) { return 10 * n * std::int64_t(load.size()) < sum; });
}
/// Mutual information of domain and expert in bits, from counts [domains, E]: how much the expert tells about the domain.
inline double mutual_information(Counts load, std::int64_t experts) {
  std::int64_t const domains = std::int64_t(load.size()) / experts;
  double const sum = double(std::accumulate(load.begin(), load.end(), std::int64_t(0)));
  auto const at = [&](std::int64_t d, std::int64_t e) { return double(load[std::size_t(d * experts + e)]) / sum; };
  double bits = 0;
  for (std::int64_t d = 0; d < domains; ++d)
    for (std::int64_t e = 0; e < experts; ++e) {
      if (at(d, e) == 0) continue;
      double of_domain = 0, of_expert = 0;
      for (std::int64_t i = 0; i < experts; ++i) of_domain += at(d, i);
      for (std::int64_t i = 0; i < domains; ++i) of_expert += at(i, e);
      bits += at(d, e) * std::log2(at(d, e) / (of_domain * of_expert));
    }
  return std::max(0.0, bits);
}
/// Of an expert's tokens, the share that its commonest domain has; the mean over experts, weighted by load.
inline double top_domain_share(Counts load, std::int64_t experts) {
  std::int64_t const domains = std::int64_t(load.size()) / experts;
  std::int64_t top = 0;
  for (std::int64_t e = 0; e < experts; ++e) {
    std::int64_t best = 0;
    for (std::int64_t d = 0; d < domains; ++d) best = std::max(best, load[std::size_t(d * experts + e)]);
    top += best;
  }
  std::int64_t const sum = std::accumulate(load.begin(), load.end(), std::int64_t(0));
  return sum == 0 ? 0 : double(top) / double(sum);
}

} // namespace train
