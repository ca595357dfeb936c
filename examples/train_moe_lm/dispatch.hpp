// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The way of one micro-batch's tokens to their experts and back: a moebal plan with the memory it needs. With a
// capacity, the ranks first agree on who is dropped: the pool is what all ranks route at the same time, as with expert
// parallelism.

#include "parameters.hpp"

#include <moebal/backend/eigen.hpp>
#include <moebal/communicator.hpp>
#include <moebal/plan/combine.hpp>
#include <moebal/plan/gather.hpp>
#include <moebal/plan/group.hpp>

#include <vector>

namespace train {

class Dispatch {
public:
  using Ids = moebal::MatrixView<moebal::ExpertId const>; // [T, K]

  /// Groups the (token, choice) pairs by expert.
  void group(Ids ids, Index experts) {
    if (plan_.tokens() != ids.rows() || plan_.top_k() != ids.cols() || plan_.experts() != experts)
      plan_ = moebal::Plan(ids.rows(), ids.cols(), experts, ids.rows() * ids.cols());
    workspace_.reserve(moebal::plan_workspace_bytes(exec_, moebal::PlanPolicy<>{}, ids.rows(), ids.cols(), experts));
    moebal::group_into(exec_, experts, ids, plan_.target(), workspace_);
  }
  /// The same without the pairs above the capacity, filled in the order of ranks and tokens, first choices before
  /// second. Collective. Returns how many of this rank's pairs were dropped.
  template <class Comm> Index group_within(double capacity_factor, Ids ids, Index experts, Comm const& comm) {
    Index const pairs = ids.rows() * ids.cols(), ranks = comm.size();
    pooled_ids_.resize(std::size_t(ranks * pairs));
    comm.all_gather(moebal::VectorView<moebal::ExpertId const>(ids.data(), pairs), pooled_ids_);
    Index const pooled_rows = ranks * ids.rows();
    Ids const pooled(pooled_ids_.data(), pooled_rows, ids.cols());
    if (pooled_plan_.tokens() != pooled_rows || pooled_plan_.top_k() != ids.cols() || pooled_plan_.experts() != experts)
      pooled_plan_ = moebal::Plan(pooled_rows, ids.cols(), experts, ranks * pairs);
    moebal::PlanPolicy<moebal::DropByPosition<>> const policy{.drop = {}, .capacity = {.factor = capacity_factor}};
    workspace_.reserve(moebal::plan_workspace_bytes(exec_, policy, pooled_rows, ids.cols(), experts));
    moebal::plan_into(exec_, policy, experts, pooled, moebal::MatrixView<float const>{}, pooled_plan_.target(),
                      workspace_);

    kept_ids_.assign(ids.data(), ids.data() + pairs);
    Index dropped = 0;
    for (Index i = 0; i < pairs; ++i)
      if (kept_ids_[std::size_t(i)] != moebal::no_expert &&
          pooled_plan_.slot_of().data()[comm.rank() * pairs + i] == moebal::no_slot) {
        kept_ids_[std::size_t(i)] = moebal::no_expert;
        ++dropped;
      }
    group({kept_ids_.data(), ids.rows(), ids.cols()}, experts);
    return dropped;
  }

  struct Range {
    Index first, count;
  };
  /// The slots of expert e.
  Range range(Index e) const { return {plan_.offsets()[e], plan_.offsets()[e + 1] - plan_.offsets()[e]}; }

  /// slots [slots, D]: the rows of x [T, D] in the order of experts.
  template <class Real> void gather(Matrix<Real> const& x, Matrix<Real>& slots) const {
    slots.resize(plan_.slots(), x.cols());
    moebal::gather_into(exec_, plan_, x, slots);
  }
  /// d_x [T, D]: what flows back into x.
  template <class Real> void gather_backward(Matrix<Real> const& d_slots, Matrix<Real>& d_x) const {
    d_x.resize(plan_.tokens(), d_slots.cols());
    moebal::scatter_into(exec_, moebal::Scatter::Sum, plan_, d_slots, d_x);
  }
  /// y [T, D]: the experts' outputs [slots, D], weighted and back at their tokens.
  template <class Real>
  void combine(Matrix<Real> const& out, moebal::Routing<Real> const& routing, Matrix<Real>& y) const {
    y.resize(routing.tokens(), out.cols());
    moebal::combine_into(exec_, plan_, out, routing.weights(), y);
  }
  template <class Real>
  void combine_backward(Matrix<Real> const& out, moebal::Routing<Real> const& routing, Matrix<Real> const& d_y,
                        Matrix<Real>& d_out, Matrix<Real>& d_weights) const {
    d_out.resize(out.rows(), out.cols());
    d_weights.resize(routing.tokens(), routing.top_k());
    moebal::combine_backward_into(exec_, plan_, out, routing.weights(), d_y, d_out, d_weights);
  }

private:
  moebal::EigenExec exec_;
  moebal::Workspace workspace_;
  moebal::Plan plan_, pooled_plan_;
  std::vector<moebal::ExpertId> pooled_ids_, kept_ids_;
};

} // namespace train
