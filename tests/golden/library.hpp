// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The library's router with everything chosen at run time, so that a mapping can be written as a description: which
// gate, which K, which groups. Behind it stands the public interface alone: Router::route_with and
// Router::backward_into.

#include "case.hpp"

#include <moebal/core/errors.hpp>
#include <moebal/stats/counts.hpp>
#include <moebal/stats/load.hpp>
#include <moebal/stats/log_sum_exp_squares.hpp>
#include <moebal/stats/score_sums.hpp>

#include <optional>

namespace golden {

using AllStatistics = moebal::stats::List<moebal::stats::Counts, moebal::stats::FirstChoiceCounts,
                                          moebal::stats::UnbiasedCounts, moebal::stats::UnbiasedFirstChoiceCounts,
                                          moebal::stats::ScoreSums, moebal::stats::LogSumExpSquares>;

struct Request {
  reference::Gate gate{};
  std::size_t top_k = 1;
  std::optional<reference::Groups> groups{}; // sum_of = 1: the maximum
  Matrix logits{};                           // [T, E]; every value is an fp32 number
  Row bias{};                                // [E]
  std::vector<std::uint8_t> padding{};       // [T]
  std::vector<moebal::Index> segments{};     // [S + 1]

  std::size_t tokens() const { return logits.rows; }
  std::size_t experts() const { return logits.cols; }
  std::size_t sequences() const { return segments.empty() ? 1 : segments.size() - 1; }
};

struct Answer {
  std::vector<Ids> ids; // [T][K]
  Matrix weights;       // [T, K]
  moebal::Load<AllStatistics> load;
  Matrix score_sums; // [S, E]
};

/// Throws Skip for a K that the runner was not compiled for.
Answer route(Request const& request, Precision precision);

/// d loss / d logits [T, E]. d_weights [T, K], slopes [S, E], z_slopes [S]; an empty one stands for zero.
Matrix backward(Request const& request, Precision precision, std::vector<Ids> const& ids, Matrix const& d_weights,
                Matrix const& slopes = {}, Row const& z_slopes = {});

template <class Real> Answer route_as(Request const& request);
template <class Real>
Matrix backward_as(Request const& request, std::vector<Ids> const& ids, Matrix const& d_weights, Matrix const& slopes,
                   Row const& z_slopes);

/// [T, E] from [T, K].
Matrix scatter(std::vector<Ids> const& ids, Matrix const& values, std::size_t experts);
/// [T, K] from [T, E].
Matrix gather(std::vector<Ids> const& ids, Matrix const& dense, std::size_t top_k);
/// Every token a sequence of its own: statistics become rows.
std::vector<moebal::Index> one_token_segments(std::size_t tokens);

} // namespace golden
