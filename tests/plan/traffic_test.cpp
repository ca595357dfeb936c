// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Counted by hand, and as a dispatcher sends.
#include "support/test.hpp"

#include "plan/dispatch_laws.hpp"
#include <moebal/comm/threads.hpp>
#include <moebal/plan/traffic.hpp>

#include <numeric>

using namespace moebal;
using namespace dispatch_laws;

namespace {

std::vector<std::int64_t> matrix(Traffic const& traffic) {
  auto const rows = traffic.rows();
  return {rows.data(), rows.data() + rows.rows() * rows.cols()};
}

/// Writes down how many rows of bytes go to each rank.
struct Counting : Threads {
  std::shared_ptr<std::vector<std::int64_t>> sent;

  template <class T>
  Request start_all_to_all_v(MatrixView<T const> send, VectorView<Index const> send_rows, MatrixView<T> receive,
                             VectorView<Index const> receive_rows) const {
    if (std::same_as<T, std::byte>)
      for (Index r = 0; r < size(); ++r) (*sent)[std::size_t(rank() * size() + r)] += send_rows[r];
    return Threads::start_all_to_all_v(send, send_rows, receive, receive_rows);
  }
};

template <class Comm, class Path> void as_sent(Comm const& threads, Path path) {
  SerialExec const exec{1};
  Index const R = threads.size(), cells = R * R;
  for (Case const& c : cases(R)) {
    Communicator const comm(
        Counting{threads.backend(), std::make_shared<std::vector<std::int64_t>>(std::size_t(cells), 0)});
    auto& sent = *comm.backend().sent;
    Choices const mine = c.choices()[std::size_t(comm.rank())];
    PlanPolicy const policy{.drop = DropByPosition<>{}, .capacity = capacities::megatron(1.0)};
    Plan const plan = make_plan(exec, policy, c.topology.experts(), mine.id_view(), mine.weight_view());
    Dispatcher dispatcher(comm, c.topology, ExactCounts{}, path);
    dispatcher.plan(exec, policy, mine.id_view(), mine.weight_view());
    Rows<float> x(mine.tokens, 2, 0, 1), slots(dispatcher.slots(), 2, 0, 1), received(dispatcher.received(), 2, 0, 0);
    for (TrafficRows const what : {TrafficRows::Pairs, TrafficRows::Tokens}) {
      Traffic traffic(c.topology);
      traffic.add(comm.rank(), plan, mine.id_view(), path, what);
      traffic.all_reduce_sum(comm);
      std::fill(sent.begin(), sent.end(), 0);
      if (what == TrafficRows::Pairs)
        dispatcher.send(exec, slots.view(), received.view());
      else
        dispatcher.send_tokens(exec, x.view(), received.view());
      comm.all_reduce_sum(sent);
      check(matrix(traffic) == sent, "traffic is what is sent");
      std::fill(sent.begin(), sent.end(), 0);
      dispatcher.send_back(exec, received.view(), slots.view());
      comm.all_reduce_sum(sent);
      if (what == TrafficRows::Pairs)
        for (Index from = 0; from < R; ++from)
          for (Index to = 0; to < R; ++to)
            check(traffic.rows()(from, to) == sent[std::size_t(to * R + from)], "and back the other way");
    }
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(plan_traffic)

// 4 ranks on 2 nodes, 8 experts: experts 0 1 | 2 3 || 4 5 | 6 7. Tokens lie on rank 1.
BOOST_AUTO_TEST_CASE(by_hand) {
  Topology const topology(TopologyShape{.experts = 8, .ranks = 4, .ranks_per_node = 2});
  std::vector<ExpertId> const ids{4,         5, 7, // rank 2 twice and rank 3: one row to node 1 where tokens go once
                                  0,         2, no_expert, // rank 0 and rank 1
                                  no_expert, 6, 2};        // rank 3 and rank 1
  MatrixView<ExpertId const> const choices(ids.data(), 3, 3);
  auto const count = [&](auto path, TrafficRows what) {
    Traffic traffic(topology);
    traffic.add(1, choices, path, what);
    return traffic;
  };
  using Matrix = std::vector<std::int64_t>;
  BOOST_TEST(matrix(count(path::Flat{}, TrafficRows::Pairs)) ==
             (Matrix{0, 0, 0, 0, 1, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0}));
  BOOST_TEST(matrix(count(path::Flat{}, TrafficRows::Tokens)) ==
             (Matrix{0, 0, 0, 0, 1, 2, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0}));
  // Inside first: over rank 0 to ranks 0 and 2, over rank 1 to ranks 1 and 3.
  BOOST_TEST(matrix(count(path::InsideFirst{}, TrafficRows::Pairs)) ==
             (Matrix{1, 0, 2, 0, 3, 4 + 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0}));
  // Between first: to rank 3, which passes on to rank 2.
  Traffic const between = count(path::BetweenFirst{}, TrafficRows::Pairs);
  BOOST_TEST(matrix(between) == (Matrix{0, 0, 0, 0, 1, 3 + 2, 0, 4, 0, 0, 0, 0, 0, 0, 2, 2}));
  Traffic const once = count(path::BetweenFirst{}, TrafficRows::Tokens);
  BOOST_TEST(matrix(once) == (Matrix{0, 0, 0, 0, 1, 2 + 2, 0, 2, 0, 0, 0, 0, 0, 0, 2, 2}));
  BOOST_TEST((between.sums() == TrafficSums{.inside_rank = 7, .inside_node = 3, .between_nodes = 4}));
  BOOST_TEST((once.sums() * 10 == TrafficSums{.inside_rank = 60, .inside_node = 30, .between_nodes = 20}));
  BOOST_TEST((once.sums() * 10).total() == 110);
}

BOOST_AUTO_TEST_CASE(is_what_a_dispatcher_sends) {
  for (Index const ranks : {1, 3, 4, 8})
    BOOST_CHECK_NO_THROW(run_ranks(ranks, [](auto comm) {
      as_sent(comm, path::Flat{});
      as_sent(comm, path::InsideFirst{});
      as_sent(comm, path::BetweenFirst{});
    }));
}

BOOST_AUTO_TEST_CASE(misuse_is_refused) {
  Traffic traffic(Topology(TopologyShape{.experts = 4, .ranks = 2}));
  std::vector<ExpertId> const ids{0, 4};
  auto const says = [](std::string const& words) {
    return [words](Error const& error) { return std::string(error.what()).find(words) != std::string::npos; };
  };
  BOOST_CHECK_EXCEPTION(traffic.add(0, MatrixView<ExpertId const>(ids.data(), 1, 2)), ShapeError,
                        says("expert id of token 0, choice 1: needed 0 to 3, or -1 for none, had 4"));
  BOOST_CHECK_EXCEPTION(traffic.add(2, MatrixView<ExpertId const>(ids.data(), 1, 1)), ShapeError,
                        says("rank of the tokens of a traffic matrix: needed 0 to 1, had 2"));
  BOOST_CHECK_EXCEPTION(traffic.all_reduce_sum(Communicator<Self>{}), ShapeError,
                        says("ranks of a traffic matrix (as of its communicator): needed 1, had 2"));
}

BOOST_AUTO_TEST_SUITE_END()
