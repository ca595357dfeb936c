// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The executions that the suites run on: those that the build found, and each with the primitives of an execution.
#include "support/test.hpp"

#include "backend/same_as_eigen.hpp"
#include "support/executions.hpp"

#include <sstream>

namespace {
struct Tiles {
  using real = float;
  std::int64_t* rows; // [2] taken one by one, and in tiles
  template <class Lanes> void operator()(Lanes const&, std::byte*, moebal::Index, moebal::Index) const { ++rows[0]; }
  template <class Tile> void tile(Tile, std::byte*, moebal::Index, moebal::Index) const { rows[1] += Tile::rows; }
};
} // namespace

BOOST_AUTO_TEST_SUITE(support_executions)

BOOST_AUTO_TEST_CASE(none_is_missing) {
  std::istringstream expected(MOEBAL_TEST_EXPECTED); // names with a comma between
  for (std::string name; std::getline(expected, name, ',');) {
    bool here = false;
    for (auto const& exec : moebal_test::other_executions()) here = here || exec.name() == name;
    BOOST_TEST(here, "no " << name);
  }
}

BOOST_AUTO_TEST_CASE(primitives) {
  backend_test::lawful_primitives(moebal::laws::AnyExec("CPU", moebal::EigenExec{}));
  for (auto const& exec : moebal_test::other_executions())
    BOOST_TEST_CONTEXT(exec.name()) backend_test::lawful_primitives(exec);
}

BOOST_AUTO_TEST_CASE(tiles_of_rows_arrive_as_tiles) {
  std::int64_t plain[2] = {}, held[2] = {};
  moebal::EigenExec{}.for_rows(37, 0, moebal::WorkspaceView<>{}, Tiles{plain});
  moebal::laws::AnyExec("CPU", moebal::EigenExec{}).for_rows(37, 0, moebal::WorkspaceView<>{}, Tiles{held});
  BOOST_TEST(held[0] == plain[0]);
  BOOST_TEST(held[1] == plain[1]);
  BOOST_TEST(plain[0] + plain[1] == 37);
}

BOOST_AUTO_TEST_SUITE_END()
