// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Pulling gradients back through one row, written once for every machine.

#include "../core/routing.hpp"
#include "../gate/row.hpp"
#include "../gate/z_loss.hpp"
#include "backward_tile.hpp"
#include "row_scratch.hpp"

namespace moebal {

/// What Router::backward_into is given. Every part may stay empty.
template <class Real = float, class Memory = HostMemory> struct RouterGradient {
  MatrixView<Real const, Memory> d_weights{}; // [T, K] d loss / d weights
  MatrixView<Real const, Memory> slopes{};    // [S, E] d loss / d (sum of the normalised scores of each sequence)
  VectorView<Real const, Memory> z_slopes{};  // [S] d loss / d (sum of the squared logsumexps of each sequence)
  MatrixView<Real const, Memory> weight_slopes{}; // [S, E] d loss / d (sum of the combine weights of each sequence)
};

namespace detail {

template <int top_k, class Gate, class Logit, class Memory> struct BackwardRow {
  using real = compute_t<Logit>;
  using Balance = decltype(std::declval<Gate const&>().balance());
  static constexpr char const* region = "moebal::Router::backward"; // as profilers show it

  Gate gate;
  RowScratch<real> scratch;
  MatrixView<Logit const, Memory> logits;
  RowOptions<Memory> options;
  MatrixView<ExpertId const, Memory> expert_ids;
  RouterGradient<real, Memory> gradient;
  MatrixView<real, Memory> d_logits;
  Index sequences;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte* memory, Index, Index t) const {
    bool const padded = !options.padding.empty() && options.padding[t] != 0;
    Index const experts = logits.cols();
    real* const d = d_logits.row(t);
    if (padded || gradient.slopes.cols() == 0)
      lanes.each_one(experts, [=](Index e) { d[e] = 0; });
    else
      gate::pull_back(lanes, gate.balance(), LogitRow<Logit>{logits.row(t)}, experts, gradient.slopes.row(sequence_at(t)), d);
    if (!padded) add_rest(lanes, memory, t);
  }

  /// Tile::rows rows from `first` on, with the same bits.
  template <class Tile>
    requires(std::same_as<real, float> && top_k <= Tile::most_k && Balance::opens_tiles)
  void tile(Tile, std::byte* memory, Index worker, Index first) const {
    typename Tile::lanes const lanes;
    Index const last = first + Tile::rows - 1;
    bool whole = gradient.slopes.cols() > 0 && sequence_at(first) == sequence_at(last);
    for (Index t = first; t <= last; ++t) whole &= options.padding.empty() || options.padding[t] == 0;
    if (!whole) {
      for (Index t = first; t <= last; ++t) (*this)(lanes, memory, worker, t);
      return;
    }
    pull_back_tile(Tile{}, gate.balance(), logits, first, gradient.slopes.row(sequence_at(first)), d_logits);
    bool weights = gradient.d_weights.cols() > 0 && gradient.weight_slopes.cols() == 0 && gradient.z_slopes.size() == 0 &&
                   !gate.weights_read_row(top_k);
    for (Index t = first; t <= last; ++t) weights &= expert_ids(t, top_k - 1) >= 0;
    if (weights) {
      pull_weights_tile<top_k>(Tile{}, gate, logits, expert_ids, first, gradient.d_weights, d_logits);
    } else {
      for (Index t = first; t <= last; ++t) add_rest(lanes, memory, t);
    }
  }

private:
  MOEBAL_FN Index sequence_at(Index t) const { return sequences == 1 ? 0 : sequence_of(options.segments.data(), sequences, t); }

  /// Adds what comes through the weights and the logsumexp of row t.
  template <class Lanes> MOEBAL_FN void add_rest(Lanes lanes, std::byte* memory, Index t) const {
    Index const experts = logits.cols(), sequence = sequence_at(t);
    real* const d = d_logits.row(t);
    auto const x = LogitRow<Logit>{logits.row(t)};
    if (gradient.d_weights.cols() > 0 || gradient.weight_slopes.cols() > 0) {
      ExpertId const* const ids = expert_ids.row(t);
      Index count = top_k;
      while (count > 0 && ids[count - 1] < 0) --count;
      gate::pull_weights(lanes, gate, x, experts, ids, count, top_k, pull(lanes, memory, t, sequence, count),
                         scratch.reals(memory), d);
    }
    if (gradient.z_slopes.size() > 0) gate::z_backward(lanes, x, experts, gradient.z_slopes[sequence], d);
  }
  /// d loss / d weights [count] of row t: what the model says, and what rules of the weights add.
  template <class Lanes>
  MOEBAL_FN real const* pull(Lanes lanes, std::byte* memory, Index t, Index sequence, Index count) const {
    bool const model = gradient.d_weights.cols() > 0;
    if (gradient.weight_slopes.cols() == 0) return gradient.d_weights.row(t);
    real const* const d = model ? gradient.d_weights.row(t) : nullptr;
    real const* const slopes = gradient.weight_slopes.row(sequence);
    ExpertId const* const ids = expert_ids.row(t);
    real* const sum = reinterpret_cast<real*>(scratch.words(memory)); // nothing is ranked on the way back
    lanes.each_one(count, [=](Index k) { sum[k] = (d == nullptr ? real(0) : d[k]) + slopes[ids[k]]; });
    return sum;
  }
};

} // namespace detail
} // namespace moebal
