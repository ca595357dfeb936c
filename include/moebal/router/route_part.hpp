// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Fewer rows than a tile has, with the bits of the row form: a tile with copies of the last row for those that are missing, where
// that is faster than one row after the other.

#include "route_tile.hpp"

namespace moebal::detail {

/// Routes the rows [first, first + count) of a RouteRow, count < Tile::rows; false, and has done nothing, where that is for the row form.
template <class Tile, class Body>
bool route_part(Tile, Body const& body, std::byte* memory, Index worker, Index first, Index count) {
  using Logit = typename Body::logit;
  constexpr Index rows = Tile::rows, top_k = Body::top_k, few = 16;
  auto const& options = body.options;
  Index const experts = body.logits.cols();
  if (experts > few || !options.padding.empty() || !options.classes.empty() || !options.tags.empty()) return false;

  ExpertId ids[rows][top_k];
  float weights[rows][top_k];
  alignas(64) Logit copies[rows][few];
  Body part = body;
  part.first_row = 0;
  part.partial = nullptr;
  part.ranks.counts = nullptr;
  part.out = {{ids[0], rows, top_k}, {weights[0], rows, top_k}};
  Logit const* const from = body.logits.row(first - body.first_row);
  Index const stride = body.logits.row_stride();
  if (count == 1) {
    part.logits = {from, rows, experts, 0};
  } else {
    for (Index r = 0; r < rows; ++r)
      for (Index e = 0; e < experts; ++e) copies[r][e] = from[(r < count ? r : count - 1) * stride + e];
    part.logits = {copies[0], rows, experts, few};
  }
  RouteTile<Tile, Body>(part, memory, worker, 0).route();

  typename Tile::lanes const lanes;
  for (Index r = 0; r < count; ++r) {
    Index const t = first + r;
    for (Index k = 0; k < top_k; ++k) {
      body.out.expert_ids(t, k) = ids[r][k];
      body.out.weights(t, k) = weights[r][k];
    }
    if (body.partial != nullptr) {
      Index const sequence = body.sequences == 1 ? 0 : sequence_of(options.segments.data(), body.sequences, t);
      Body::needs::add(lanes, body.facts(LogitRow<Logit>{from + r * stride}, top_k, body.out.expert_ids.row(t),
                                         body.out.weights.row(t), memory, t), body.sums_of(worker, sequence));
    }
    body.ranks(lanes, top_k, t);
  }
  return true;
}

} // namespace moebal::detail
