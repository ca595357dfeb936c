// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "linear.hpp"

#include "../core/views.hpp"

#include <algorithm>
#include <vector>

namespace moebal {

/// What balancing adds to the loss of one micro-batch, and its derivative by the sums that the router collected.
/// Views into the balancer, good until it is next asked for terms. Terms of the micro-batches of a step are summed.
template <class Real> struct Terms {
  double loss = 0;                      // this rank's part of the loss
  MatrixView<double const> slopes;      // [S, E] d loss / d score sum of each sequence; empty: no rule has any
  VectorView<double const> z_slopes;    // [S] d loss / d (sum of logsumexp^2); empty: no rule has any
  MatrixView<Real const> router_slopes; // all once more in the router's type, for RouterGradient<Real>
  VectorView<Real const> router_z_slopes;
  MatrixView<double const> weight_slopes; // [S, E] d loss / d weight sum of each sequence; empty: no rule has any
  MatrixView<Real const> router_weight_slopes;
};

namespace detail {
/// The memory behind Terms.
template <class Real> struct TermsBuffer {
  double loss = 0;
  Index sequences = 0, experts = 0;                    // experts = 0: no slopes of either kind
  std::vector<double> slopes, weight_slopes, z_slopes; // each empty unless a rule has such slopes
  std::vector<Real> router_slopes, router_weight_slopes, router_z_slopes;

  /// Room for S sequences, all zero. Allocates only where S is larger than ever before.
  void clear(Index new_sequences, Index of_experts, bool scores, bool weights, bool squares) {
    loss = 0;
    sequences = new_sequences;
    experts = of_experts;
    slopes.assign(scores ? std::size_t(sequences * experts) : 0, 0);
    weight_slopes.assign(weights ? std::size_t(sequences * experts) : 0, 0);
    z_slopes.assign(squares ? std::size_t(sequences) : 0, 0);
  }
  /// Adds what a rule says of its window w: the window's loss and, where w is a sequence, the sequence's slopes.
  template <class R, class W> void add(R const& rule, W const& window, Index w) {
    if constexpr (loss_rule<R>) loss += rule.value(window);
    if (w >= sequences) return;
    if constexpr (score_rule<R>)
      each_slope(rule, window, [&](Index e, double slope) { slopes[std::size_t(w * experts + e)] += slope; });
    if constexpr (weight_rule<R>)
      each_weight_slope(rule, window,
                        [&](Index e, double slope) { weight_slopes[std::size_t(w * experts + e)] += slope; });
    if constexpr (square_rule<R>) z_slopes[std::size_t(w)] += rule.z_slope(window);
  }
  /// Gives the slopes of the first sequence to all.
  void repeat_first() {
    repeat(slopes, experts);
    repeat(weight_slopes, experts);
    repeat(z_slopes, 1);
  }
  /// Adds other terms of the same micro-batch; either may have no slopes.
  void add(Terms<Real> const& more) {
    loss += more.loss;
    sequences = std::max({sequences, more.slopes.rows(), more.weight_slopes.rows(), more.z_slopes.size()});
    experts = std::max({experts, more.slopes.cols(), more.weight_slopes.cols()});
    add(more.slopes, slopes);
    add(more.weight_slopes, weight_slopes);
    if (!more.z_slopes.empty()) {
      z_slopes.resize(std::size_t(sequences), 0);
      for (std::size_t i = 0; i < z_slopes.size(); ++i) z_slopes[i] += more.z_slopes[Index(i)];
    }
  }
  Terms<Real> view() {
    round(slopes, router_slopes);
    round(weight_slopes, router_weight_slopes);
    round(z_slopes, router_z_slopes);
    return {loss,
            matrix(slopes),
            z_slopes,
            matrix(router_slopes),
            router_z_slopes,
            matrix(weight_slopes),
            matrix(router_weight_slopes)};
  }

private:
  void add(MatrixView<double const> more, std::vector<double>& sum) const {
    if (more.empty()) return;
    sum.resize(std::size_t(sequences * experts), 0);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += more.data()[i];
  }
  static void repeat(std::vector<double>& values, Index n) {
    for (std::size_t i = std::size_t(n); i < values.size(); ++i) values[i] = values[i - std::size_t(n)];
  }
  static void round(std::vector<double> const& from, std::vector<Real>& to) {
    to.resize(from.size());
    std::transform(from.begin(), from.end(), to.begin(), [](double x) { return Real(x); });
  }
  /// [S, E], or nothing.
  template <class T> MatrixView<T const> matrix(std::vector<T> const& values) const {
    return values.empty() ? MatrixView<T const>() : MatrixView<T const>(values.data(), sequences, experts);
  }
};
} // namespace detail

} // namespace moebal
