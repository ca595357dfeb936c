// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The way of one micro-batch's tokens to their experts and back: a moebal plan with the memory it needs.

#include "parameters.hpp"

#include <moebal/backend/eigen.hpp>
#include <moebal/plan/combine.hpp>
#include <moebal/plan/gather.hpp>
#include <moebal/plan/group.hpp>
#include <moebal/select/zero_outputs.hpp>

#include <vector>

namespace train {

class Dispatch {
public:
  using Ids = moebal::MatrixView<moebal::ExpertId const>; // [T, K]

  /// Groups the (token, choice) pairs by expert; those of zero-computation experts get no slot.
  void group(Ids ids, moebal::ZeroExperts zeros) {
    zeros_ = zeros;
    Index const experts = zeros.experts();
    if (plan_.tokens() != ids.rows() || plan_.top_k() != ids.cols() || plan_.experts() != experts)
      plan_ = moebal::Plan(ids.rows(), ids.cols(), experts, ids.rows() * ids.cols());
    workspace_.reserve(moebal::plan_workspace_bytes(exec_, moebal::PlanPolicy<>{}, ids.rows(), ids.cols(), experts));
    if (has_zeros()) {
      computed_.resize(std::size_t(ids.rows() * ids.cols()));
      moebal::MatrixView<moebal::ExpertId> const computed(computed_.data(), ids.rows(), ids.cols());
      moebal::split_into(exec_, zeros, ids, computed);
      moebal::group_into(exec_, experts, computed, plan_.target(), workspace_);
    } else {
      moebal::group_into(exec_, experts, ids, plan_.target(), workspace_);
    }
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
  /// y [T, D]: the experts' outputs [slots, D], weighted and back at their tokens x [T, D].
  template <class Real>
  void combine(Matrix<Real> const& x, Matrix<Real> const& out, moebal::Routing<Real> const& routing,
               Matrix<Real>& y) const {
    y.resize(routing.tokens(), out.cols());
    moebal::combine_into(exec_, plan_, out, routing.weights(), y);
    if (has_zeros())
      moebal::combine_zero_into(exec_, zeros_, view(x), routing.expert_ids(), routing.weights(), {},
                                moebal::as_matrix(y));
  }
  template <class Real>
  void combine_backward(Matrix<Real> const& out, moebal::Routing<Real> const& routing, Matrix<Real> const& d_y,
                        Matrix<Real>& d_out, Matrix<Real>& d_weights) const {
    d_out.resize(out.rows(), out.cols());
    d_weights.resize(routing.tokens(), routing.top_k());
    moebal::combine_backward_into(exec_, plan_, out, routing.weights(), d_y, d_out, d_weights);
  }
  /// What zero-computation experts add to d_weights [T, K] and d_x [T, D].
  template <class Real>
  void zero_backward(Matrix<Real> const& x, moebal::Routing<Real> const& routing, Matrix<Real> const& d_y,
                     Matrix<Real>& d_weights, Matrix<Real>& d_x) {
    if (!has_zeros()) return;
    workspace_.reserve(moebal::combine_zero_backward_bytes<Real>(exec_, routing.tokens(), routing.top_k()));
    moebal::combine_zero_backward_into(
        exec_, zeros_, view(x), routing.expert_ids(), routing.weights(), {}, view(d_y),
        moebal::ZeroOutputGradient<Real>{
            .d_x = moebal::as_matrix(d_x), .d_weights = moebal::as_matrix(d_weights), .d_vectors = {}, .d_mixers = {}},
        moebal::WorkspaceView<>(workspace_));
  }

private:
  bool has_zeros() const { return zeros_.experts() > zeros_.ffn; }
  template <class Real> static moebal::MatrixView<Real const> view(Matrix<Real> const& m) {
    return {m.data(), m.rows(), m.cols()};
  }

  moebal::EigenExec exec_;
  moebal::Workspace workspace_;
  moebal::Plan plan_;
  moebal::ZeroExperts zeros_;
  std::vector<moebal::ExpertId> computed_; // [T, K]
};

} // namespace train
