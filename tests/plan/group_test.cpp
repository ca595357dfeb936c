// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "plan/reference.hpp"
#include "support/serial_exec.hpp"

#include <moebal/plan/make_plan.hpp>

namespace mb = moebal;
using mb::ExpertId;
using mb::Index;
using moebal_test::SerialExec;

namespace {

mb::MatrixView<ExpertId const> ids_of(reference::Batch const& b) { return {b.ids.data(), b.tokens, b.top_k}; }
mb::MatrixView<float const> weights_of(reference::Batch const& b) { return {b.weights.data(), b.tokens, b.top_k}; }

struct Shape {
  Index tokens, top_k, experts;
};
std::vector<Shape> shapes() {
  std::vector<Shape> list;
  for (Index const E : {1, 3, 60, 160, 384})
    for (Index const T : {0, 1, 7, 4097})
      for (Index const K : {Index(1), std::min<Index>(E, 8), E})
        if (T * K < 50000) list.push_back({T, K, E});
  return list;
}

template <class V> std::vector<Index> copy(V const& v) { return {v.begin(), v.end()}; }

/// The plan against the reference, slot by slot, and every invariant.
void check(mb::Plan const& plan, std::vector<reference::Expert> const& expected, reference::Batch const& batch) {
  mb::validate(plan, ids_of(batch), batch.experts);
  std::vector<Index> order, offsets{0}, loads, kept, slot_of(batch.ids.size(), mb::no_slot);
  for (reference::Expert const& e : expected) {
    for (Index const pair : e.kept) {
      slot_of[std::size_t(pair)] = Index(order.size());
      order.push_back(pair);
    }
    offsets.push_back(Index(order.size()));
    loads.push_back(Index(e.all.size()));
    kept.push_back(Index(e.kept.size()));
  }
  BOOST_TEST((copy(plan.order()) == order));
  BOOST_TEST((copy(plan.offsets()) == offsets));
  BOOST_TEST((copy(plan.loads()) == loads));
  BOOST_TEST((copy(plan.kept()) == kept));
  BOOST_TEST((std::equal(slot_of.begin(), slot_of.end(), plan.slot_of().data())));
}

/// One policy on all shapes, several capacities, both orders of the slots, and several ways to cut the work.
template <mb::drop_policy Drop> void check_policy(Drop drop, reference::Policy policy, std::uint64_t seed = 0) {
  for (Shape const& s : shapes()) {
    auto const batch = reference::random_batch(s.tokens, s.top_k, s.experts, 17);
    for (Index const capacity : {Index(0), Index(1), s.tokens / 3 + 1}) {
      for (auto const order : {mb::SlotOrder::Token, mb::SlotOrder::Priority}) {
        BOOST_TEST_CONTEXT("T " << s.tokens << " K " << s.top_k << " E " << s.experts << " C " << capacity) {
          auto const expected = reference::plan(batch, policy, capacity, order == mb::SlotOrder::Priority, seed);
          mb::PlanPolicy const plan_policy{
              .drop = drop, .capacity = mb::capacities::absolute(capacity), .order = order};
          check(mb::make_plan(SerialExec{}, plan_policy, s.experts, ids_of(batch), weights_of(batch)), expected, batch);
          if (s.tokens < 1000) continue;
          for (SerialExec const& exec : {SerialExec{3}, SerialExec{64, true}})
            check(mb::make_plan(exec, plan_policy, s.experts, ids_of(batch), weights_of(batch)), expected, batch);
        }
      }
    }
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(plan_group)

BOOST_AUTO_TEST_CASE(a_hand_made_plan) {
  std::vector<ExpertId> const ids{2, 0, mb::no_expert, mb::no_expert, 0, 1, 2, 1}; // [4, 2]
  mb::Plan const plan = mb::make_plan(SerialExec{}, 3, mb::MatrixView<ExpertId const>(ids.data(), 4, 2));
  BOOST_TEST((copy(plan.offsets()) == std::vector<Index>{0, 2, 4, 6}));
  BOOST_TEST((copy(plan.order()) == std::vector<Index>{1, 4, 5, 7, 0, 6}));
  BOOST_TEST(plan.slot_of()(0, 0) == 4);
  BOOST_TEST(plan.slot_of()(1, 0) == mb::no_slot);
  BOOST_TEST(plan.slots() == 6);
}

BOOST_AUTO_TEST_CASE(nothing_dropped) { check_policy(mb::DropNone{}, reference::Policy::None); }
BOOST_AUTO_TEST_CASE(by_position_first_before_second) {
  check_policy(mb::DropByPosition<>{}, reference::Policy::PositionFirstBeforeSecond);
}
BOOST_AUTO_TEST_CASE(by_position_equal) {
  check_policy(mb::DropByPosition<mb::ChoiceOrder::Equal>{}, reference::Policy::PositionEqual);
}
BOOST_AUTO_TEST_CASE(by_probability) { check_policy(mb::DropByProbability{}, reference::Policy::Probability); }
BOOST_AUTO_TEST_CASE(by_priority_max) { check_policy(mb::DropBatchPrioritised{}, reference::Policy::PriorityMax); }
BOOST_AUTO_TEST_CASE(by_priority_sum) {
  check_policy(mb::DropBatchPrioritised{.priority = mb::TokenPriority::Sum}, reference::Policy::PrioritySum);
}
BOOST_AUTO_TEST_CASE(at_random) { check_policy(mb::DropRandom{.seed = 99}, reference::Policy::Random, 99); }

BOOST_AUTO_TEST_CASE(conservation_and_capacity) {
  for (Shape const& s : shapes()) {
    auto const batch = reference::random_batch(s.tokens, s.top_k, s.experts, 5);
    Index const padding = Index(std::count(batch.ids.begin(), batch.ids.end(), mb::no_expert));
    mb::Capacity const capacity = mb::capacities::megatron(0.75);
    Index const slots = capacity.slots({s.tokens, s.top_k, s.experts});
    auto const law = [&](auto drop) {
      mb::PlanPolicy const policy{.drop = drop, .capacity = capacity};
      mb::Plan const plan = mb::make_plan(SerialExec{}, policy, s.experts, ids_of(batch), weights_of(batch));
      mb::DropCounts const counts = mb::drop_counts(plan);
      BOOST_TEST(counts.kept + counts.dropped == s.tokens * s.top_k - padding);
      BOOST_TEST(counts.kept == plan.slots());
      BOOST_TEST(counts.rate() * double(counts.routed) == double(counts.dropped), boost::test_tools::tolerance(1e-12));
      for (Index e = 0; e < s.experts; ++e) {
        BOOST_TEST(plan.kept()[e] <= slots);
        BOOST_TEST(plan.kept()[e] == std::min(slots, plan.loads()[e])); // no slot stays empty while a pair is dropped
      }
      return counts.dropped;
    };
    // Whoever is dropped, the number is the same.
    Index const dropped = law(mb::DropByPosition<>{});
    BOOST_TEST(law(mb::DropByProbability{}) == dropped);
    BOOST_TEST(law(mb::DropBatchPrioritised{}) == dropped);
    BOOST_TEST(law(mb::DropRandom{1}) == dropped);
  }
}

BOOST_AUTO_TEST_CASE(causal_policies_do_not_look_ahead) {
  static_assert(mb::DropNone::causal && mb::DropByPosition<mb::ChoiceOrder::Equal>::causal);
  static_assert(!mb::DropByPosition<>::causal && !mb::DropByProbability::causal && !mb::DropBatchPrioritised::causal &&
                !mb::DropRandom::causal);
  auto const batch = reference::random_batch(64, 2, 4, 3);
  auto const fate = [&](auto drop, Index tokens) {
    mb::PlanPolicy const policy{.drop = drop, .capacity = mb::capacities::absolute(9)};
    mb::Plan const plan = mb::make_plan(SerialExec{}, policy, 4, mb::MatrixView(batch.ids.data(), tokens, 2),
                                        mb::MatrixView(batch.weights.data(), tokens, 2));
    std::vector<bool> kept;
    for (Index pair = 0; pair < 64; ++pair) kept.push_back(plan.slot_of().data()[pair] != mb::no_slot);
    return kept; // of the first 32 tokens
  };
  BOOST_TEST((fate(mb::DropByPosition<mb::ChoiceOrder::Equal>{}, 32) ==
              fate(mb::DropByPosition<mb::ChoiceOrder::Equal>{}, 64)));
  BOOST_TEST((fate(mb::DropByPosition<>{}, 32) != fate(mb::DropByPosition<>{}, 64)));
  BOOST_TEST((fate(mb::DropByProbability{}, 32) != fate(mb::DropByProbability{}, 64)));
  BOOST_TEST((fate(mb::DropBatchPrioritised{}, 32) != fate(mb::DropBatchPrioritised{}, 64)));
  BOOST_TEST((fate(mb::DropRandom{}, 32) != fate(mb::DropRandom{}, 64)));
}

BOOST_AUTO_TEST_CASE(random_depends_on_the_seed_and_is_fair) {
  // 1000 tokens, one expert, 250 slots: each quarter of the batch keeps about 62 (standard deviation below 7).
  std::vector<ExpertId> const ids(1000, 0);
  std::vector<float> const weights(1000, 1.0f);
  auto const quarters = [&](std::uint64_t seed) {
    mb::PlanPolicy const policy{.drop = mb::DropRandom{seed}, .capacity = mb::capacities::absolute(250)};
    mb::Plan const plan = mb::make_plan(SerialExec{}, policy, 1, mb::MatrixView<ExpertId const>(ids.data(), 1000, 1),
                                        mb::MatrixView<float const>(weights.data(), 1000, 1));
    std::vector<Index> count(4);
    for (Index const pair : plan.order()) ++count[std::size_t(pair / 250)];
    return std::pair{count, copy(plan.order())};
  };
  for (Index const n : quarters(1).first) BOOST_TEST((n > 35 && n < 90));
  BOOST_TEST((quarters(1).second != quarters(2).second));
}

// Tutel 82af7aad, extract_critical, T = 16, E = 8, K = 2, batch-prioritised: softmax scores of the chosen experts (4
// digits decide), ids and unclipped locations as its own code printed them.
BOOST_AUTO_TEST_CASE(tutel_locations) {
  int const ids[2][16] = {{7, 7, 3, 6, 7, 1, 3, 7, 0, 4, 7, 7, 2, 5, 4, 6},
                          {2, 6, 2, 0, 6, 6, 4, 5, 2, 2, 3, 0, 5, 6, 2, 3}};
  int const locations[2][16] = {{1, 4, 1, 0, 5, 0, 0, 0, 0, 0, 3, 2, 0, 0, 1, 1},
                                {2, 4, 3, 2, 5, 3, 2, 1, 4, 1, 2, 1, 2, 2, 5, 3}};
  float const first[16] = {0.414767f, 0.261918f, 0.315741f, 0.329625f, 0.213137f, 0.340847f, 0.408812f, 0.469083f,
                           0.307668f, 0.649208f, 0.356519f, 0.391398f, 0.207384f, 0.370196f, 0.279654f, 0.322794f};
  reference::Batch batch{16, 2, 8, {}, {}};
  for (int t = 0; t < 16; ++t)
    for (int k = 0; k < 2; ++k) {
      batch.ids.push_back(ids[k][t]);
      batch.weights.push_back(k == 0 ? first[t] : 0.0f);
    }
  for (Index const capacity : {Index(4), Index(100)}) {
    mb::PlanPolicy const policy{.drop = mb::DropBatchPrioritised{},
                                .capacity = mb::capacities::absolute(capacity),
                                .order = mb::SlotOrder::Priority};
    mb::Plan const plan = mb::make_plan(SerialExec{}, policy, 8, ids_of(batch), weights_of(batch));
    for (int t = 0; t < 16; ++t)
      for (int k = 0; k < 2; ++k) {
        Index const slot = plan.slot_of()(t, k);
        if (locations[k][t] < capacity)
          BOOST_TEST(slot - plan.offsets()[ids[k][t]] == locations[k][t]);
        else
          BOOST_TEST(slot == mb::no_slot);
      }
  }
}

// vmoe 942a78bc, _get_top_experts_per_item_common, T = 16, E = 8, K = 2, batch_priority: ids and buffer indices.
BOOST_AUTO_TEST_CASE(vmoe_buffer_index) {
  reference::Batch const batch{
      16,
      2,
      8,
      {7, 5, 6, 7, 7, 3, 2, 7, 3, 0, 6, 2, 2, 0, 7, 6, 4, 5, 3, 2, 6, 2, 7, 5, 2, 1, 3, 0, 7, 5, 5, 7},
      {0.27637f, 0.24068f, 0.27356f, 0.23113f, 0.24651f, 0.16369f, 0.44060f, 0.11246f, 0.32240f, 0.23964f, 0.34774f,
       0.28434f, 0.29676f, 0.20638f, 0.30521f, 0.17610f, 0.40970f, 0.15268f, 0.40300f, 0.28218f, 0.47362f, 0.16880f,
       0.30455f, 0.21930f, 0.29119f, 0.26055f, 0.32788f, 0.20851f, 0.41218f, 0.15102f, 0.65469f, 0.10109f}};
  int const buffer[32] = {3, 4, 2, 7, 4, 3, 0, 6, 2, 1, 1, 5, 1, 2, 1, 3,
                          0, 2, 0, 4, 0, 3, 2, 3, 2, 0, 1, 0, 0, 1, 0, 5};
  mb::PlanPolicy const policy{
      .drop = mb::DropBatchPrioritised{}, .capacity = mb::capacities::absolute(100), .order = mb::SlotOrder::Priority};
  mb::Plan const plan = mb::make_plan(SerialExec{}, policy, 8, ids_of(batch), weights_of(batch));
  for (Index pair = 0; pair < 32; ++pair)
    BOOST_TEST(plan.slot_of().data()[pair] - plan.offsets()[batch.ids[std::size_t(pair)]] == buffer[pair]);
}

BOOST_AUTO_TEST_CASE(only_the_experts_that_live_here) {
  Index const T = 301, K = 4, E = 12;
  auto const batch = reference::random_batch(T, K, E, 8);
  std::vector<ExpertId> local(12, mb::no_expert); // experts 3, 7 and 8 live here, as 2, 0 and 1
  local[3] = 2, local[7] = 0, local[8] = 1;
  mb::ExpertMap<> const map{local, 3};
  mb::PlanPolicy const policy{.drop = mb::DropByPosition<>{}, .capacity = mb::capacities::megatron(0.9)};
  mb::Plan const plan = mb::make_plan(SerialExec{}, policy, E, ids_of(batch), weights_of(batch), map);
  mb::validate(plan, ids_of(batch), E, map);
  // The same pairs, in the same order, as in the plan of all experts: the capacity divides by E.
  mb::Plan const all = mb::make_plan(SerialExec{}, policy, E, ids_of(batch), weights_of(batch));
  BOOST_TEST(plan.experts() == 3);
  for (Index const e : {3, 7, 8}) {
    Index const here = local[std::size_t(e)];
    BOOST_TEST((copy(plan.order().part(plan.offsets()[here], plan.kept()[here])) ==
                copy(all.order().part(all.offsets()[e], all.kept()[e]))));
    BOOST_TEST(plan.loads()[here] == all.loads()[e]);
  }
}

BOOST_AUTO_TEST_CASE(rows_that_lie_apart) {
  auto const batch = reference::random_batch(97, 3, 5, 4);
  std::vector<ExpertId> wide(97 * 7, 1);
  std::vector<float> wide_weights(97 * 5, 9.0f);
  for (Index t = 0; t < 97; ++t)
    for (Index k = 0; k < 3; ++k) {
      wide[std::size_t(t * 7 + k)] = batch.ids[std::size_t(t * 3 + k)];
      wide_weights[std::size_t(t * 5 + k)] = batch.weights[std::size_t(t * 3 + k)];
    }
  mb::PlanPolicy const policy{.drop = mb::DropByProbability{}, .capacity = mb::capacities::absolute(20)};
  mb::Plan plan(97, 3, 5, 97 * 3);
  std::vector<Index> wide_slots(97 * 4, 77);
  mb::PlanTarget<> target = plan.target();
  target.slot_of = {wide_slots.data(), 97, 3, 4};
  mb::Workspace workspace(mb::plan_workspace_bytes(SerialExec{}, policy, 97, 3, 5));
  mb::plan_into(SerialExec{}, policy, 5, mb::MatrixView<ExpertId>(wide.data(), 97, 3, 7),
                mb::MatrixView<float>(wide_weights.data(), 97, 3, 5), target, workspace);
  mb::validate(target, ids_of(batch), 5);
  mb::Plan const tight = mb::make_plan(SerialExec{}, policy, 5, ids_of(batch), weights_of(batch));
  BOOST_TEST((copy(plan.order()) == copy(tight.order())));
  for (Index t = 0; t < 97; ++t)
    BOOST_TEST(wide_slots[std::size_t(t * 4 + 3)] == 77); // nothing written between the rows
}

BOOST_AUTO_TEST_CASE(memory_that_was_used_before) {
  auto const batch = reference::random_batch(301, 3, 5, 4); // a fifth is padding, so `order` has a tail
  mb::PlanPolicy const policy{.drop = mb::DropByPosition<>{}, .capacity = mb::capacities::absolute(100)};
  std::vector<Index> offsets(6, 7), order(1000, 7), slot_of(903, 7), loads(5, 7), kept(5, 7);
  mb::PlanTarget<> const target{offsets, order, {slot_of.data(), 301, 3}, loads, kept};
  mb::Workspace workspace(mb::plan_workspace_bytes(SerialExec{}, policy, 301, 3, 5));
  mb::plan_into(SerialExec{}, policy, 5, ids_of(batch), weights_of(batch), target, workspace);
  mb::validate(target, ids_of(batch), 5);
  mb::Plan const fresh = mb::make_plan(SerialExec{}, policy, 5, ids_of(batch), weights_of(batch));
  BOOST_TEST(fresh.slots() < 903);
  BOOST_TEST((std::equal(slot_of.begin(), slot_of.end(), fresh.slot_of().data())));

  std::vector<Index> wide_offsets(6, 7), wide_order(1000, 7), wide_slot_of(903, 7), wide_loads(5, 7), wide_kept(5, 7);
  mb::PlanTarget<> const wide{wide_offsets, wide_order, {wide_slot_of.data(), 301, 3}, wide_loads, wide_kept};
  mb::align_into(SerialExec{}, {.block = 8}, target, wide);
  mb::validate(wide, ids_of(batch), 5);
}

BOOST_AUTO_TEST_CASE(ids_out_of_range_go_nowhere_in_the_unchecked_form) {
  std::vector<ExpertId> const ids{0, 1000, -7, 1, 2147483647, -2147483647 - 1};
  mb::Plan plan(6, 1, 2, 6);
  mb::Workspace workspace(mb::plan_workspace_bytes(SerialExec{}, mb::PlanPolicy<>{}, 6, 1, 2));
  mb::group_into(SerialExec{}, 2, mb::MatrixView<ExpertId const>(ids.data(), 6, 1), plan.target(), workspace);
  mb::validate(plan);
  BOOST_TEST((copy(plan.order()) == std::vector<Index>{0, 3}));
}

BOOST_AUTO_TEST_CASE(takes_what_a_router_answers) {
  mb::Routing<double> routing(5, 2);
  for (Index t = 0; t < 5; ++t)
    for (Index k = 0; k < 2; ++k) {
      routing.expert_ids()(t, k) = ExpertId((t + k) % 3);
      routing.weights()(t, k) = 1.0 / double(1 + t + k);
    }
  mb::PlanPolicy const policy{.drop = mb::DropByProbability{}, .capacity = mb::capacities::absolute(2)};
  mb::Plan const plan = mb::make_plan(SerialExec{}, policy, 3, routing);
  mb::validate(plan, routing.expert_ids(), 3);
  BOOST_TEST((copy(plan.order()) == std::vector<Index>{0, 5, 1, 2, 3, 4})); // expert 0: pairs 0, 5, 6; the weakest goes
  mb::Plan other(5, 2, 3, 10);
  mb::Workspace workspace(mb::plan_workspace_bytes<double>(SerialExec{}, policy, 5, 2, 3));
  mb::plan_into(SerialExec{}, policy, 3, routing.view(), other.target(), workspace);
  BOOST_TEST((copy(other.order()) == copy(plan.order())));
}

BOOST_AUTO_TEST_CASE(refuses) {
  auto const says = [](char const* text) {
    return [text](mb::ShapeError const& e) { return std::string(e.what()).find(text) != std::string::npos; };
  };
  std::vector<ExpertId> const ids{0, 1, 1, 0};
  mb::MatrixView<ExpertId const> const view(ids.data(), 2, 2);
  std::vector<float> const weights(4);
  mb::MatrixView<float const> const w(weights.data(), 2, 2);
  mb::Workspace workspace(1 << 16);
  mb::Plan plan(2, 2, 2, 4), small(2, 2, 2, 3), other(2, 1, 2, 4), more(2, 2, 3, 4);
  SerialExec const exec;
  BOOST_CHECK_EXCEPTION(mb::group_into(exec, 2, view, small.target(), workspace), mb::ShapeError,
                        says("size of plan.order [T K]: needed at least 4, had 3"));
  BOOST_CHECK_EXCEPTION(mb::group_into(exec, 2, view, other.target(), workspace), mb::ShapeError,
                        says("columns of plan.slot_of [T, K]: needed 2, had 1"));
  BOOST_CHECK_EXCEPTION(mb::group_into(exec, 2, view, more.target(), workspace), mb::ShapeError,
                        says("size of plan.offsets [E + 1]: needed 3, had 4"));
  BOOST_CHECK_EXCEPTION(mb::group_into(exec, 2, view, plan.target(), mb::WorkspaceView<>{}), mb::ShapeError,
                        says("workspace bytes: needed at least"));
  mb::PlanPolicy const by_weight{.drop = mb::DropByProbability{}};
  BOOST_CHECK_EXCEPTION(mb::plan_into(exec, by_weight, 2, view, mb::MatrixView<float>{}, plan.target(), workspace),
                        mb::ShapeError, says("rows of the weights [T, K]: needed 2, had 0"));
  std::vector<ExpertId> const short_map{0};
  BOOST_CHECK_EXCEPTION(mb::group_into(exec, 2, view, plan.target(), workspace, {short_map, 2}), mb::ShapeError,
                        says("size of the expert map [E]: needed 2, had 1"));
  // The workspace is exactly as large as it says.
  std::size_t const bytes = mb::plan_workspace_bytes(exec, by_weight, 2, 2, 2);
  mb::Workspace exact(bytes);
  mb::plan_into(exec, by_weight, 2, view, w, plan.target(), exact);
  mb::WorkspaceView<> whole = exact;
  mb::WorkspaceView<> const less(whole.take<std::byte>(1), bytes - 1);
  BOOST_CHECK_EXCEPTION(mb::plan_into(exec, by_weight, 2, view, w, plan.target(), less), mb::ShapeError,
                        says("workspace bytes"));
}

BOOST_AUTO_TEST_SUITE_END()
