// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Plans with their own memory, on a host. The ids are checked first.

#include "align.hpp"
#include "validate.hpp"

namespace moebal {

/// plan_into with memory of its own.
/// @throws ShapeError naming token and id for ids out of range or repeated
template <execution Exec, drop_policy Drop, matrix_like Ids, matrix_like Weights>
Plan make_plan(Exec const& exec, PlanPolicy<Drop> policy, Index experts, Ids&& expert_ids, Weights&& weights,
               ExpertMap<> map = {}) {
  using Real = element_of<Weights>;
  MatrixView<ExpertId const> const ids = as_matrix(expert_ids);
  validate_ids(ids, experts);
  Plan plan(ids.rows(), ids.cols(), detail::local_experts(map, experts), ids.rows() * ids.cols());
  Workspace workspace(plan_workspace_bytes<Real>(exec, policy, ids.rows(), ids.cols(), experts));
  plan_into(exec, policy, experts, ids, weights, plan.target(), WorkspaceView<>(workspace), map);
  return plan;
}
template <execution Exec, drop_policy Drop, class Real>
Plan make_plan(Exec const& exec, PlanPolicy<Drop> policy, Index experts, Routing<Real> const& routing,
               ExpertMap<> map = {}) {
  return make_plan(exec, policy, experts, routing.expert_ids(), routing.weights(), map);
}
/// Grouping alone: nothing is dropped.
template <execution Exec, matrix_like Ids>
Plan make_plan(Exec const& exec, Index experts, Ids&& ids, ExpertMap<> map = {}) {
  return make_plan(exec, PlanPolicy<>{}, experts, ids, MatrixView<float const>{}, map);
}

/// An aligned plan and the expert of each of its blocks.
struct AlignedPlan {
  Plan plan;
  std::vector<ExpertId> block_experts; // [slots / block]
};
/// align_into with memory of its own, trimmed to the blocks in use.
template <execution Exec> AlignedPlan make_aligned(Exec const& exec, Alignment alignment, PlanView<> tight) {
  Index const slots = aligned_slots(alignment, tight.tokens() * tight.top_k(), tight.experts());
  AlignedPlan aligned{Plan(tight.tokens(), tight.top_k(), tight.experts(), slots),
                      std::vector<ExpertId>(std::size_t(slots / alignment.block))};
  align_into(exec, alignment, tight, aligned.plan.target(), VectorView<ExpertId>(aligned.block_experts));
  aligned.block_experts.resize(std::size_t(aligned.plan.slots() / alignment.block));
  return aligned;
}

} // namespace moebal
