// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/core/workspace.hpp>

#include <cstdint>
#include <string>

using namespace moebal;

BOOST_AUTO_TEST_SUITE(core_workspace)

BOOST_AUTO_TEST_CASE(pieces_are_aligned_and_apart) {
  Workspace workspace(1000);
  BOOST_TEST(workspace.bytes() == 1024u);
  WorkspaceView<> view = workspace;
  auto* const a = view.take<char>(3);
  auto* const b = view.take<double>(9);
  auto* const c = view.take<int>(0);
  auto* const d = view.take<int>(1);
  for (void const* p : {static_cast<void const*>(a), static_cast<void const*>(b), static_cast<void const*>(d)})
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(p) % 64 == 0u);
  BOOST_TEST(reinterpret_cast<char*>(b) - a == 64);
  BOOST_TEST(reinterpret_cast<char*>(d) - reinterpret_cast<char*>(b) == 128);
  BOOST_TEST(static_cast<void*>(c) == static_cast<void*>(d)); // nothing takes nothing
}

BOOST_AUTO_TEST_CASE(it_refuses_when_it_runs_out) {
  Workspace workspace(128);
  WorkspaceView<> view = workspace;
  view.take<double>(5);
  WorkspaceView<> copy = view; // a copy takes from where it stands
  BOOST_CHECK_NO_THROW(copy.take<double>(8));
  BOOST_CHECK_EXCEPTION(view.take<double>(9), ShapeError, [](ShapeError const& e) {
    return std::string(e.what()) == "moebal: workspace bytes: needed at least 192, had 128";
  });
  BOOST_CHECK_NO_THROW(view.take<double>(8)); // a refusal takes nothing
  BOOST_CHECK_THROW(WorkspaceView<>().take<char>(1), ShapeError);
  BOOST_CHECK_NO_THROW(WorkspaceView<>().take<char>(0));
}

BOOST_AUTO_TEST_CASE(it_grows_and_never_shrinks) {
  Workspace workspace;
  BOOST_TEST(workspace.bytes() == 0u);
  workspace.reserve(65);
  BOOST_TEST(workspace.bytes() == 128u);
  workspace.reserve(3);
  BOOST_TEST(workspace.bytes() == 128u);
}

BOOST_AUTO_TEST_SUITE_END()
