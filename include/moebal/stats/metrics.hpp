// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How balanced is it? Read from counts, in double: pure functions of a vector counts [E], or of a table [B, E] with a
// row for each batch. Judge balance by these, never by the value of a loss. Examples: examples/train_moe_lm.

#include "../core/errors.hpp"
#include "../core/views.hpp"

#include <cmath>

namespace moebal::stats {

namespace detail {
/// Elements i -> value(i) of E experts, as max and sum.
struct Extent {
  double max = 0, sum = 0;
  double mean(Index n) const { return sum / double(n); }
};
template <class F> Extent extent(Index n, F const& value) {
  std::int64_t max = 0, sum = 0;
  for (Index i = 0; i < n; ++i) {
    std::int64_t const v = value(i);
    max = v > max ? v : max;
    sum += v;
  }
  return {double(max), double(sum)};
}
inline double max_vio(Extent const& e, Index experts) { return e.sum == 0 ? 0 : e.max / e.mean(experts) - 1; }
} // namespace detail

/// (max - mean) / mean of counts [E]: 0 is balance, E / K - 1 is collapse; 0 without tokens. (MaxVio, 2408.15664 eq.
/// 4.)
inline double max_vio(VectorView<std::int64_t const> counts) {
  return detail::max_vio(detail::extent(counts.size(), [&](Index e) { return counts[e]; }), counts.size());
}

/// max_vio of the sums of `batch_rows` consecutive rows of a table [B, E], averaged; the last group may be smaller,
/// groups without tokens are left out. With the micro-batches that share the experts' devices as one group: MaxVio of
/// a computation batch.
inline double max_vio_computation_batch(MatrixView<std::int64_t const> table, Index batch_rows) {
  require_at_least("max_vio_computation_batch: rows of a batch", 1, batch_rows);
  double sum = 0;
  Index groups = 0;
  for (Index first = 0; first < table.rows(); first += batch_rows) {
    Index const end = first + batch_rows < table.rows() ? first + batch_rows : table.rows();
    auto const column = [&](Index e) {
      std::int64_t count = 0;
      for (Index r = first; r < end; ++r) count += table(r, e);
      return count;
    };
    detail::Extent const load = detail::extent(table.cols(), column);
    if (load.sum == 0) continue;
    sum += detail::max_vio(load, table.cols());
    ++groups;
  }
  return groups == 0 ? 0 : sum / double(groups);
}
/// Mean over the rows of a table [B, E] of each row's max_vio (MaxVio_batch).
inline double max_vio_batch(MatrixView<std::int64_t const> table) { return max_vio_computation_batch(table, 1); }
/// max_vio of the column sums of a table [B, E], e.g. of a whole validation set (MaxVio_global).
inline double max_vio_global(MatrixView<std::int64_t const> table) {
  return table.rows() == 0 ? 0 : max_vio_computation_batch(table, table.rows());
}

/// Coefficient of variation of counts [E], population: sqrt(mean((c - mean)^2)) / mean; 0 without tokens. (Its
/// square: Shazeer 1701.06538 section 4.)
inline double cv(VectorView<std::int64_t const> counts) {
  auto const load = detail::extent(counts.size(), [&](Index e) { return counts[e]; });
  if (load.sum == 0) return 0;
  double const mean = load.mean(counts.size());
  double squares = 0;
  for (std::int64_t const c : counts) squares += (double(c) - mean) * (double(c) - mean);
  return std::sqrt(squares / double(counts.size())) / mean;
}

/// Entropy in bits of the load shares c_e / sum c: log2(E) is balance; 0 without tokens.
inline double entropy(VectorView<std::int64_t const> counts) {
  auto const load = detail::extent(counts.size(), [&](Index e) { return counts[e]; });
  double bits = 0;
  for (std::int64_t const c : counts)
    if (c > 0) bits -= double(c) / load.sum * std::log2(double(c) / load.sum);
  return bits;
}

/// Experts of counts [E] that nobody chose, or fewer than `below` times the mean, e.g. 0.1.
inline Index dead_experts(VectorView<std::int64_t const> counts, double below = 0) {
  auto const load = detail::extent(counts.size(), [&](Index e) { return counts[e]; });
  Index dead = 0;
  for (std::int64_t const c : counts)
    if (c == 0 || double(c) * double(counts.size()) < below * load.sum) ++dead;
  return dead;
}

/// Dropped (token, choice) pairs as a part of all that were routed; 0 if nothing was.
inline double drop_rate(std::int64_t dropped, std::int64_t routed) {
  return routed == 0 ? 0 : double(dropped) / double(routed);
}

} // namespace moebal::stats
