// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/refusal.hpp"
#include "support/test.hpp"

#include <moebal/core/random.hpp>
#include <moebal/plan/step_time.hpp>

#include <vector>

using namespace moebal;
using namespace moebal::cost;

namespace {

/// Rows from rank to rank.
struct Rows {
  Index ranks;
  std::vector<std::int64_t> rows = std::vector<std::int64_t>(std::size_t(ranks * ranks), 0);
  std::int64_t& operator()(Index from, Index to) { return rows[std::size_t(from * ranks + to)]; }
  MatrixView<std::int64_t const> view() const { return {rows.data(), ranks, ranks}; }
};
Rows drawn(Index ranks, std::uint64_t seed) {
  Rows t{ranks};
  for (std::size_t i = 0; i < t.rows.size(); ++i) t.rows[i] = std::int64_t(random::bits(seed, i) % 100);
  return t;
}
// Inside a node: 1 s, half a second a message, 10 bytes a second; between: 5 s, 2 s, 2 bytes a second.
Network small() { return {.rank = {0, 0, 100}, .node = {1, 0.5, 10}, .between = {5, 2, 2}}; }
Topology two_by_two() { return Topology({.experts = 4, .ranks = 4, .ranks_per_node = 2}); }

template <class F> void on_each_path(F f) {
  f(path::Flat{});
  f(path::InsideFirst{});
  f(path::BetweenFirst{});
}

auto const exactly = boost::test_tools::tolerance(1e-12);

} // namespace

BOOST_AUTO_TEST_SUITE(plan_step_time)

BOOST_AUTO_TEST_CASE(exchange_by_hand) {
  Rows t{4};
  t(0, 0) = 50, t(0, 1) = 20, t(0, 2) = 3, t(0, 3) = 4, t(1, 0) = 30;
  Network network = small();
  // Rank 0, rows of 2 bytes: copies 100 B (1 s); inside it receives more, 60 B, 1 message (1 + 6.5 s); between it sends
  // 14 B, 2 messages (5 + 4 + 7 s).
  BOOST_TEST(exchange_seconds(network, two_by_two(), t.view(), 2) == 5 + 11, exactly);
  // One processor: inside 50 B and a message on the mean of both directions (5.5 s), between 7 B and a message (5.5 s).
  network.levels = Levels::InTurn;
  BOOST_TEST(exchange_seconds(network, two_by_two(), t.view(), 2) == 5 + 1 + 5.5 + 5.5, exactly);
  network.between = {0, 0, 2}; // 7 s
  network.levels = Levels::Together;
  BOOST_TEST(exchange_seconds(network, two_by_two(), t.view(), 2) == 7.5, exactly);
}

BOOST_AUTO_TEST_CASE(two_levels_by_hand) {
  Rows t{4};
  t(0, 2) = 3, t(0, 3) = 4, t(1, 3) = 8, t(0, 1) = 5;
  // First: 0 -> 1 the 4 rows for rank 3 and the 5 for rank 1, 9 B: 2.4 s; copies 0.08 s at most. Then 0 -> 2 3 B, 8.5 s,
  // and 1 -> 3 the 12 rows, 13 s.
  BOOST_TEST(exchange_seconds(small(), two_by_two(), t.view(), 1, path::InsideFirst{}) == 2.4 + 13, exactly);
}

BOOST_AUTO_TEST_CASE(a_shared_way_out) {
  Rows t{4};
  t(0, 2) = 10, t(1, 3) = 6;
  Network network = small();
  BOOST_TEST(exchange_seconds(network, two_by_two(), t.view(), 1) == 7 + 5, exactly);
  network.uplink = Uplink::OfNode;
  BOOST_TEST(exchange_seconds(network, two_by_two(), t.view(), 1) == 7 + 8, exactly);
}

BOOST_AUTO_TEST_CASE(two_levels_are_one_where_there_is_one) {
  Network network = small();
  network.rank = {};
  for (Index per_node : {1, 6}) {
    Topology const topology({.experts = 6, .ranks = 6, .ranks_per_node = per_node});
    Rows const t = drawn(6, 3);
    BOOST_TEST(exchange_seconds(network, topology, t.view(), 4, path::InsideFirst{}) ==
                   exchange_seconds(network, topology, t.view(), 4),
               exactly);
  }
}

BOOST_AUTO_TEST_CASE(nodes_of_unequal_size) { // 3 ranks: nodes {0, 1} and {2}; place 1 is not on node 1
  std::vector<Index> const experts{0, 1, 2}, nodes{0, 0, 1};
  Topology const topology(experts, nodes);
  Rows t{3};
  t(2, 1) = 4, t(2, 0) = 2;
  BOOST_TEST(exchange_seconds(small(), topology, t.view(), 1, path::InsideFirst{}) == 0.06 + 5 + 4 + 3, exactly);
}

BOOST_AUTO_TEST_CASE(all_reduce_by_hand) {
  Network network = small();
  // 8 ranks on 4 nodes, 20 bytes: 1 step inside (3.5 s), 2 between (17 s each).
  BOOST_TEST(all_reduce_seconds(network, {8, 2}, 20) == 3.5 + 2 * 17, exactly);
  BOOST_TEST(all_reduce_seconds(network, {6, 2}, 20) == 3.5 + 2 * 17, exactly); // 3 nodes take the steps of 4
  BOOST_TEST(all_reduce_seconds(network, {8, 2}, 16, AllReduce::Ring) == 14 * (7 + 1), exactly);
  BOOST_TEST(all_reduce_seconds(network, {8, 8}, 16, AllReduce::Ring) == 14 * (1.5 + 0.2), exactly);
  BOOST_TEST(all_reduce_seconds(network, {1, 1}, 16) == 0);
  BOOST_TEST(all_reduce_seconds(network, {1, 1}, 16, AllReduce::Ring) == 0);
  network.uplink = Uplink::OfNode;
  BOOST_TEST(all_reduce_seconds(network, {8, 2}, 20) == 3.5 + 2 * 27, exactly);
  BOOST_TEST(all_reduce_seconds(network, {16384, 8}, 0) == 3 * 1.5 + 11 * 7, exactly);
}

BOOST_AUTO_TEST_CASE(compute_by_hand) {
  Processor const processor{.flops = 1000, .start_rows = 10};
  std::vector<std::int64_t> const load{90, 0, 40, 50}; // two ranks of two experts
  Topology const topology({.experts = 4, .ranks = 2});
  // Rank 0: (90 + 10) rows, its second expert idle; rank 1: 50 + 60 = 110 rows. 20 FLOP each.
  BOOST_TEST(compute_seconds(processor, topology, load, 20) == 2.2, exactly);
}

BOOST_AUTO_TEST_CASE(step_by_hand) {
  Machine const machine{.network = small(), .processor = {.flops = 1e3}};
  Expert const expert{.width = 2, .hidden = 5, .matrices = 3, .element_bytes = 4}; // 8 B, 60 FLOP a row
  std::vector<std::int64_t> const load{50, 100, 0, 0};
  Rows t{4};
  t(0, 2) = 1, t(1, 2) = 2; // 24 B into rank 2, 2 messages: 21 s either way
  Step step{.layers = 3,
            .micro_batches = 2,
            .statistics = {.messages = 6, .bytes = 20, .hidden = 15},
            .gradient_bytes = 8,
            .other = 1};
  StepTime const time = step_time(machine, two_by_two(), expert, load, t.view(), step);
  BOOST_TEST(time.compute == 6 * 3 * 6.0, exactly);
  BOOST_TEST(time.dispatch == 6 * 2 * 21.0, exactly);
  BOOST_TEST(time.combine == time.dispatch, exactly);
  BOOST_TEST(time.statistics == 6 * (3.5 + 17 - 15.0), exactly);
  BOOST_TEST(time.gradients == 6 * (7 + 1.0), exactly);
  BOOST_TEST(time.total() == time.compute + time.exchange() + time.statistics + time.gradients + 1, exactly);
  step.pass = Pass::Forward;
  step.statistics.hidden = 100; // all of it is hidden, no more
  StepTime const forward = step_time(machine, two_by_two(), expert, load, t.view(), step);
  BOOST_TEST(forward.compute == time.compute / 3, exactly);
  BOOST_TEST(forward.dispatch == time.dispatch / 2, exactly);
  BOOST_TEST(forward.statistics == 0);
  StepTime const nothing =
      step_time(machine, two_by_two(), expert, std::vector<std::int64_t>{0, 0, 0, 0}, Rows{4}.view());
  BOOST_TEST(nothing.total() == 0);
}

BOOST_AUTO_TEST_CASE(slower_machines_are_slower) {
  Topology const topology({.experts = 8, .ranks = 8, .ranks_per_node = 4});
  on_each_path([&](auto path) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed)
      for (Levels const levels : {Levels::Together, Levels::InTurn}) {
        Rows const t = drawn(8, seed);
        Network network = small();
        network.levels = levels;
        auto const seconds = [&](Network const& n) { return exchange_seconds(n, topology, t.view(), 3, path); };
        double const before = seconds(network);
        for (Link Network::*link : {&Network::rank, &Network::node, &Network::between}) {
          Network worse = network;
          (worse.*link).latency += 1;
          BOOST_TEST(seconds(worse) >= before);
          worse = network;
          (worse.*link).message += 1;
          BOOST_TEST(seconds(worse) >= before);
          worse = network;
          (worse.*link).bandwidth /= 2;
          BOOST_TEST(seconds(worse) >= before);
        }
        network.uplink = Uplink::OfNode;
        BOOST_TEST(seconds(network) >= before);
      }
  });
}

// Rows that stay in their rank cost nothing where copies are free, whatever the way.
BOOST_AUTO_TEST_CASE(staying_in_the_rank_is_never_slower) {
  Topology const topology({.experts = 6, .ranks = 6, .ranks_per_node = 2});
  Network network = small();
  network.rank = {};
  for (std::uint64_t seed = 1; seed <= 20; ++seed)
    on_each_path([&](auto path) {
      Rows t = drawn(6, seed);
      double before = exchange_seconds(network, topology, t.view(), 3, path);
      for (Index from = 0; from < 6; ++from)
        for (Index to = 0; to < 6; ++to) {
          if (from == to) continue;
          t(from, from) += t(from, to), t(from, to) = 0;
          double const now = exchange_seconds(network, topology, t.view(), 3, path);
          BOOST_TEST(now <= before * (1 + 1e-12));
          before = now;
        }
      BOOST_TEST(before == 0);
    });
}

// All ranks alike: the more of a rank's rows stay in its node, the faster.
BOOST_AUTO_TEST_CASE(more_locality_is_faster) {
  Topology const topology({.experts = 8, .ranks = 8, .ranks_per_node = 4});
  Network network = small();
  network.levels = Levels::InTurn;
  on_each_path([&](auto path) {
    double before = std::numeric_limits<double>::infinity();
    for (Index away = 1000; away >= 100; away -= 100) { // rows to each rank of the other node
      Rows t{8};
      for (Index from = 0; from < 8; ++from)
        for (Index to = 0; to < 8; ++to) t(from, to) = from / 4 == to / 4 ? 2000 - away : away;
      double const now = exchange_seconds(network, topology, t.view(), 1, path);
      BOOST_TEST(now < before);
      before = now;
    }
  });
}

// Links are alike in both directions, so the way back over the hops in reverse takes as long.
BOOST_AUTO_TEST_CASE(there_and_back_are_alike) {
  Topology const topology({.experts = 6, .ranks = 6, .ranks_per_node = 2});
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Rows t = drawn(6, seed), back{6};
    for (Index from = 0; from < 6; ++from)
      for (Index to = 0; to < 6; ++to) back(to, from) = t(from, to);
    BOOST_TEST(exchange_seconds(small(), topology, t.view(), 3) == exchange_seconds(small(), topology, back.view(), 3),
               exactly);
    BOOST_TEST(exchange_seconds(small(), topology, t.view(), 3, path::InsideFirst{}) ==
                   exchange_seconds(small(), topology, back.view(), 3, path::BetweenFirst{}),
               exactly);
  }
}

BOOST_AUTO_TEST_CASE(balance_is_never_slower) {
  Topology const topology({.experts = 8, .ranks = 4});
  Processor const processor{.flops = 100, .start_rows = 3};
  double before = 0;
  for (std::int64_t more = 0; more <= 100; more += 20) { // from the others to the first, 800 rows in all
    std::vector<std::int64_t> load(8, 100 - more / 4);
    load[0] += 2 * more;
    double const now = compute_seconds(processor, topology, load, 2);
    BOOST_TEST(now >= before);
    before = now;
  }
}

BOOST_AUTO_TEST_CASE(refusals) {
  Topology const topology = two_by_two();
  std::vector<std::int64_t> const load(4, 1), short_load(3, 1);
  Rows t{4}, three{3};
  Machine machine;
  Network& network = machine.network;
  network.between.bandwidth = 0;
  BOOST_TEST(refusal([&] { exchange_seconds(network, topology, t.view(), 1); }) ==
             "moebal: bandwidth between nodes: needed more than 0 bytes a second, had 0.000000");
  network.between.bandwidth = 1, network.node.latency = -1;
  BOOST_TEST(refusal([&] { all_reduce_seconds(network, {4, 2}, 1); }) ==
             "moebal: latency inside a node: needed a finite number of seconds of at least 0, had -1.000000");
  network.node = {0, -2, 1};
  BOOST_TEST(refusal([&] { all_reduce_seconds(network, {4, 2}, 1); }) ==
             "moebal: time of a message inside a node: needed at least 0 seconds, had -2.000000");
  network.node.message = 0;
  BOOST_TEST(refusal([&] { exchange_seconds(network, topology, three.view(), 1); }) ==
             "moebal: traffic [R, R], rows: needed 4, had 3");
  BOOST_TEST(refusal([&] { all_reduce_seconds(network, {6, 4}, 1); }) ==
             "moebal: ranks of an all-reduce modulo ranks a node: needed 0, had 2");
  BOOST_TEST(refusal([&] { step_time(machine, topology, {}, short_load, t.view()); }) ==
             "moebal: load [E]: needed 4, had 3");
  t(1, 2) = -1;
  BOOST_TEST(refusal([&] { step_time(machine, topology, {}, load, t.view()); }) ==
             "moebal: rows of traffic: needed at least 0, had -1");
  machine.processor.flops = 0;
  BOOST_TEST(refusal([&] { step_time(machine, topology, {}, load, t.view()); }) ==
             "moebal: FLOP a second of a rank: needed more than 0, had 0.000000");
}

BOOST_AUTO_TEST_SUITE_END()
