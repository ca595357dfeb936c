// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The policies of plan/dispatch_counts.hpp at work: each groups the pairs of a rank into its plan and tells how many
// rows rank q sends to the expert of a column (plan/expert_order.hpp).
//   plan(exec, comm, order, policy, ids, plan, group)  collective; group(policy, limits) fills `plan`
//   view(plan)    what the rank sends: `plan`, or its own copy with fillers
//   room(q, c)    rows sent, fillers included
//   kept(q, c)    those of them that are no fillers, as far as they are known
//   learn()       whether they are known only now: waits for them
//   is_waiting()  whether learn() would

#include "align.hpp"
#include "competition.hpp"
#include "dispatch_counts.hpp"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace moebal::detail {

template <class Counts, communicator Comm, CountsOf whose> class DispatchSizes;

template <communicator Comm, CountsOf whose> class DispatchSizes<ExactCounts, Comm, whose> {
public:
  DispatchSizes(ExactCounts, ExpertOrder const& order, Index ranks, Index rank) : table_(order, ranks, rank) {}

  template <class Exec, class Policy, class Group>
  void plan(Exec const&, Comm const& comm, ExpertOrder const& order, Policy policy, MatrixView<ExpertId const>,
            Plan const& plan, Group const& group) {
    group(policy, VectorView<Index const>{});
    table_.count(order, plan);
    table_.start(comm, whose).wait();
  }
  PlanView<> view(Plan const& plan) const { return plan.view(); }
  Index room(Index q, Index column) const { return table_(q, column); }
  Index kept(Index q, Index column) const { return table_(q, column); }
  static constexpr bool learn() { return false; }
  static constexpr bool is_waiting() { return false; }

private:
  CountTable table_;
};

template <communicator Comm, CountsOf whose> class DispatchSizes<FixedCapacity, Comm, whose> {
public:
  DispatchSizes(FixedCapacity counts, ExpertOrder const& order, Index ranks, Index rank)
      : slots_(counts.slots), table_(order, ranks, rank) {
    require_at_least("slots of a fixed capacity", 1, slots_);
  }

  template <class Exec, class Policy, class Group>
  void plan(Exec const& exec, Comm const& comm, ExpertOrder const& order, Policy policy, MatrixView<ExpertId const>,
            Plan const& plan, Group const& group) {
    learn(); // of a plan that was never used
    policy.capacity = capacities::absolute(slots_);
    group(policy, VectorView<Index const>{});
    for (Index e = 0; e < order.experts(); ++e) // only where the policy drops nothing
      if (Index const had = plan.kept()[order.place_of(ExpertId(e))]; had > slots_)
        require_within("pairs of expert " + std::to_string(e) + " with a fixed capacity and no drops", 0, slots_, had);
    padded_.resize(plan.tokens(), plan.top_k(), plan.experts(), plan.experts() * slots_);
    align_into(exec, Alignment{.slots_per_expert = slots_}, plan.view(), padded_.target());
    table_.count(order, plan);
    counting_.emplace(table_.start(comm, whose));
  }
  PlanView<> view(Plan const&) const { return padded_.view(); }
  Index room(Index, Index) const { return slots_; }
  Index kept(Index q, Index column) const { return counting_ ? 0 : table_(q, column); }
  bool learn() {
    if (!counting_) return false;
    auto counting = std::exchange(counting_, std::nullopt);
    counting->wait();
    return true;
  }
  bool is_waiting() const { return counting_.has_value(); }

private:
  Index slots_;
  CountTable table_;
  Plan padded_; // each expert's slots filled up
  std::optional<typename Comm::Request> counting_;
};

template <communicator Comm, CountsOf whose> class DispatchSizes<GroupCapacity, Comm, whose> {
public:
  DispatchSizes(GroupCapacity counts, ExpertOrder const& order, Index, Index rank)
      : rank_(rank), capacity_(counts.capacity), limits_(std::size_t(order.experts())) {
    for (Index c = 0; c < order.experts(); ++c) expert_.push_back(order.expert(c));
  }

  template <class Exec, class Policy, class Group>
  void plan(Exec const&, Comm const& comm, ExpertOrder const& order, Policy policy, MatrixView<ExpertId const> ids,
            Plan const&, Group const& group) {
    competition_.gather(comm, policy.drop, ids, order.experts());
    competition_.decide(capacity_);
    for (Index e = 0; e < order.experts(); ++e)
      limits_[std::size_t(order.place_of(ExpertId(e)))] = competition_.kept(rank_, e);
    group(policy, VectorView<Index const>(limits_));
  }
  PlanView<> view(Plan const& plan) const { return plan.view(); }
  Index room(Index q, Index column) const { return competition_.kept(q, expert_[std::size_t(column)]); }
  Index kept(Index q, Index column) const { return room(q, column); }
  static constexpr bool learn() { return false; }
  static constexpr bool is_waiting() { return false; }

private:
  Index rank_;
  Capacity capacity_;
  Competition competition_;
  std::vector<ExpertId> expert_; // [E] of each column
  std::vector<Index> limits_;    // [E] by place
};

} // namespace moebal::detail
