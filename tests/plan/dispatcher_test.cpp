// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "plan/dispatch_laws.hpp"
#include "support/allocations.hpp"
#include <moebal/comm/recording.hpp>
#include <moebal/comm/threads.hpp>
#include <moebal/laws/differences.hpp>

#include <numeric>

using namespace moebal;
using namespace dispatch_laws;

namespace {

template <class F> void on_ranks(F const& f) {
  for (Index const ranks : {1, 2, 3, 4, 8}) BOOST_TEST_CONTEXT("ranks " << ranks) {
      BOOST_CHECK_NO_THROW(run_ranks(ranks, f));
    }
}

/// Ranks whose exchanges of rows are wrong in one way.
enum class Fault { None, SwappedCounts, WrongOffset, LostRow, RowTwice };
template <Fault fault> struct Faulty : Threads {
  template <class T>
  Request start_all_to_all_v(MatrixView<T const> send, VectorView<Index const> send_rows, MatrixView<T> receive,
                             VectorView<Index const> receive_rows) const {
    Index const rows = std::accumulate(send_rows.begin(), send_rows.end(), Index(0));
    if (!std::same_as<T, std::byte> || fault == Fault::None || rows < 2)
      return Threads::start_all_to_all_v(send, send_rows, receive, receive_rows);
    if (fault == Fault::SwappedCounts) return Threads::start_all_to_all_v(send, receive_rows, receive, send_rows);
    std::vector<T> copy; // Threads has taken it when the start returns
    for (Index r = 0; r < rows; ++r) {
      Index const from = fault == Fault::WrongOffset ? (r + 1) % rows : fault == Fault::RowTwice ? (r == 1 ? 0 : r) : r;
      copy.insert(copy.end(), send.row(from), send.row(from) + send.cols());
      if (fault == Fault::LostRow && r == rows - 1) std::fill(copy.end() - send.cols(), copy.end(), T{});
    }
    return Threads::start_all_to_all_v(MatrixView<T const>(copy.data(), rows, send.cols()), send_rows, receive,
                                       receive_rows);
  }
};

template <Fault fault> bool is_caught(Index ranks) {
  try {
    run_ranks(ranks, [](auto const& threads) {
      Communicator const comm(Faulty<fault>{threads.backend()});
      dispatches(comm, ExactCounts{}, path::Flat{}, 1);
    });
  } catch (Caught const&) {
    return true;
  } catch (CommError const&) {
    return true; // ranks that do not agree on rows
  }
  return false;
}

} // namespace

BOOST_AUTO_TEST_SUITE(plan_dispatcher)

BOOST_AUTO_TEST_CASE(exact_counts) {
  for (Index const slices : {1, 3}) on_ranks([&](auto comm) { dispatches(comm, ExactCounts{}, path::Flat{}, slices); });
}
BOOST_AUTO_TEST_CASE(many_experts_and_tokens) {
  std::vector<Index> owner;
  for (Index e = 0; e < 384; ++e) owner.push_back(e * 5 % 7 % 3);
  Case const c{Topology(owner, std::vector<Index>{0, 1, 0}), {4097, 0, 7}, 8};
  BOOST_CHECK_NO_THROW(run_ranks(3, [&](auto comm) {
    Dispatcher dispatcher(comm, c.topology, ExactCounts{}, path::BetweenFirst{}, {.slices = 5});
    PlanPolicy const policy{.drop = DropBatchPrioritised{}, .capacity = capacities::deepspeed(1.1)};
    rows_arrive_and_return(dispatcher, comm, c, policy);
    combines_like_one_rank(dispatcher, comm, c, PlanPolicy<>{});
  }));
}
BOOST_AUTO_TEST_CASE(fixed_capacity) {
  for (Index const slots : {1, 4})
    on_ranks([&](auto comm) { dispatches(comm, FixedCapacity{slots}, path::Flat{}, slots); });
}
BOOST_AUTO_TEST_CASE(group_capacity) {
  for (double const factor : {0.0, 0.5, 1.0})
    on_ranks([&](auto comm) {
      dispatches(comm, GroupCapacity{capacities::megatron(factor)}, path::Flat{}, 2);
      dispatches(comm, GroupCapacity{capacities::megatron(factor, 3)}, path::BetweenFirst{}, 1);
    });
  on_ranks([&](auto comm) { dispatches(comm, GroupCapacity{capacities::largest_load()}, path::InsideFirst{}, 1); });
}
BOOST_AUTO_TEST_CASE(mutants_are_caught) {
  BOOST_TEST(!is_caught<Fault::None>(3));
  BOOST_TEST(is_caught<Fault::SwappedCounts>(3));
  BOOST_TEST(is_caught<Fault::WrongOffset>(3));
  BOOST_TEST(is_caught<Fault::LostRow>(3));
  BOOST_TEST(is_caught<Fault::RowTwice>(3));
}

// y = sum over k of w a_e x^2, loss = the sum of u y over all ranks: every derivative goes over the ranks and back.
BOOST_AUTO_TEST_CASE(gradients_of_the_whole_way) {
  on_ranks([](auto comm) {
    SerialExec const exec{1};
    Index const R = comm.size(), me = comm.rank(), E = R + 1, K = 2, D = 2;
    std::vector<Index> owner, node(std::size_t(R), 0);
    for (Index e = 0; e < E; ++e) owner.push_back((e * 3 + 1) % R);
    Dispatcher dispatcher(comm, Topology(owner, node), ExactCounts{}, path::Flat{}, {.slices = 2});
    auto const tokens_of = [](Index r) { return (r + 1) % 3; }; // some ranks have none
    Choices const mine(tokens_of(me), K, E, 5 + me);
    std::vector<Index> first{0};
    for (Index r = 0; r < R; ++r) first.push_back(first.back() + tokens_of(r));
    Index const T = first.back(), mine_first = first[std::size_t(me)];
    // x [T, D], w [T, K], a [E] of all ranks
    std::vector<double> numbers;
    for (Index i = 0; i < T * (D + K) + E; ++i) numbers.push_back(0.3 + 0.1 * double(i * 7 % 11));
    auto const u = [](Index t, Index d) { return 0.5 + 0.25 * double((t * 3 + d) % 5); };
    dispatcher.plan(exec, mine.id_view());
    auto const plan = dispatcher.view();
    Index const n = dispatcher.received(), local = dispatcher.local_experts();
    auto const experts = dispatcher.topology().experts_of(me);
    Rows<double> slots(dispatcher.slots(), D, 0, 0), received(n, D, 0, 0), out(n, D, 0, 0), y(mine.tokens, D, 0, 0);
    auto const forward = [&](std::vector<double> const& v) {
      MatrixView<double const> const x(v.data() + mine_first * D, mine.tokens, D);
      MatrixView<double const> const w(v.data() + T * D + mine_first * K, mine.tokens, K);
      gather_into(exec, plan, x, slots.view());
      dispatcher.send(exec, slots.view(), received.view());
      for (Index e = 0; e < local; ++e)
        for (Index r = dispatcher.offsets()[e]; r < dispatcher.offsets()[e + 1]; ++r)
          for (Index d = 0; d < D; ++d)
            out(r, d) = v[std::size_t(T * (D + K) + experts[e])] * received(r, d) * received(r, d);
      dispatcher.send_back(exec, out.view(), slots.view());
      combine_into(exec, plan, slots.view(), w, y.view());
      std::vector<double> loss{0};
      for (Index t = 0; t < mine.tokens; ++t)
        for (Index d = 0; d < D; ++d) loss[0] += u(mine_first + t, d) * y(t, d);
      comm.all_reduce_sum(loss);
      return loss[0];
    };
    forward(numbers);
    std::vector<double> gradient(numbers.size());
    MatrixView<double> const d_x(gradient.data() + mine_first * D, mine.tokens, D);
    MatrixView<double> const d_w(gradient.data() + T * D + mine_first * K, mine.tokens, K);
    MatrixView<double const> const w(numbers.data() + T * D + mine_first * K, mine.tokens, K);
    Rows<double> d_y(mine.tokens, D, 0, 0), d_slots(dispatcher.slots(), D, 0, 0), d_out(n, D, 0, 0);
    for (Index t = 0; t < mine.tokens; ++t)
      for (Index d = 0; d < D; ++d) d_y(t, d) = u(mine_first + t, d);
    combine_backward_into(exec, plan, slots.view(), w, d_y.view(), d_slots.view(), d_w);
    dispatcher.send(exec, d_slots.view(), d_out.view());
    for (Index e = 0; e < local; ++e)
      for (Index r = dispatcher.offsets()[e]; r < dispatcher.offsets()[e + 1]; ++r)
        for (Index d = 0; d < D; ++d) {
          auto const a = std::size_t(T * (D + K) + experts[e]);
          gradient[a] += d_out(r, d) * received(r, d) * received(r, d);
          d_out(r, d) *= 2 * numbers[a] * received(r, d);
        }
    dispatcher.send_back(exec, d_out.view(), d_slots.view());
    scatter_into(exec, Scatter::Sum, plan, d_slots.view(), d_x);
    comm.all_reduce_sum(gradient); // each number has one rank that knows its slope
    laws::Findings findings;
    laws::expect_gradient(findings, "gradients", "dispatch", forward, numbers, gradient);
    check(findings.violations().empty(), "gradients are central differences");
  });
}

BOOST_AUTO_TEST_CASE(moves_allocate_nothing_twice) {
  Communicator<Self> const comm;
  SerialExec const exec{1};
  for (Index const slices : {1, 2}) {
    Dispatcher dispatcher(comm, topology_of(comm, 6), ExactCounts{}, path::Flat{}, {.slices = slices});
    Choices const choices(40, 2, 6, 1);
    Rows<float> slots(80, 5, 0, 1), received(80, 5, 0, 0);
    PlanPolicy const policy{.drop = DropByPosition<>{}, .capacity = capacities::megatron(1.0)};
    std::int64_t before = 0;
    for (int step = 0; step < 3; ++step) {
      if (step == 1) before = moebal_test::allocations();
      dispatcher.plan(exec, policy, choices.id_view(), choices.weight_view());
      dispatcher.send(exec, slots.view(), received.view());
      dispatcher.send_back(exec, received.view(), slots.view());
      dispatcher.send_through(exec, slots.view(), received.view(), received.view(), slots.view(), [](DispatchSlice) {});
    }
    BOOST_TEST(moebal_test::allocations() == before);
  }
}

BOOST_AUTO_TEST_CASE(misuse_is_refused) {
  Communicator<Self> const comm;
  SerialExec const exec{1};
  auto const says = [](std::string const& words) {
    return [words](Error const& error) { return std::string(error.what()).find(words) != std::string::npos; };
  };
  Topology const two(TopologyShape{.experts = 4, .ranks = 2});
  BOOST_CHECK_EXCEPTION(Dispatcher(comm, two), ShapeError,
                        says("ranks of a dispatcher's topology (as of its communicator): needed 1, had 2"));
  BOOST_CHECK_EXCEPTION(Dispatcher(comm, topology_of(comm, 4), ExactCounts{}, path::Flat{}, {.slices = 0}), ShapeError,
                        says("slices of a dispatcher: needed at least 1, had 0"));
  BOOST_CHECK_EXCEPTION(Dispatcher(comm, topology_of(comm, 4), FixedCapacity{}), ShapeError,
                        says("slots of a fixed capacity: needed at least 1, had 0"));
  Dispatcher dispatcher(comm, topology_of(comm, 4));
  Rows<float> rows(6, 3, 0, 0), few(5, 3, 0, 0), narrow(6, 2, 0, 0);
  BOOST_CHECK_EXCEPTION(dispatcher.send(exec, rows.view(), rows.view()), StateError, says("needed a plan, had none"));
  BOOST_CHECK_EXCEPTION(dispatcher.offsets(), StateError, says("needed a plan, had none"));
  std::vector<ExpertId> const ids{0, 1, 3, 2, 0, 3};
  MatrixView<ExpertId const> const choices(ids.data(), 3, 2);
  dispatcher.plan(exec, choices);
  BOOST_CHECK_EXCEPTION(dispatcher.send(exec, few.view(), rows.view()), ShapeError,
                        says("rows of slots: needed at least 6, had 5"));
  BOOST_CHECK_EXCEPTION(dispatcher.send(exec, rows.view(), few.view()), ShapeError,
                        says("rows of received: needed at least 6, had 5"));
  BOOST_CHECK_EXCEPTION(dispatcher.send(exec, rows.view(), narrow.view()), ShapeError,
                        says("bytes of a row that is received (as sent): needed 12, had 8"));
  BOOST_CHECK_EXCEPTION(dispatcher.send_back(exec, few.view(), rows.view()), ShapeError,
                        says("rows of outputs: needed at least 6, had 5"));
  BOOST_CHECK_EXCEPTION(dispatcher.slice(1), ShapeError, says("slice: needed 0 to 0, had 1"));
  Dispatcher tight(comm, topology_of(comm, 4), FixedCapacity{.slots = 1});
  BOOST_CHECK_EXCEPTION(tight.plan(exec, choices), ShapeError,
                        says("pairs of expert 0 with a fixed capacity and no drops: needed 0 to 1, had 2"));
}

// What goes over the wire: E counts and the rows; with a fixed capacity the counts too, but nobody waits for them.
BOOST_AUTO_TEST_CASE(one_collective_before_the_rows) {
  run_ranks(3, [](auto const& threads) {
    Communicator const comm(Recording(threads.backend()));
    auto& record = comm.backend().record();
    SerialExec const exec{1};
    Choices const mine(20, 2, 6, comm.rank());
    Rows<float> slots(60, 4, 0, 0), received(1000, 4, 0, 0);
    auto const log = [&](auto& dispatcher) {
      record.reset();
      dispatcher.plan(exec, PlanPolicy{.drop = DropByPosition<>{}, .capacity = capacities::megatron(2)}, mine.id_view(),
                      mine.weight_view());
      dispatcher.send(exec, slots.view(), received.view());
      return std::vector<CommCall>(record.log().begin(), record.log().end());
    };
    Dispatcher exact(comm, topology_of(comm, 6));
    auto const calls = log(exact);
    check(calls ==
              std::vector<CommCall>{{CommVerb::all_to_all_v, 6, 8}, {CommVerb::all_to_all_v, exact.slots() * 16, 1}},
          "exact");
    Dispatcher fixed(comm, topology_of(comm, 6), FixedCapacity{.slots = 5});
    check(log(fixed) == std::vector<CommCall>{{CommVerb::all_to_all_v, 6, 8}, {CommVerb::all_to_all_v, 30 * 16, 1}},
          "fixed");
    Dispatcher two(comm, topology_of(comm, 6), ExactCounts{}, path::InsideFirst{});
    check(log(two)[0] == CommCall{CommVerb::all_gather, 6, 8} && log(two).size() == 3, "two hops");
  });
}

BOOST_AUTO_TEST_CASE(the_next_slice_is_under_way_while_one_is_computed) {
  BOOST_CHECK_NO_THROW(run_ranks(2, [](auto const& threads) {
    Communicator const comm(Recording(threads.backend()));
    auto& record = comm.backend().record();
    SerialExec const exec{1};
    Choices const mine(20, 2, 8, comm.rank());
    Dispatcher dispatcher(comm, topology_of(comm, 8), ExactCounts{}, path::Flat{}, {.slices = 3});
    dispatcher.plan(exec, mine.id_view());
    Rows<float> slots(dispatcher.slots(), 4, 0, 0), received(dispatcher.received(), 4, 0, 0), answers = slots;
    record.reset();
    Index s = 0;
    dispatcher.send_through(exec, slots.view(), received.view(), received.view(), answers.view(), [&](DispatchSlice) {
      check(record.calls() == std::min<Index>(s + 2, 3) + s, "started before slice " + std::to_string(s));
      ++s;
    });
    check(s == 3 && record.calls() == 6, "three slices there and back");
  }));
}

BOOST_AUTO_TEST_CASE(two_levels) {
  on_ranks([](auto comm) { dispatches(comm, ExactCounts{}, path::BetweenFirst{}, 2); });
  on_ranks([](auto comm) { dispatches(comm, ExactCounts{}, path::InsideFirst{}, 1); });
  on_ranks([](auto comm) { dispatches(comm, FixedCapacity{3}, path::InsideFirst{}, 2); });
}

BOOST_AUTO_TEST_SUITE_END()
