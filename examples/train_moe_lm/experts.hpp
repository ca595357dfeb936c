// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The experts of one layer on rows that lie in the order of experts: out = relu(row up + bias) down.

#include "parameters.hpp"

#include <span>

namespace train {

/// f(expert, first row, rows) for each expert that has some. offsets: [held experts + 1].
template <class F> void each_busy_expert(std::span<Index const> offsets, F const& f) {
  for (std::size_t e = 0; e + 1 < offsets.size(); ++e)
    if (offsets[e + 1] > offsets[e]) f(Index(e), offsets[e], offsets[e + 1] - offsets[e]);
}

/// offsets: [held experts + 1], the rows of each. rows, out: [N, D], hidden: [N, H].
template <class Real>
void run_experts(Parameters<Real> const& p, Index layer, std::span<Index const> offsets, Matrix<Real> const& rows,
                 Matrix<Real>& hidden, Matrix<Real>& out) {
  each_busy_expert(offsets, [&](Index e, Index first, Index count) {
    auto const expert = p.expert(layer, e);
    auto h = hidden.middleRows(first, count);
    h.noalias() = rows.middleRows(first, count) * expert.up;
    h = (h.rowwise() + expert.up_bias.row(0)).cwiseMax(Real(0));
    out.middleRows(first, count).noalias() = h * expert.down;
  });
}

/// Adds the gradients of the weights to g, and puts those of the rows in the place of those of the outputs. d_hidden:
/// [N, H], room.
template <class Real>
void run_experts_backward(Parameters<Real> const& p, Index layer, std::span<Index const> offsets,
                          Matrix<Real> const& rows, Matrix<Real> const& hidden, Matrix<Real>& d_hidden,
                          Matrix<Real>& d_out, Parameters<Real>& g) {
  each_busy_expert(offsets, [&](Index e, Index first, Index count) {
    auto const expert = p.expert(layer, e);
    auto d_expert = g.expert(layer, e);
    auto const h = hidden.middleRows(first, count);
    auto d_h = d_hidden.middleRows(first, count);
    auto d = d_out.middleRows(first, count);
    d_expert.down.noalias() += h.transpose() * d;
    d_h.noalias() = d * expert.down.transpose();
    d_h.array() *= (h.array() > Real(0)).template cast<Real>();
    d_expert.up.noalias() += rows.middleRows(first, count).transpose() * d_h;
    d_expert.up_bias.row(0) += d_h.colwise().sum();
    d.noalias() = d_h * expert.up.transpose();
  });
}

} // namespace train
