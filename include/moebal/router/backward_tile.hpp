// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The dense part of the way back, for the rows of a tile together, with the bits of the row form.

#include "../core/views.hpp"
#include "../gate/pull_back.hpp"
#include "../gate/row.hpp"

#include <algorithm>

namespace moebal::detail {

/// d_logits [Tile::rows, E] = d/d logits of sum_e slopes_e q_e in every row, less shift(rows) q.
template <class Tile, class Balance, class Logit, class Shift>
void pull_back_tile(Tile, Balance const& balance, MatrixView<Logit const> logits, Index first, float const* slopes,
                    MatrixView<float> d_logits, Shift shift) {
  using Pack = typename Tile::pack;
  typename Tile::lanes const lanes;
  Index const experts = logits.cols(), stride = d_logits.row_stride();
  float* const d = d_logits.row(first);
  typename Tile::template logits<Logit> const x{logits.row(first), logits.row_stride()};
  typename Tile::template fetching_memory<Logit> const keep{{d, stride}, x, Tile::rows};
  Pack dot;
  auto const row = slopes == nullptr
                       ? balance.template open<Pack>(typename Tile::open_lanes{}, x, experts, keep)
                       : balance.template open<Pack>(typename Tile::dotted_open_lanes{slopes, &dot}, x, experts, keep);
  Pack pulled = shift(row);
  if (slopes != nullptr) pulled = pulled + gate::centre(balance, row, dot);
  for (int r = 0; r < Tile::rows; ++r)
    gate::pull_each(lanes, balance, Tile::row_of(row, r), LogitRow<Logit>{logits.row(first + r)}, experts, slopes,
                    float(pulled.v[r]), d + r * stride);
}

/// Fetches the next tile's rows of d_logits, which zero_tile will write, a line for each choice of this one. Where a dense
/// pass writes them, it fetches for itself.
template <class Tile> struct FetchNextTile {
  Index stride; // of d_logits
  void operator()(float* d, Index k) const { __builtin_prefetch(d + Tile::rows * stride + 16 * k, 1); }
};

/// d_logits [Tile::rows, E] = 0.
template <class Tile> void zero_tile(Tile, MatrixView<float> d_logits, Index first) {
  for (Index t = first; t < first + Tile::rows; ++t) std::fill_n(d_logits.row(t), d_logits.cols(), 0.0f);
}

/// The choices of a tile's rows, K each, on the way back.
template <int top_k, class Tile> class PulledChoices {
public:
  using Pack = typename Tile::pack;

  /// Long before pull(): a whole load waits for the single stores before it.
  template <class Logit>
  void read(MatrixView<Logit const> logits, MatrixView<ExpertId const> expert_ids, MatrixView<float const> d_weights,
            Index first) {
    for (Index r = 0; r < Tile::rows; ++r)
      for (Index k = 0; k < top_k; ++k) {
        logit_[k][r] = LogitRow<Logit>{logits.row(first + r)}(Index(expert_ids(first + r, k)));
        d_weight_[k][r] = d_weights(first + r, k);
      }
  }
  /// weigh_pull(z [K], d_weight [K], factor [K], value [K]); returns sum_k factor_k value_k.
  template <class WeighPull> Pack pull(WeighPull weigh_pull) {
    Pack z[top_k], d_weight[top_k], factor[top_k], value[top_k];
    for (Index k = 0; k < top_k; ++k) {
      z[k] = Tile::load(logit_[k]);
      d_weight[k] = Tile::load(d_weight_[k]);
    }
    weigh_pull(static_cast<Pack const*>(z), static_cast<Pack const*>(d_weight), factor, value);
    for (Index k = 0; k < top_k; ++k) {
      Tile::store(factor_[k], factor[k]);
      Tile::store(value_[k], value[k]);
    }
    return typename Tile::row_lanes{}.template dot<Pack>(
        top_k, [&](Index k) { return factor[k]; }, [&](Index k) { return value[k]; });
  }
  /// beside(d, k) is called for each choice, d the row's place in d_logits.
  template <class Beside>
  void add_to(MatrixView<float> d_logits, MatrixView<ExpertId const> expert_ids, Index first, Beside beside) const {
    for (Index r = 0; r < Tile::rows; ++r) {
      float* const d = d_logits.row(first + r);
      ExpertId const* const ids = expert_ids.row(first + r);
      for (Index k = 0; k < top_k; ++k) {
        d[ids[k]] = math::fma(factor_[k][r], value_[k][r], d[ids[k]]);
        beside(d, k);
      }
    }
  }

private:
  alignas(64) float logit_[top_k][Tile::rows];
  alignas(64) float d_weight_[top_k][Tile::rows];
  alignas(64) float factor_[top_k][Tile::rows];
  alignas(64) float value_[top_k][Tile::rows];
};

} // namespace moebal::detail
