// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Whole routings, for selections that take fewer than K experts.

#include "support/inputs.hpp"

#include <moebal/backend/eigen.hpp>
#include <moebal/router.hpp>
#include <moebal/stats/counts.hpp>

namespace select_rows {

using moebal::ExpertId;
using moebal::Index;

/// Chosen ids of token t, without the filling.
template <class Real> std::vector<int> ids_of(moebal::Routing<Real> const& routing, Index t) {
  std::vector<int> ids;
  for (Index k = 0; k < routing.top_k(); ++k)
    if (routing.expert_ids()(t, k) >= 0) ids.push_back(routing.expert_ids()(t, k));
  return ids;
}

/// The contract of a row for any bits: distinct ids in [0, E), then no_expert with weight 0; the same for 1 and 3
/// threads.
template <class Selection, class Gate>
bool keeps_the_contract(Selection const& selection, Gate const& gate, Index experts, bool tagged = false) {
  static Eigen::ThreadPool pool(3);
  moebal::Router const router{selection, gate};
  Index const tokens = 37;
  std::vector<Index> tags;
  for (Index t = 0; t < tokens; ++t) tags.push_back(t % 5);
  for (moebal_test::Kind kind : moebal_test::all_kinds) {
    auto const x = moebal_test::logits_of(kind, tokens, experts);
    moebal::RowOptions<> options;
    if (tagged) options.tags = tags;
    auto const view = moebal_test::matrix(x, tokens, experts);
    auto const one = router.route(moebal::EigenExec{}, view, options),
               three = router.route(moebal::EigenExec{&pool}.on_every_thread(), view, options);
    for (Index t = 0; t < tokens; ++t) {
      bool ended = false;
      for (Index k = 0; k < one.top_k(); ++k) {
        ExpertId const id = one.expert_ids()(t, k);
        if (id != three.expert_ids()(t, k)) return false;
        if (__builtin_bit_cast(std::uint32_t, one.weights()(t, k)) !=
            __builtin_bit_cast(std::uint32_t, three.weights()(t, k)))
          return false;
        if (id < 0 && (id != moebal::no_expert || one.weights()(t, k) != 0)) return false;
        if (id >= 0 && (ended || id >= experts)) return false;
        ended = id < 0;
        for (Index j = 0; j < k; ++j)
          if (id >= 0 && id == one.expert_ids()(t, j)) return false;
      }
    }
  }
  return router.route(moebal::EigenExec{}, moebal::MatrixView<float const>(nullptr, 0, experts)).tokens() == 0;
}

} // namespace select_rows
