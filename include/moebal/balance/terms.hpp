// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

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
  MatrixView<Real const> router_slopes; // both once more in the router's type, for RouterGradient<Real>
  VectorView<Real const> router_z_slopes;
};

namespace detail {
/// The memory behind Terms.
template <class Real> struct TermsBuffer {
  double loss = 0;
  Index sequences = 0, experts = 0; // experts = 0: no slopes
  std::vector<double> slopes, z_slopes;
  std::vector<Real> router_slopes, router_z_slopes;

  /// Room for S sequences, all zero. Allocates only where S is larger than ever before.
  void clear(Index new_sequences, Index slope_columns, bool squares) {
    loss = 0;
    sequences = new_sequences;
    experts = slope_columns;
    slopes.assign(std::size_t(sequences * experts), 0);
    z_slopes.assign(squares ? std::size_t(sequences) : 0, 0);
  }
  /// Adds other terms of the same micro-batch; either may have no slopes.
  void add(Terms<Real> const& more) {
    loss += more.loss;
    sequences = std::max(sequences, std::max(more.slopes.rows(), more.z_slopes.size()));
    if (!more.slopes.empty()) {
      experts = more.slopes.cols();
      slopes.resize(std::size_t(sequences * experts), 0);
      for (std::size_t i = 0; i < slopes.size(); ++i) slopes[i] += more.slopes.data()[i];
    }
    if (!more.z_slopes.empty()) {
      z_slopes.resize(std::size_t(sequences), 0);
      for (std::size_t i = 0; i < z_slopes.size(); ++i) z_slopes[i] += more.z_slopes[Index(i)];
    }
  }
  Terms<Real> view() {
    router_slopes.resize(slopes.size());
    router_z_slopes.resize(z_slopes.size());
    auto const round = [](double x) { return Real(x); };
    std::transform(slopes.begin(), slopes.end(), router_slopes.begin(), round);
    std::transform(z_slopes.begin(), z_slopes.end(), router_z_slopes.begin(), round);
    Index const rows = experts > 0 ? sequences : 0;
    return {loss, {slopes.data(), rows, experts}, z_slopes, {router_slopes.data(), rows, experts}, router_z_slopes};
  }
};
} // namespace detail

} // namespace moebal
