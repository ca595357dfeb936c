// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The dense part of the way back, for the rows of a tile together, with the bits of the row form.

#include "../gate/pull_back.hpp"
#include "../gate/row.hpp"

namespace moebal::detail {

/// d_logits [Tile::rows, E] = d/d logits of sum_e slopes_e q_e in every row.
template <class Tile, class Balance, class Logit>
void pull_back_tile(Tile, Balance const& balance, MatrixView<Logit const> logits, Index first, float const* slopes, MatrixView<float> d_logits) {
  using Pack = typename Tile::pack;
  typename Tile::open_lanes const together;
  typename Tile::lanes const lanes;
  Index const experts = logits.cols(), stride = d_logits.row_stride();
  float* const d = d_logits.row(first);
  typename Tile::template logits<Logit> const x{logits.row(first), logits.row_stride()};
  typename Tile::template logits<float> const kept{d, stride};
  auto const row = balance.template open<Pack>(together, x, experts, typename Tile::memory{d, stride});
  Pack const dot = together.template dot<Pack>(experts, [=](auto e) { return load(slopes, e); }, kept);
  Pack const centre = gate::centre(balance, row, dot);
  for (int r = 0; r < Tile::rows; ++r)
    gate::pull_each(lanes, balance, Tile::row_of(row, r), LogitRow<Logit>{logits.row(first + r)}, experts, slopes, float(centre.v[r]),
                    d + r * stride);
}

/// d_logits [Tile::rows, E] += d loss / d logits of the weights of K choices a row, from d_weights [Tile::rows, K], where the weights read
/// no more than the chosen logits.
template <int top_k, class Tile, class Gate, class Logit>
void pull_weights_tile(Tile, Gate const& gate, MatrixView<Logit const> logits, MatrixView<ExpertId const> expert_ids, Index first,
                       MatrixView<float const> d_weights, MatrixView<float> d_logits) {
  using Pack = typename Tile::pack;
  Pack z[top_k], d_weight[top_k], factor[top_k], value[top_k];
  float column[Tile::rows], wanted[Tile::rows];
  for (Index k = 0; k < top_k; ++k) {
    for (Index r = 0; r < Tile::rows; ++r) {
      column[r] = LogitRow<Logit>{logits.row(first + r)}(Index(expert_ids(first + r, k)));
      wanted[r] = d_weights(first + r, k);
    }
    z[k] = Tile::load(column);
    d_weight[k] = Tile::load(wanted);
  }
  gate.weigh_pull(typename Tile::row_lanes{}, static_cast<Pack const*>(z), top_k, top_k, static_cast<Pack const*>(d_weight), factor, value);
  float factors[top_k][Tile::rows], values[top_k][Tile::rows];
  for (Index k = 0; k < top_k; ++k) {
    Tile::store(factors[k], factor[k]);
    Tile::store(values[k], value[k]);
  }
  for (Index r = 0; r < Tile::rows; ++r)
    for (Index k = 0; k < top_k; ++k) {
      float& d = d_logits(first + r, expert_ids(first + r, k));
      d = math::fma(factors[k][r], values[k][r], d);
    }
}

} // namespace moebal::detail
