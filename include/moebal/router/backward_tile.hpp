// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The dense part of the way back, for the rows of a tile together, with the bits of the row form.

#include "../core/views.hpp"
#include "../gate/pull_back.hpp"
#include "../gate/row.hpp"

namespace moebal::detail {

/// d_logits [Tile::rows, E] = d/d logits of sum_e slopes_e q_e in every row, less shift(rows) q.
template <class Tile, class Balance, class Logit, class Shift>
void pull_back_tile(Tile, Balance const& balance, MatrixView<Logit const> logits, Index first, float const* slopes,
                    MatrixView<float> d_logits, Shift shift) {
  using Pack = typename Tile::pack;
  typename Tile::open_lanes const together;
  typename Tile::lanes const lanes;
  Index const experts = logits.cols(), stride = d_logits.row_stride();
  float* const d = d_logits.row(first);
  typename Tile::template logits<Logit> const x{logits.row(first), logits.row_stride()};
  typename Tile::template logits<float> const kept{d, stride};
  auto const row = balance.template open<Pack>(together, x, experts, typename Tile::memory{d, stride});
  Pack pulled = shift(row);
  if (slopes != nullptr)
    pulled = pulled + gate::centre(balance, row,
                                   together.template dot<Pack>(experts, [=](auto e) { return load(slopes, e); }, kept));
  for (int r = 0; r < Tile::rows; ++r)
    gate::pull_each(lanes, balance, Tile::row_of(row, r), LogitRow<Logit>{logits.row(first + r)}, experts, slopes,
                    float(pulled.v[r]), d + r * stride);
}

/// The choices of a tile's rows, K each, on the way back.
template <int top_k, class Tile> struct PulledChoices {
  using Pack = typename Tile::pack;
  Pack z[top_k], d_weight[top_k], factor[top_k], value[top_k];

  template <class Logit>
  void read(MatrixView<Logit const> logits, MatrixView<ExpertId const> expert_ids, MatrixView<float const> d_weights,
            Index first) {
    float logit[Tile::rows], wanted[Tile::rows];
    for (Index k = 0; k < top_k; ++k) {
      for (Index r = 0; r < Tile::rows; ++r) {
        logit[r] = LogitRow<Logit>{logits.row(first + r)}(Index(expert_ids(first + r, k)));
        wanted[r] = d_weights(first + r, k);
      }
      z[k] = Tile::load(logit);
      d_weight[k] = Tile::load(wanted);
    }
  }
  void add_to(MatrixView<float> d_logits, MatrixView<ExpertId const> expert_ids, Index first) const {
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
};

} // namespace moebal::detail
