// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "../../examples/locality/paper.hpp"
#include "../../examples/locality/svg.hpp"

using namespace locality;
using namespace locality::paper;

BOOST_AUTO_TEST_SUITE(examples_locality)

// All that nodes send, and all that experts are meant to get.
BOOST_AUTO_TEST_CASE(exchanges_have_the_wanted_sums) {
  for (Index nodes : {8, 16, 32})
    for (Habit habit : {Habit{0, 0}, Habit{0.5, 0}, Habit{0.9, 0.2}, Habit{1, 0}, Habit{0, 0.8}}) {
      Exchange const e = exchange_of(nodes, habit);
      double const load = double(nodes) * tokens_of_node / 16 * (1 + habit.vio);
      BOOST_TEST(double(e.load[0]) == load, boost::test_tools::tolerance(1e-5));
      for (Index n = 0; n < nodes; ++n) {
        std::int64_t out = 0, in = 0, here = 0;
        for (Index m = 0; m < nodes; ++m) {
          BOOST_TEST(e.rows[std::size_t(n * nodes + m)] >= 0);
          out += e.rows[std::size_t(n * nodes + m)], in += e.rows[std::size_t(m * nodes + n)];
        }
        for (moebal::ExpertId const expert : e.topology.experts_of(n)) here += e.load[std::size_t(expert)];
        BOOST_TEST(double(out) == tokens_of_node, boost::test_tools::tolerance(0.02));
        BOOST_TEST(double(in) == double(here), boost::test_tools::tolerance(0.02));
        double const kept = double(e.rows[std::size_t(n * nodes + n)]);
        if (e.topology.experts_of(n).size() == 0)
          BOOST_TEST(kept == 0);
        else if (habit.stays > 0.2)
          BOOST_TEST(kept >= 0.8 * habit.stays * tokens_of_node);
      }
    }
}

BOOST_AUTO_TEST_CASE(savings) {
  Shares const shares{0.25, 0.3};
  for (Index nodes : {8, 16, 32}) {
    BOOST_TEST(std::abs(saving(nodes, {}, {}, shares)) < 1e-9);
    BOOST_TEST(saving(nodes, {}, {0, 0.3}, shares) < 0);
    double before = -1;
    for (double stays = 0.2; stays < 1; stays += 0.2) {
      double const now = saving(nodes, {}, {stays, 0}, shares);
      BOOST_TEST(now > before);
      before = now;
    }
    double const stays = stays_for(0.1, nodes, {}, 0, shares);
    if (stays <= 1) BOOST_TEST(saving(nodes, {}, {stays, 0}, shares) == 0.1, boost::test_tools::tolerance(1e-3));
    double const vio = vio_limit(nodes, {}, 0.5, shares);
    BOOST_TEST(std::abs(saving(nodes, {}, {0.5, vio}, shares)) < 1e-4);
  }
  BOOST_TEST(saving(8, {}, {1, 0}, shares) == 0.25, boost::test_tools::tolerance(1e-3)); // nothing is sent
  BOOST_TEST(saving(32, {}, {1, 0}, shares) < 0.5 * 0.25); // nodes without experts send all
  BOOST_TEST(stays_for(0.3, 8, {}, 0, shares) > 1);
}

BOOST_AUTO_TEST_CASE(long_lines_are_whole) {
  svg::Series line{.name = "n", .colour = "#000", .points = {}};
  for (int i = 0; i <= 100; ++i) line.points.emplace_back(0.01 * i, 0.5);
  std::string const text = svg::draw({{.title = "t", .x = {"x"}, .y = {"y"}, .series = {line}}});
  BOOST_TEST(std::count(text.begin(), text.end(), 'L') == 100);
  BOOST_TEST(text.substr(text.size() - 7) == "</svg>\n");
}

BOOST_AUTO_TEST_SUITE_END()
