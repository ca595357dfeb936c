// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "support/serial_exec.hpp"

#include <moebal/plan/make_plan.hpp>

#include <functional>

namespace mb = moebal;
using mb::ExpertId;
using mb::Index;
using moebal_test::SerialExec;

namespace {
auto says(std::string text) {
  return [text](mb::ShapeError const& e) {
    bool const found = std::string(e.what()).find(text) != std::string::npos;
    if (!found) BOOST_TEST_MESSAGE("it said: " << e.what());
    return found;
  };
}
std::vector<ExpertId> const good{2, 0, mb::no_expert, mb::no_expert, 0, 1, 2, 1}; // [4, 2]
mb::MatrixView<ExpertId const> view(std::vector<ExpertId> const& ids, Index cols = 2) {
  return {ids.data(), Index(ids.size()) / cols, cols};
}
} // namespace

BOOST_AUTO_TEST_SUITE(plan_validate)

BOOST_AUTO_TEST_CASE(ids) {
  mb::validate_ids(view(good), 3);
  mb::validate_ids(mb::MatrixView<ExpertId const>{}, 3);
  BOOST_CHECK_EXCEPTION(mb::validate_ids(view({0, 1, 1, 3}), 3), mb::ShapeError,
                        says("expert id of token 1, choice 1: needed 0 to 2, or -1 for none, had 3"));
  BOOST_CHECK_EXCEPTION(mb::validate_ids(view({0, 1, -2, 2}), 3), mb::ShapeError,
                        says("expert id of token 1, choice 0"));
  BOOST_CHECK_EXCEPTION(mb::validate_ids(view({0, 1, 2, 2}), 3), mb::ShapeError,
                        says("expert id of token 1, choice 1: needed ids that differ, had 2 again"));
  BOOST_CHECK_EXCEPTION(mb::validate_ids(view({0, 1, 2, 0, 1, 0}, 3), 3), mb::ShapeError,
                        says("expert id of token 1, choice 2"));
  mb::validate_ids(view({0, 1, 2, 2, 1, 0}, 3), 3); // the same id in two tokens is fine
  mb::validate_ids(view({-1, -1, -1, 2, 1, -1}, 3), 3);
  BOOST_CHECK_EXCEPTION(mb::make_plan(SerialExec{}, 2, view(good)), mb::ShapeError,
                        says("expert id of token 0, choice 0"));
}

/// Breaks one thing of a good plan; it must be named.
BOOST_AUTO_TEST_CASE(a_broken_plan_is_named) {
  struct Case {
    char const* text;
    std::function<void(mb::PlanTarget<>&)> damage;
  };
  Case const cases[] = {
      {"plan.offsets[0]: needed 0, had 1", [](auto& p) { p.offsets[0] = 1; }},
      {"slots of expert 0 of the plan", [](auto& p) { p.offsets[1] = -1; }},
      {"slots of expert 2 of the plan", [](auto& p) { p.offsets[3] = 9; }},
      {"kept pairs of expert 1: needed 0 to 2, had 3", [](auto& p) { p.kept[1] = 3; }},
      {"pairs that chose expert 1: needed at least 2, had 1", [](auto& p) { p.loads[1] = 1; }},
      {"pair in slot 2 of expert 1: needed 0 to 7, had 8", [](auto& p) { p.order[2] = 8; }},
      {"pair in slot 2 of expert 1: needed 0 to 7, had -1", [](auto& p) { p.order[2] = mb::no_slot; }},
      {"slot of pair 1: needed 1, had 0", [](auto& p) { p.order[1] = 1; }},
      {"slot of pair 5: needed 2, had 3", [](auto& p) { p.slot_of(2, 1) = 3; }},
      {"pairs with a slot: needed 6, had 7", [](auto& p) { p.slot_of(1, 0) = 0; }},
      {"slot 6 past the end: needed -1, had 2", [](auto& p) { p.order[6] = 2; }},
      {"filler slot 3 of expert 1: needed -1, had 7", [](auto& p) { p.kept[1] = 1; }},
  };
  for (Case const& c : cases) {
    mb::Plan plan(4, 2, 3, 8);
    mb::Workspace workspace(mb::plan_workspace_bytes(SerialExec{}, mb::PlanPolicy<>{}, 4, 2, 3));
    mb::PlanTarget<> target = plan.target();
    mb::group_into(SerialExec{}, 3, view(good), target, workspace);
    mb::validate(target, view(good), 3);
    c.damage(target);
    BOOST_TEST_CONTEXT(c.text) { BOOST_CHECK_EXCEPTION(mb::validate(target), mb::ShapeError, says(c.text)); }
  }
}

BOOST_AUTO_TEST_CASE(a_plan_of_other_ids_is_named) {
  mb::Plan const plan = mb::make_plan(SerialExec{}, 3, view(good));
  auto other = good;
  std::swap(other[0], other[5]); // pairs 0 and 5 change experts, counts stay
  BOOST_CHECK_EXCEPTION(mb::validate(plan, view(other), 3), mb::ShapeError, says("slot of pair 0"));
  auto padded = good;
  padded[6] = mb::no_expert;
  BOOST_CHECK_EXCEPTION(mb::validate(plan, view(padded), 3), mb::ShapeError,
                        says("slot of pair 6, which has no expert here: needed -1, had 5"));
  BOOST_CHECK_EXCEPTION(mb::validate(plan, view(good), 4), mb::ShapeError,
                        says("experts of the plan: needed 4, had 3"));
}

BOOST_AUTO_TEST_SUITE_END()
