// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/refusal.hpp"
#include "support/test.hpp"

#include <moebal/comm/threads.hpp>
#include <moebal/communicator.hpp>
#include <moebal/core/topology.hpp>

#include <stdexcept>
#include <string>
#include <vector>

using namespace moebal;

namespace {
std::vector<ExpertId> experts_of(Topology const& topology, Index rank) {
  auto const view = topology.experts_of(rank);
  return {view.begin(), view.end()};
}
} // namespace

BOOST_AUTO_TEST_SUITE(core_topology)

BOOST_AUTO_TEST_CASE(one_of_everything) {
  Topology const topology;
  BOOST_TEST(topology.experts() == 1);
  BOOST_TEST(topology.ranks() == 1);
  BOOST_TEST(topology.nodes() == 1);
  BOOST_TEST(topology.node_of(0) == 0);
}

BOOST_AUTO_TEST_CASE(uniform_blocks) {
  Topology const topology(TopologyShape{.experts = 60, .ranks = 6, .ranks_per_node = 2});
  BOOST_TEST(topology.experts() == 60);
  BOOST_TEST(topology.ranks() == 6);
  BOOST_TEST(topology.nodes() == 3);
  for (ExpertId e = 0; e < 60; ++e) {
    BOOST_TEST(topology.rank_of(e) == e / 10);
    BOOST_TEST(topology.node_of(e) == e / 20);
  }
  for (Index r = 0; r < 6; ++r) {
    BOOST_TEST(topology.node_of_rank(r) == r / 2);
    auto const mine = topology.experts_of(r);
    BOOST_TEST(mine.size() == 10);
    for (Index i = 0; i < mine.size(); ++i) BOOST_TEST(mine[i] == 10 * r + i);
  }
  BOOST_TEST(Topology(TopologyShape{.experts = 60, .ranks = 6}).nodes() == 1);
}

BOOST_AUTO_TEST_CASE(named_owners) {
  std::vector<Index> const rank_of_expert{2, 0, 2, 0, 3}, node_of_rank{1, 0, 0, 1};
  Topology const topology(rank_of_expert, node_of_rank);
  BOOST_TEST(topology.nodes() == 2);
  BOOST_TEST(experts_of(topology, 0) == (std::vector<ExpertId>{1, 3}), boost::test_tools::per_element());
  BOOST_TEST(experts_of(topology, 1).empty());
  BOOST_TEST(experts_of(topology, 2) == (std::vector<ExpertId>{0, 2}), boost::test_tools::per_element());
  BOOST_TEST(experts_of(topology, 3) == (std::vector<ExpertId>{4}), boost::test_tools::per_element());
  BOOST_TEST(topology.node_of(0) == 0);
  BOOST_TEST(topology.node_of(1) == 1);
  BOOST_TEST(topology.node_of(4) == 1);
}

BOOST_AUTO_TEST_CASE(a_uniform_layout_is_the_same_as_its_tables) {
  Topology const uniform(TopologyShape{.experts = 12, .ranks = 4, .ranks_per_node = 2});
  BOOST_CHECK(uniform == Topology(uniform.rank_of_expert(), uniform.node_of_rank()));
  BOOST_CHECK(!(uniform == Topology(TopologyShape{.experts = 12, .ranks = 4})));
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  BOOST_TEST(refusal([] { Topology(TopologyShape{.experts = 10, .ranks = 4}); }) ==
             "moebal: experts of a uniform topology (else pass the owner of each): needed a multiple of 4, had 10");
  BOOST_TEST(refusal([] { Topology(TopologyShape{.experts = 12, .ranks = 4, .ranks_per_node = 3}); }) ==
             "moebal: ranks of a uniform topology (else pass the node of each): needed a multiple of 3, had 4");
  BOOST_TEST(refusal([] { Topology(TopologyShape{.experts = 0}); }) ==
             "moebal: experts of a topology: needed at least 1, had 0");
  BOOST_TEST(refusal([] { Topology(TopologyShape{.ranks = 0}); }) ==
             "moebal: ranks of a topology: needed at least 1, had 0");
  std::vector<Index> const one_node{0, 0}, gap{0, 2, 0};
  BOOST_TEST(refusal([&] { Topology(std::vector<Index>{0, 2}, one_node); }) ==
             "moebal: rank that holds an expert: needed 0 to 1, had 2");
  BOOST_TEST(refusal([&] { Topology(std::vector<Index>{0}, gap); }) ==
             "moebal: ranks of node 1: needed at least 1 (nodes are numbered from 0), had 0");
  BOOST_TEST(refusal([&] { Topology(std::vector<Index>{}, one_node); }) != "");
  BOOST_TEST(refusal([&] { Topology(std::vector<Index>{0}, std::vector<Index>{-1}); }) != "");
}

BOOST_AUTO_TEST_CASE(look_ups_check_their_argument) {
  Topology const topology(TopologyShape{.experts = 4, .ranks = 2});
  BOOST_TEST(refusal([&] { (void)topology.rank_of(4); }) == "moebal: expert: needed 0 to 3, had 4");
  BOOST_TEST(refusal([&] { (void)topology.node_of(no_expert); }) == "moebal: expert: needed 0 to 3, had -1");
  BOOST_TEST(refusal([&] { (void)topology.node_of_rank(2); }) == "moebal: rank: needed 0 to 1, had 2");
  BOOST_TEST(refusal([&] { (void)topology.experts_of(-1); }) == "moebal: rank: needed 0 to 1, had -1");
}

BOOST_AUTO_TEST_CASE(from_a_communicator) {
  BOOST_CHECK(topology_of(Communicator<Self>{}, 7) == Topology(TopologyShape{.experts = 7}));
  run_ranks(
      4,
      [](Communicator<Threads> const& comm) {
        if (!(topology_of(comm, 8) == Topology(TopologyShape{.experts = 8, .ranks = 4, .ranks_per_node = 2})))
          throw std::logic_error("topology of a communicator");
      },
      {.ranks_per_node = 2});
}

BOOST_AUTO_TEST_SUITE_END()
