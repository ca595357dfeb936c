// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Checks that cost a pass over the data, for ids and plans that come from elsewhere. Host memory only.

#include "group.hpp"

#include <string>
#include <vector>

namespace moebal {

/// Throws ShapeError, with the token and the id, unless each row of ids [T, K] holds distinct ids in [0, E), or
/// no_expert.
inline void validate_ids(MatrixView<ExpertId const> ids, Index experts) {
  require_at_least("experts", 1, experts);
  std::vector<Index> last_token(std::size_t(experts), -1);
  for (Index t = 0; t < ids.rows(); ++t)
    for (Index k = 0; k < ids.cols(); ++k) {
      ExpertId const id = ids(t, k);
      if (id == no_expert) continue;
      auto const named = [&] { return "expert id of token " + std::to_string(t) + ", choice " + std::to_string(k); };
      if (id < 0 || Index(id) >= experts)
        detail::refuse<ShapeError>(named(), "0 to " + std::to_string(experts - 1) + ", or -1 for none",
                                   std::to_string(id));
      Index& last = last_token[std::size_t(id)];
      if (last == t) detail::refuse<ShapeError>(named(), "ids that differ", std::to_string(id) + " again");
      last = t;
    }
}

/// Throws ShapeError, with the first place that is wrong, unless the plan is consistent: offsets that never fall, each
/// expert's kept pairs first and fillers after them, order and slot_of inverse to each other, kept <= loads, an empty
/// tail.
inline void validate(PlanView<> plan) {
  using std::to_string;
  auto const bad = [](std::string const& what, Index needed, Index had) {
    if (needed != had) require_equal(what, needed, had);
  };
  Index const experts = plan.experts(), pairs = plan.tokens() * plan.top_k();
  require_at_least("size of plan.offsets [E + 1]", 1, plan.offsets.size());
  bad("size of plan.loads [E]", experts, plan.loads.size());
  bad("size of plan.kept [E]", experts, plan.kept.size());
  bad("plan.offsets[0]", 0, plan.offsets[0]);
  Index placed = 0;
  for (Index e = 0; e < experts; ++e) {
    std::string const name = "expert " + to_string(e);
    Index const first = plan.offsets[e], end = plan.offsets[e + 1];
    require_within("slots of " + name + " of the plan", 0, plan.order.size() - first, end - first);
    require_within("kept pairs of " + name, 0, end - first, plan.kept[e]);
    require_at_least("pairs that chose " + name, plan.kept[e], plan.loads[e]);
    placed += plan.kept[e];
    for (Index slot = first; slot < end; ++slot) {
      Index const pair = plan.order[slot];
      if (slot - first >= plan.kept[e]) {
        bad("filler slot " + to_string(slot) + " of " + name, no_slot, pair);
        continue;
      }
      require_within("pair in slot " + to_string(slot) + " of " + name, 0, pairs - 1, pair);
      bad("slot of pair " + to_string(pair), slot, plan.slot_of(pair / plan.top_k(), pair % plan.top_k()));
    }
  }
  for (Index slot = plan.offsets[experts]; slot < plan.order.size(); ++slot)
    bad("slot " + to_string(slot) + " past the end", no_slot, plan.order[slot]);
  Index with_slot = 0;
  for (Index t = 0; t < plan.tokens(); ++t)
    for (Index k = 0; k < plan.top_k(); ++k) with_slot += plan.slot_of(t, k) != no_slot;
  bad("pairs with a slot", placed, with_slot);
}

/// The same, and that each pair is with the expert that it chose, and each load is the number of pairs that chose it.
inline void validate(PlanView<> plan, MatrixView<ExpertId const> ids, Index experts, ExpertMap<> map = {}) {
  validate_ids(ids, experts);
  validate(plan);
  require_equal("rows of plan.slot_of [T, K]", ids.rows(), plan.tokens());
  require_equal("columns of plan.slot_of [T, K]", ids.cols(), plan.top_k());
  require_equal("experts of the plan", detail::local_experts(map, experts), plan.experts());
  detail::ExpertOf<detail::FlatOrder> const expert{
      {}, detail::Flat<ExpertId const>::of(ids), experts, map.local.data(), plan.experts()};
  std::vector<Index> loads(std::size_t(plan.experts()));
  for (Index pair = 0; pair < ids.rows() * ids.cols(); ++pair) {
    Index const e = expert(pair);
    if (e >= 0) ++loads[std::size_t(e)];
    Index const slot = plan.slot_of(pair / ids.cols(), pair % ids.cols());
    if (slot == no_slot) continue;
    std::string const what = "slot of pair " + std::to_string(pair);
    if (e < 0) require_equal(what + ", which has no expert here", no_slot, slot);
    require_within(what, plan.offsets[e], plan.offsets[e + 1] - 1, slot);
  }
  for (Index e = 0; e < plan.experts(); ++e)
    require_equal("load of expert " + std::to_string(e), loads[std::size_t(e)], plan.loads[e]);
}

} // namespace moebal
