// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Which experts know which domain? Pure functions of a count table [domains, E]: tokens of a domain that chose an
// expert. (2501.11873 section 4.3 looks at selection frequencies; mutual information says the same in one number.)

#include "../core/errors.hpp"
#include "../core/views.hpp"

#include <cmath>

namespace moebal::stats {

namespace detail {
inline std::int64_t row_sum(MatrixView<std::int64_t const> table, Index d) {
  std::int64_t sum = 0;
  for (Index e = 0; e < table.cols(); ++e) sum += table(d, e);
  return sum;
}
inline std::int64_t column_sum(MatrixView<std::int64_t const> table, Index e) {
  std::int64_t sum = 0;
  for (Index d = 0; d < table.rows(); ++d) sum += table(d, e);
  return sum;
}
} // namespace detail

/// Mutual information between domain and expert in bits: sum p(d, e) log2(p(d, e) / (p(d) p(e))), domains weighted by
/// their counts. 0: the experts are used alike by all domains; at most log2 of the number of domains. Two passes,
/// O(domains * E).
inline double mutual_information(MatrixView<std::int64_t const> table) {
  double all = 0;
  for (Index d = 0; d < table.rows(); ++d) all += double(detail::row_sum(table, d));
  double bits = 0;
  for (Index e = 0; e < table.cols(); ++e) {
    double const expert = double(detail::column_sum(table, e));
    for (Index d = 0; d < table.rows(); ++d)
      if (double const both = double(table(d, e)); both > 0)
        bits += both / all * std::log2(both / expert * (all / double(detail::row_sum(table, d))));
  }
  return bits;
}

/// Share of an expert's tokens that come from its commonest domain, averaged over experts by load: 1 if no expert
/// serves two domains, the largest domain's share (1 / domains if they are equal) if all are used alike. 0 without
/// tokens.
inline double top_domain_share(MatrixView<std::int64_t const> table) {
  std::int64_t top = 0, all = 0;
  for (Index e = 0; e < table.cols(); ++e) {
    std::int64_t most = 0;
    for (Index d = 0; d < table.rows(); ++d) most = table(d, e) > most ? table(d, e) : most;
    top += most;
    all += detail::column_sum(table, e);
  }
  return all == 0 ? 0 : double(top) / double(all);
}

/// frequency [domains, E] out: the part of a domain's choices that went to each expert; rows sum to 1, or are 0
/// without tokens.
inline void selection_frequency_into(MatrixView<std::int64_t const> table, MatrixView<double> frequency) {
  require_equal("selection_frequency_into: rows of frequency (domains)", table.rows(), frequency.rows());
  require_equal("selection_frequency_into: columns of frequency (experts)", table.cols(), frequency.cols());
  for (Index d = 0; d < table.rows(); ++d) {
    std::int64_t const all = detail::row_sum(table, d);
    for (Index e = 0; e < table.cols(); ++e) frequency(d, e) = all == 0 ? 0 : double(table(d, e)) / double(all);
  }
}

/// Experts that a domain chooses with a frequency above `threshold` (2501.11873 uses 0.15 and 0.2).
inline Index experts_above(MatrixView<std::int64_t const> table, Index domain, double threshold) {
  require_within("experts_above: domain", 0, table.rows() - 1, domain);
  double const all = double(detail::row_sum(table, domain));
  Index experts = 0;
  for (Index e = 0; e < table.cols(); ++e)
    if (double(table(domain, e)) > threshold * all) ++experts;
  return experts;
}

} // namespace moebal::stats
