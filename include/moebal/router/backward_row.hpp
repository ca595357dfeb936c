// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Pulling gradients back through one row, written once for every machine.

#include "../core/routing.hpp"
#include "../gate/row.hpp"
#include "../gate/z_loss.hpp"
#include "backward_tile.hpp"
#include "row_scratch.hpp"
#include "warp_facts.hpp"

namespace moebal {

/// What Router::backward_into is given. Every part may stay empty.
template <class Real = float, class Memory = HostMemory> struct RouterGradient {
  MatrixView<Real const, Memory> d_weights{};     // [T, K] d loss / d weights
  MatrixView<Real const, Memory> slopes{};        // [S, E] d loss / d (sum of the normalised scores of each sequence)
  VectorView<Real const, Memory> z_slopes{};      // [S] d loss / d (sum of the squared logsumexps of each sequence)
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
    Index const experts = logits.cols(), sequence = sequence_at(t);
    real* const d = d_logits.row(t);
    if (is_padding(t)) {
      lanes.each_one(experts, [=](Index e) { d[e] = 0; });
      return;
    }
    auto const x = LogitRow<Logit>{logits.row(t)};
    auto const choices = choices_of(lanes, memory, scratch.reals(memory), t, sequence);
    gate::pull_row(lanes, gate, x, experts, slopes_of(sequence), choices, d);
    if (gradient.z_slopes.size() > 0) gate::z_backward(lanes, x, experts, gradient.z_slopes[sequence], d);
  }

  /// A row in a warp's registers, with the same bits (backend/warp_rows.hpp).
  static constexpr bool has_warp = std::same_as<real, float> && top_k <= warp_most_k;
  Index warp_experts() const { return logits.cols(); }
  std::size_t warp_bytes() const { return warp_scratch().bytes(); }
  MOEBAL_FN static WarpScratch warp_scratch() { return {top_k, 1, 0}; }
  MOEBAL_FN static constexpr int warp_together() { return 1; }
  template <class Row>
  MOEBAL_FN void warp(Row, std::byte* memory, std::byte* shared, Index, Index t, int) const {
    typename Row::lanes const lanes;
    typename Row::choice_lanes const of_choices;
    Index const experts = logits.cols(), sequence = sequence_at(t);
    real* const d = d_logits.row(t);
    if (is_padding(t)) return lanes.each(experts, [=](auto e) { d[Index(e)] = 0; });
    Logit own[Row::words] = {};
    real d_own[Row::words] = {};
    auto const x = read_row<Row>(logits.row(t), experts, own);
    auto const choices = choices_of(of_choices, memory, warp_scratch().reals(shared, 0), t, sequence);
    choices.read(of_choices, LogitRow<Logit>{logits.row(t)});
    typename Row::template registers<real> const pulled{d_own};
    gate::pull_experts(lanes, of_choices, gate, x, experts, slopes_of(sequence), choices, pulled);
    lanes.each(experts, [=](auto e) { d[Index(e)] = load(pulled, e); });
    choices.add_to(of_choices, d);
    if (gradient.z_slopes.size() > 0) gate::z_backward(lanes, x, experts, gradient.z_slopes[sequence], d);
  }

  /// Tile::rows rows from `first` on, with the same bits; rows with a choice fewer, padding or a z-loss one after the
  /// other.
  template <class Tile>
  requires(std::same_as<real, float>&& top_k <= Tile::most_k &&
           Balance::opens_tiles) void tile(Tile, std::byte* memory, Index worker, Index first) const {
    Index const last = first + Tile::rows - 1;
    bool const weights = gradient.d_weights.cols() > 0, balances = gradient.slopes.cols() > 0;
    bool const reads_row = weights && gate.weights_read_row(top_k);
    bool together =
        gradient.weight_slopes.cols() == 0 && gradient.z_slopes.size() == 0 && sequence_at(first) == sequence_at(last);
    for (Index t = first; t <= last && together; ++t)
      together = (options.padding.empty() || options.padding[t] == 0) && (!weights || expert_ids(t, top_k - 1) >= 0);
    if (!together) {
      for (Index t = first; t <= last; ++t)
        Tile::in_row_form([&](auto lanes) { (*this)(lanes, memory, worker, t); });
      return;
    }
    using Pack = typename Tile::pack;
    typename Tile::row_lanes const lanes;
    PulledChoices<top_k, Tile> choices;
    if (weights) choices.read(logits, expert_ids, gradient.d_weights, first);
    if (balances || reads_row)
      pull_back_tile(Tile{}, gate.balance(), logits, first,
                     balances ? gradient.slopes.row(sequence_at(first)) : nullptr, d_logits, [&](auto row) {
                       auto const pull = [&](auto z, auto d_weight, auto factor, auto value) requires requires {
                         gate.weigh_pull(lanes, row, z, top_k, top_k, d_weight, factor, value);
                       }
                       { gate.weigh_pull(lanes, row, z, top_k, top_k, d_weight, factor, value); };
                       if constexpr (std::invocable<decltype(pull), Pack const*, Pack const*, Pack*, Pack*>)
                         if (reads_row) return choices.pull(pull);
                       return Pack();
                     });
    else
      zero_tile(Tile{}, d_logits, first);
    if (!weights) return;
    if (!reads_row)
      choices.pull([&](auto z, auto d_weight, auto factor, auto value) {
        gate.weigh_pull(lanes, z, top_k, top_k, d_weight, factor, value);
      });
    if (balances || reads_row)
      choices.add_to(d_logits, expert_ids, first, [](float*, Index) {});
    else
      choices.add_to(d_logits, expert_ids, first, FetchNextTile<Tile>{d_logits.row_stride()});
  }

private:
  MOEBAL_FN bool is_padding(Index t) const { return !options.padding.empty() && options.padding[t] != 0; }
  MOEBAL_FN real const* slopes_of(Index sequence) const {
    return gradient.slopes.cols() > 0 ? gradient.slopes.row(sequence) : nullptr;
  }
  template <class Lanes>
  MOEBAL_FN gate::Choices<real> choices_of(Lanes lanes, std::byte* memory, real* reals, Index t, Index sequence) const {
    ExpertId const* const ids = expert_ids.row(t);
    bool const weights = gradient.d_weights.cols() > 0 || gradient.weight_slopes.cols() > 0;
    Index count = weights ? top_k : 0;
    while (count > 0 && ids[count - 1] < 0) --count;
    return {ids, count, Index(top_k), weights ? pull(lanes, memory, t, sequence, count) : nullptr, reals};
  }
  MOEBAL_FN Index sequence_at(Index t) const {
    return sequences == 1 ? 0 : sequence_of(options.segments.data(), sequences, t);
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
