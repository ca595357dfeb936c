// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The way of one micro-batch's tokens to their experts and back: a moebal plan, or a dispatcher where the experts are
// spread over the ranks, with the memory it needs.

#include "collect.hpp"
#include "parameters.hpp"

#include <moebal/backend/eigen.hpp>
#include <moebal/plan/combine.hpp>
#include <moebal/plan/dispatcher.hpp>
#include <moebal/plan/gather.hpp>
#include <moebal/plan/group.hpp>
#include <moebal/select/zero_outputs.hpp>

#include <optional>
#include <span>
#include <vector>

namespace train {

/// Rows are those of the experts that this rank holds, expert by expert: of its own tokens, or, where experts are
/// spread, of all ranks' tokens; then each call is collective.
template <class Real> class Dispatch {
public:
  using Ids = moebal::MatrixView<moebal::ExpertId const>; // [T, K]

  /// Each rank of comm holds as many of the experts as any other, in order.
  void spread(Comm const& comm, Index experts) {
    if (!travel_) travel_.emplace(comm, moebal::topology_of(comm, experts));
  }

  /// Groups the (token, choice) pairs by expert; those of zero-computation experts get no slot.
  void group(Ids ids, moebal::ZeroExperts zeros) {
    zeros_ = zeros;
    Index const experts = zeros.experts();
    if (has_zeros()) {
      computed_.resize(std::size_t(ids.rows() * ids.cols()));
      moebal::MatrixView<moebal::ExpertId> const computed(computed_.data(), ids.rows(), ids.cols());
      moebal::split_into(exec_, zeros, ids, computed);
      ids = computed;
    }
    if (travel_) return travel_->plan(exec_, ids);
    if (plan_.tokens() != ids.rows() || plan_.top_k() != ids.cols() || plan_.experts() != experts)
      plan_ = moebal::Plan(ids.rows(), ids.cols(), experts, ids.rows() * ids.cols());
    workspace_.reserve(moebal::plan_workspace_bytes(exec_, moebal::PlanPolicy<>{}, ids.rows(), ids.cols(), experts));
    moebal::group_into(exec_, experts, ids, plan_.target(), workspace_);
  }

  /// [held experts + 1] the rows of each.
  std::span<Index const> offsets() {
    if (!travel_) return {plan_.offsets().data(), std::size_t(plan_.experts()) + 1};
    auto const offsets = travel_->offsets();
    return {offsets.data(), std::size_t(offsets.size())};
  }

  /// rows [rows, D]: those of x [T, D] that the experts work on.
  void gather(Matrix<Real> const& x, Matrix<Real>& rows) {
    Matrix<Real>& slots = travel_ ? slots_ : rows;
    slots.resize(slot_count(), x.cols());
    moebal::gather_into(exec_, plan(), x, slots);
    send(slots, rows);
  }
  /// d_x [T, D]: what flows back into x.
  void gather_backward(Matrix<Real> const& d_rows, Matrix<Real>& d_x) {
    Matrix<Real> const& d_slots = sent_back(d_rows, slots_);
    d_x.resize(plan().tokens(), d_rows.cols());
    moebal::scatter_into(exec_, moebal::Scatter::Sum, plan(), d_slots, d_x);
  }
  /// y [T, D]: the experts' outputs [rows, D], weighted and back at their tokens x [T, D].
  void combine(Matrix<Real> const& x, Matrix<Real> const& out, moebal::Routing<Real> const& routing, Matrix<Real>& y) {
    Matrix<Real> const& answers = sent_back(out, answers_);
    y.resize(routing.tokens(), out.cols());
    moebal::combine_into(exec_, plan(), answers, routing.weights(), y);
    if (has_zeros())
      moebal::combine_zero_into(exec_, zeros_, view(x), routing.expert_ids(), routing.weights(), {},
                                moebal::as_matrix(y));
  }
  void combine_backward(Matrix<Real> const& out, moebal::Routing<Real> const& routing, Matrix<Real> const& d_y,
                        Matrix<Real>& d_out, Matrix<Real>& d_weights) {
    Matrix<Real> const& answers = travel_ ? answers_ : out; // as combine left them
    Matrix<Real>& d_answers = travel_ ? slots_ : d_out;
    d_answers.resize(answers.rows(), answers.cols());
    d_weights.resize(routing.tokens(), routing.top_k());
    moebal::combine_backward_into(exec_, plan(), answers, routing.weights(), d_y, d_answers, d_weights);
    send(d_answers, d_out);
  }
  /// What zero-computation experts add to d_weights [T, K] and d_x [T, D].
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
  moebal::PlanView<> plan() const { return travel_ ? travel_->view() : plan_.view(); }
  Index slot_count() const { return travel_ ? travel_->slots() : plan_.slots(); }
  /// Slots of this rank's tokens to the rows of their experts.
  void send(Matrix<Real> const& slots, Matrix<Real>& rows) {
    if (!travel_) return; // they are the same
    rows.resize(travel_->received(), slots.cols());
    travel_->send(exec_, slots, rows);
  }
  Matrix<Real> const& sent_back(Matrix<Real> const& rows, Matrix<Real>& slots) {
    if (!travel_) return rows;
    slots.resize(travel_->slots(), rows.cols());
    travel_->send_back(exec_, rows, slots);
    return slots;
  }
  static moebal::MatrixView<Real const> view(Matrix<Real> const& m) { return {m.data(), m.rows(), m.cols()}; }

  moebal::EigenExec exec_;
  moebal::Workspace workspace_;
  moebal::Plan plan_;
  moebal::ZeroExperts zeros_;
  std::vector<moebal::ExpertId> computed_; // [T, K]
  std::optional<moebal::Dispatcher<Comm>> travel_;
  Matrix<Real> slots_, answers_; // [slots, D] of the tokens of this rank, where rows travel
};

} // namespace train
