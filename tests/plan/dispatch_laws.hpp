// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What every dispatcher must do, as functions that all ranks call. A rank that finds a difference throws (Boost's
// macros are for one thread). The oracle knows the choices of every rank.

#include "support/serial_exec.hpp"

#include <moebal/communicator.hpp>
#include <moebal/core/random.hpp>
#include <moebal/plan/combine.hpp>
#include <moebal/plan/dispatcher.hpp>
#include <moebal/plan/make_plan.hpp>

#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace dispatch_laws {

using namespace moebal;
using moebal_test::SerialExec;

struct Caught : std::logic_error {
  using std::logic_error::logic_error;
};
inline void check(bool holds, std::string const& law) {
  if (!holds) throw Caught("dispatch: " + law);
}

/// Rows that lie apart.
template <class T> class Rows {
public:
  Rows(Index rows, Index cols, Index gap, T x)
      : rows_(rows), cols_(cols), gap_(gap), memory_(std::size_t(rows * (cols + gap)), x) {}
  MatrixView<T> view() { return {memory_.data(), rows_, cols_, cols_ + gap_}; }
  operator MatrixView<T>() { return view(); }
  T& operator()(Index r, Index c) { return view()(r, c); }

private:
  Index rows_, cols_, gap_;
  std::vector<T> memory_;
};

/// The choices of each rank: skewed, some of them none, the same wherever they are asked for.
struct Choices {
  Index tokens, top_k, experts, seed;
  std::vector<ExpertId> ids;
  std::vector<float> weights;

  Choices(Index T, Index K, Index E, Index seed_) : tokens(T), top_k(K), experts(E), seed(seed_) {
    std::vector<ExpertId> pool(static_cast<std::size_t>(E));
    for (Index t = 0; t < T; ++t) {
      for (Index e = 0; e < E; ++e) pool[std::size_t(e)] = ExpertId(e);
      for (Index k = 0; k < K; ++k) {
        auto const bits = random::bits(std::uint64_t(seed), std::uint64_t(t * K + k));
        Index const left = E - k, skewed = Index(bits % std::uint64_t(left)) * Index((bits >> 32) % 5) / 4;
        std::swap(pool[std::size_t(k)], pool[std::size_t(k + std::min(skewed, left - 1))]);
        ids.push_back(bits >> 60 == 0 ? no_expert : pool[std::size_t(k)]);
        weights.push_back(float((bits >> 20) % 97) / 97 + 0.01f);
      }
    }
  }
  MatrixView<ExpertId const> id_view() const { return {ids.data(), tokens, top_k}; }
  MatrixView<float const> weight_view() const { return {weights.data(), tokens, top_k}; }
};

struct Case {
  Topology topology;
  std::vector<Index> tokens; // [R]
  Index top_k;
  Index seed = 1;

  std::vector<Choices> choices() const {
    std::vector<Choices> all;
    for (Index r = 0; r < topology.ranks(); ++r)
      all.emplace_back(tokens[std::size_t(r)], top_k, topology.experts(), seed * 100 + r);
    return all;
  }
};

inline std::int64_t value(Index rank, Index pair, Index c) { return (rank << 40) + (pair << 8) + c; }

/// Each kept pair arrives once, at its expert, in its place, and comes back to its slot; slices and the pipeline change
/// nothing.
template <class D, class Comm, class Policy>
void rows_arrive_and_return(D& dispatcher, Comm const& comm, Case const& c, Policy policy) {
  SerialExec const exec{2};
  Index const me = comm.rank(), R = comm.size(), E = c.topology.experts(), cols = 3;
  auto const all = c.choices();
  auto const& mine = all[std::size_t(me)];
  dispatcher.plan(exec, policy, mine.id_view(), mine.weight_view());

  struct Arrival {
    Index rank, pair, local;
  };
  std::vector<Arrival> expected;
  std::vector<Index> offsets{0};
  std::vector<Plan> plans;
  for (auto const& choices : all) plans.push_back(make_plan(exec, policy, E, choices.id_view(), choices.weight_view()));
  for (ExpertId const e : c.topology.experts_of(me)) {
    for (Index q = 0; q < R; ++q) {
      auto const& plan = plans[std::size_t(q)];
      for (Index slot = plan.offsets()[e]; slot < plan.offsets()[e + 1]; ++slot)
        expected.push_back({q, plan.order()[slot], Index(offsets.size()) - 1});
    }
    offsets.push_back(Index(expected.size()));
  }
  auto const drops = drop_counts(dispatcher.view()), needed = drop_counts(plans[std::size_t(me)]);
  check(drops.kept == needed.kept && drops.dropped == needed.dropped && drops.routed == needed.routed,
        "drops are counted");

  auto const view = dispatcher.view();
  Rows<std::int64_t> slots(dispatcher.slots(), cols, me % 2, -1), back(dispatcher.slots() + 1, cols, 1, -7);
  for (Index s = 0; s < dispatcher.slots(); ++s)
    for (Index k = 0; k < cols; ++k) slots(s, k) = view.order[s] == no_slot ? 0 : value(me, view.order[s], k);
  Rows<std::int64_t> received(dispatcher.most_received() + 1, cols, me % 3, -1);
  dispatcher.send(exec, slots.view(), received.view());
  check(dispatcher.received() == Index(expected.size()),
        "rows received: needed " + std::to_string(expected.size()) + ", had " + std::to_string(dispatcher.received()));
  check(std::vector<Index>(dispatcher.offsets().begin(), dispatcher.offsets().end()) == offsets, "offsets");
  for (std::size_t i = 0; i < expected.size(); ++i)
    for (Index k = 0; k < cols; ++k)
      check(received(Index(i), k) == value(expected[i].rank, expected[i].pair, k),
            "row " + std::to_string(i) + " arrives");
  check(received(dispatcher.most_received(), 0) == -1, "no row past the last");

  auto const answer = [&](Index row) { return 1000 * c.topology.experts_of(me)[expected[std::size_t(row)].local]; };
  Rows<std::int64_t> outputs(dispatcher.most_received(), cols, 2, -3);
  for (Index r = 0; r < dispatcher.received(); ++r)
    for (Index k = 0; k < cols; ++k) outputs(r, k) = received(r, k) + answer(r);
  auto const returned = [&](char const* how) {
    for (Index s = 0; s < dispatcher.slots(); ++s)
      for (Index k = 0; k < cols; ++k) {
        Index const pair = view.order[s];
        std::int64_t const sent = pair == no_slot ? 0 : value(me, pair, k) + 1000 * mine.ids[std::size_t(pair)];
        check(back(s, k) == sent, std::string("slot ") + std::to_string(s) + " comes back, " + how);
      }
    check(back(dispatcher.slots(), 0) == -7, std::string("no slot past the last, ") + how);
  };
  dispatcher.send_back(exec, outputs.view(), back.view());
  returned("sent back");

  dispatcher.plan(exec, policy, mine.id_view(), mine.weight_view());
  back = Rows<std::int64_t>(dispatcher.slots() + 1, cols, 0, -7);
  received = Rows<std::int64_t>(dispatcher.most_received(), cols, 1, -1);
  std::vector<int> computed(std::size_t(dispatcher.local_experts()));
  dispatcher.send_through(exec, slots.view(), received.view(), received.view(), back.view(), [&](DispatchSlice part) {
    check(part.first_row == offsets[std::size_t(part.first)] && part.end_row == offsets[std::size_t(part.end)],
          "slices");
    for (Index e = part.first; e < part.end; ++e) ++computed[std::size_t(e)];
    for (Index r = part.first_row; r < part.end_row; ++r)
      for (Index k = 0; k < cols; ++k) {
        check(received(r, k) == value(expected[std::size_t(r)].rank, expected[std::size_t(r)].pair, k),
              "slice arrives");
        received(r, k) += answer(r);
      }
  });
  check(computed == std::vector<int>(computed.size(), 1), "each expert computes once");
  returned("through slices");
}

/// Identity experts, combined: the bits of one rank that has the whole batch and drops by `policy`.
template <class D, class Comm, class Policy>
void combines_like_one_rank(D& dispatcher, Comm const& comm, Case const& c, Policy policy) {
  SerialExec const exec{1};
  Index const me = comm.rank(), E = c.topology.experts(), K = c.top_k, cols = 2;
  auto const all = c.choices();
  auto const& mine = all[std::size_t(me)];
  auto const x_of = [](Index rank, Index t, Index col) { return float(rank * 31 + t * 7 + col) / 13 - 3; };
  std::vector<ExpertId> ids;
  std::vector<float> weights, x;
  Index whole_first = 0, tokens = 0;
  for (Index q = 0; q < comm.size(); ++q) {
    auto const& choices = all[std::size_t(q)];
    if (q == me) whole_first = tokens;
    tokens += choices.tokens;
    ids.insert(ids.end(), choices.ids.begin(), choices.ids.end());
    weights.insert(weights.end(), choices.weights.begin(), choices.weights.end());
    for (Index t = 0; t < choices.tokens; ++t)
      for (Index col = 0; col < cols; ++col) x.push_back(x_of(q, t, col));
  }
  MatrixView<ExpertId const> const whole_ids(ids.data(), tokens, K);
  auto const whole = make_plan(exec, policy, E, whole_ids, MatrixView<float const>(weights.data(), tokens, K));
  std::vector<float> rows(std::size_t(whole.slots() * cols)), y(x.size());
  gather_into(exec, whole.view(), MatrixView<float const>(x.data(), tokens, cols),
              MatrixView<float>(rows.data(), whole.slots(), cols));
  combine_into(exec, whole.view(), MatrixView<float const>(rows.data(), whole.slots(), cols),
               MatrixView<float const>(weights.data(), tokens, K), MatrixView<float>(y.data(), tokens, cols));

  dispatcher.plan(exec, policy, mine.id_view(), mine.weight_view());
  for (Index t = 0; t < mine.tokens; ++t)
    for (Index k = 0; k < K; ++k)
      check((dispatcher.view().slot_of(t, k) == no_slot) == (whole.slot_of()(whole_first + t, k) == no_slot),
            "kept as on one rank");
  Rows<float> slots(dispatcher.slots(), cols, 0, 0), received(dispatcher.most_received(), cols, 0, 0),
      out(mine.tokens, cols, 0, 0);
  MatrixView<float const> const my_x(x.data() + whole_first * cols, mine.tokens, cols);
  gather_into(exec, dispatcher.view(), my_x, slots.view());
  dispatcher.send(exec, slots.view(), received.view());
  Index at = 0; // rows in the order of the whole batch's plan
  for (ExpertId const e : c.topology.experts_of(me)) {
    Index const n = whole.offsets()[e + 1] - whole.offsets()[e];
    check(n == 0 || std::memcmp(&received(at, 0), rows.data() + whole.offsets()[e] * cols,
                                std::size_t(n * cols) * sizeof(float)) == 0,
          "rows of expert " + std::to_string(e) + " as on one rank");
    at += n;
  }
  if constexpr (D::sends_tokens)
    for (int again = 0; again < 2; ++again) {
      Rows<float> same(dispatcher.received(), cols, 1, 0);
      dispatcher.send_tokens(exec, my_x, same.view());
      for (Index r = 0; r < dispatcher.received(); ++r)
        check(std::memcmp(&same(r, 0), &received(r, 0), std::size_t(cols) * sizeof(float)) == 0, "tokens sent once");
    }
  dispatcher.send_back(exec, received.view(), slots.view());
  combine_into(exec, dispatcher.view(), slots.view(), mine.weight_view(), out.view());
  check(mine.tokens == 0 || std::memcmp(&out(0, 0), y.data() + whole_first * cols,
                                        std::size_t(mine.tokens * cols) * sizeof(float)) == 0,
        "combined as on one rank");
}

/// Layouts for R ranks: uneven tokens, ranks without tokens or experts, owners and nodes in any order.
inline std::vector<Case> cases(Index R) {
  std::vector<Case> all;
  auto const tokens = [&](Index step, Index modulo) {
    std::vector<Index> t;
    for (Index r = 0; r < R; ++r) t.push_back(r * step % modulo);
    return t;
  };
  Index const per_node = R % 2 == 0 ? R / 2 : 0;
  all.push_back({Topology(TopologyShape{.experts = 2 * R, .ranks = R, .ranks_per_node = per_node}), tokens(0, 1), 1});
  all.push_back({Topology(TopologyShape{.experts = R, .ranks = R}), tokens(5, 7), 1});
  all.push_back({Topology(TopologyShape{.experts = 3 * R, .ranks = R, .ranks_per_node = R == 8 ? 2 : per_node}),
                 tokens(11, 13), 3 * R});
  all.push_back({Topology(TopologyShape{.experts = 4 * R, .ranks = R, .ranks_per_node = per_node}),
                 std::vector<Index>(std::size_t(R), 67), 3});
  std::vector<Index> owner, node; // 7 experts in no order, the last rank without any; nodes of 1 and more ranks
  for (Index e = 0; e < 7; ++e) owner.push_back(R == 1 ? 0 : (e * 5 + 3) % (R - 1));
  for (Index r = 0; r < R; ++r) node.push_back(R < 3 ? 0 : r % 3 == 1 ? 1 : 0);
  all.push_back({Topology(owner, node), tokens(29, 41), 2});
  std::vector<Index> const here(60, R - 1); // all with one rank
  all.push_back({Topology(here, node), tokens(3, 5), 4});
  return all;
}

template <class Comm, class Counts, class Path>
void dispatches(Comm const& comm, Counts counts, Path path, Index slices) {
  for (Case const& c : cases(comm.size())) {
    Dispatcher dispatcher(comm, c.topology, counts, path, {.slices = slices});
    if constexpr (std::same_as<Counts, FixedCapacity>) {
      PlanPolicy const policy{.drop = DropByPosition<>{}, .capacity = capacities::absolute(counts.slots)};
      rows_arrive_and_return(dispatcher, comm, c, policy);
      Dispatcher roomy(comm, c.topology, FixedCapacity{.slots = 80}, path, {.slices = slices});
      combines_like_one_rank(roomy, comm, c, PlanPolicy<>{});
    } else if constexpr (std::same_as<Counts, GroupCapacity>) {
      combines_like_one_rank(dispatcher, comm, c, PlanPolicy<>{});
      combines_like_one_rank(dispatcher, comm, c, PlanPolicy{.drop = DropByPosition<>{}, .capacity = counts.capacity});
      combines_like_one_rank(dispatcher, comm, c,
                             PlanPolicy{.drop = DropByPosition<ChoiceOrder::Equal>{}, .capacity = counts.capacity});
      combines_like_one_rank(dispatcher, comm, c, PlanPolicy{.drop = DropByPosition<>{}, .capacity = counts.capacity});
    } else {
      rows_arrive_and_return(dispatcher, comm, c, PlanPolicy<>{});
      rows_arrive_and_return(dispatcher, comm, c,
                             PlanPolicy{.drop = DropByProbability{}, .capacity = capacities::megatron(0.8)});
      combines_like_one_rank(dispatcher, comm, c, PlanPolicy<>{});
    }
  }
}

} // namespace dispatch_laws
