// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Between the model and its router: a micro-batch as a lab::Method sees it, and what a capacity leaves of its choices.

#include "../compare_strategies/method.hpp"
#include "model.hpp"

namespace train {

inline moebal::MatrixView<float> view(Matrix<float>& m) { return moebal::as_matrix(m); }
inline lab::Weights router_of(Parameters<float> const& p, Index layer) {
  auto const& router = p.routers[std::size_t(layer)];
  return {router.data(), std::size_t(router.size())};
}
inline lab::Slopes router_of(Parameters<float>& p, Index layer) {
  auto& router = p.routers[std::size_t(layer)];
  return {router.data(), std::size_t(router.size())};
}

/// The tags of the tokens: the byte or the two bytes that each has read last, or its domain.
inline void tag(lab::Method const& method, Activations<float>& a) {
  a.tags.assign(std::size_t(a.x.rows()), a.batch.domain % lab::domains);
  if (method.tags() != lab::Tags::TokenId && method.tags() != lab::Tags::TokenPair) return;
  Window const& w = a.batch.window;
  for (Index t = 0; t < a.x.rows(); ++t) {
    std::uint8_t const* const next = a.batch.windows[std::size_t(t / w.length)] + w.context + t % w.length;
    a.tags[std::size_t(t)] = method.tags() == lab::Tags::TokenId ? next[-1] : 256 * next[-2] + next[-1];
  }
}

/// Groups the choices by expert; those beyond the capacity, if there is one (0: none), get no slot. Returns how many.
/// Collective.
inline Index dispatch(lab::Method& method, double capacity, LayerActivations<float>& a) {
  auto const ids = std::as_const(a.routing).expert_ids();
  if (capacity == 0) {
    a.dispatch.group(ids, method.zeros());
    return 0;
  }
  method.keep(ids, std::as_const(a.routing).weights(), a.kept);
  a.kept_ids.assign(ids.data(), ids.data() + ids.rows() * ids.cols());
  Index dropped = 0;
  for (std::size_t i = 0; i < a.kept.size(); ++i)
    if (a.kept_ids[i] != moebal::no_expert && !a.kept[i]) {
      a.kept_ids[i] = moebal::no_expert;
      ++dropped;
    }
  a.dispatch.group({a.kept_ids.data(), ids.rows(), ids.cols()}, method.zeros());
  return dropped;
}

} // namespace train
