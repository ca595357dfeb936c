// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The rows of select/zero_outputs.hpp, on the way back.

#include "zero_output_rows.hpp"

namespace moebal {

/// Where the backward writes. Each part may stay empty; the first two are added to, the others overwritten.
template <class Real = float, class Memory = HostMemory> struct ZeroOutputGradient {
  MatrixView<Real, Memory> d_x{};       // [T, D]
  MatrixView<Real, Memory> d_weights{}; // [T, K]; only the places of copy and constant experts
  MatrixView<Real, Memory> d_vectors{}; // [C, D]
  MatrixView<Real, Memory> d_mixers{};  // [2 C, D]
};

namespace detail {

template <class Real, class M> struct ZeroOutputBackwardRow {
  using real = Real;
  ZeroOutputInputs<Real, M> inputs;
  MatrixView<Real const, M> d_out;
  ZeroOutputGradient<Real, M> gradient;
  Real* of_vector; // [T, K] w a2, which d_vectors sums
  Real* of_mixer;  // [T, K] d loss / d (first product), which d_mixers sums

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    auto const& [zeros, x, ids, weights, constants] = inputs;
    Index const width = x.cols();
    Real const *const in = x.row(t), *const d = d_out.row(t);
    Real* const d_in = gradient.d_x.data() == nullptr ? nullptr : gradient.d_x.row(t);
    Real const along = row_product(lanes, d, in, width);
    Real own = 0;
    for (Index k = 0; k < ids.cols(); ++k) {
      ExpertId const id = ids(t, k);
      ExpertKind const kind = id < 0 ? ExpertKind::Zero : zeros.kind(id);
      if (kind != ExpertKind::Copy && kind != ExpertKind::Constant) continue;
      Real const w = weights(t, k);
      Real d_w = along;
      if (kind == ExpertKind::Copy) {
        own = own + w;
      } else {
        Index const c = zeros.constant_index(id);
        Real const a1 = own_part(lanes, constants, c, in, width), a2 = Real(1) - a1;
        Real const across = row_product(lanes, d, constants.vectors.row(c), width);
        Real const pull = a1 * a2 * w * (along - across);
        own = math::fma(w, a1, own);
        d_w = math::fma(a1, along, math::mul(a2, across));
        Index const pair = t * ids.cols() + k;
        lanes.once([=, *this] {
          of_vector[pair] = w * a2;
          of_mixer[pair] = pull;
        });
        if (d_in != nullptr) {
          add_scaled(lanes, pull, constants.mixers.row(2 * c), width, d_in);
          add_scaled(lanes, -pull, constants.mixers.row(2 * c + 1), width, d_in);
        }
      }
      if (gradient.d_weights.data() != nullptr) lanes.once([=, to = &gradient.d_weights(t, k)] { *to = *to + d_w; });
    }
    if (d_in != nullptr && own != Real(0)) add_scaled(lanes, own, d, width, d_in);
  }
};

/// Row c of d_vectors and rows 2 c, 2 c + 1 of d_mixers, in the order of tokens.
template <class Real, class M> struct ConstantGradientRow {
  using real = Real;
  ZeroOutputInputs<Real, M> inputs;
  MatrixView<Real const, M> d_out;
  Real const *of_vector, *of_mixer;
  MatrixView<Real, M> d_vectors, d_mixers;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index c) const {
    auto const& [zeros, x, ids, weights, constants] = inputs;
    Index const width = x.cols();
    auto const clear = [&](Real* row) { lanes.each_one(width, [=](Index d) { row[d] = 0; }); };
    if (d_vectors.data() != nullptr) clear(d_vectors.row(c));
    if (d_mixers.data() != nullptr) clear(d_mixers.row(2 * c)), clear(d_mixers.row(2 * c + 1));
    for (Index pair = 0; pair < ids.rows() * ids.cols(); ++pair) {
      Index const t = pair / ids.cols();
      ExpertId const id = ids(t, pair - t * ids.cols());
      if (id < 0 || zeros.kind(id) != ExpertKind::Constant || zeros.constant_index(id) != c) continue;
      if (d_vectors.data() != nullptr) add_scaled(lanes, of_vector[pair], d_out.row(t), width, d_vectors.row(c));
      if (d_mixers.data() == nullptr) continue;
      add_scaled(lanes, of_mixer[pair], x.row(t), width, d_mixers.row(2 * c));
      add_scaled(lanes, -of_mixer[pair], x.row(t), width, d_mixers.row(2 * c + 1));
    }
  }
};

} // namespace detail
} // namespace moebal
