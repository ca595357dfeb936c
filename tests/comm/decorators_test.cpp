// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Backends around backends: recording.hpp and delayed.hpp.
#include "support/refusal.hpp"
#include "support/test.hpp"

#include "comm/conformance.hpp"
#include <moebal/comm/delayed.hpp>
#include <moebal/comm/recording.hpp>
#include <moebal/comm/self.hpp>
#include <moebal/comm/threads.hpp>
#include <moebal/communicator.hpp>

#include <boost/test/data/test_case.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace moebal;
using namespace std::chrono_literals;
namespace data = boost::unit_test::data;

static_assert(comm_backend<Delayed<Recording<Threads>>>);
static_assert(std::is_same_v<decltype(Delayed(Recording(Self{}))), Delayed<Recording<Self>>>);

namespace {

using Clock = std::chrono::steady_clock;
using conformance_cases::check;

CommCall call(CommVerb verb, Index elements, Index element_bytes) { return {verb, elements, element_bytes}; }
constexpr auto sum = CommVerb::all_reduce_sum;

template <class Request> void poll(Request& request) {
  while (!request.done()) std::this_thread::sleep_for(1ms);
}

} // namespace

BOOST_AUTO_TEST_SUITE(comm_decorators)

BOOST_DATA_TEST_CASE(recording_conforms, data::make({1, 2, 3, 4, 8}), ranks) {
  run_ranks(ranks, [](Communicator<Threads> comm) { conformance(Communicator(Recording(comm.backend()))); },
            {.ranks_per_node = 2});
}

BOOST_DATA_TEST_CASE(delayed_conforms, data::make({1, 3, 4}), ranks) {
  run_ranks(ranks,
            [](Communicator<Threads> comm) {
              DelayOptions const slow{.latency = 300us, .bytes_per_second = 1e8};
              conformance(Communicator(Delayed(Recording(comm.backend()), slow)));
            },
            {.ranks_per_node = 2});
}

BOOST_AUTO_TEST_CASE(every_verb_is_recorded_started_or_blocking) {
  run_ranks(3, [](Communicator<Threads> threads) {
    Communicator const comm{Recording(threads.backend())};
    Index const me = comm.rank();
    std::vector<std::int64_t> integers(7), gathered(21);
    std::vector<double> reals(4);
    comm.all_reduce_sum(integers);
    comm.start_all_reduce_sum(reals).wait();
    comm.all_gather(integers, gathered);
    // Rank s sends s + 1 rows of 2 to each rank out of a matrix with rows to spare.
    std::vector<float> out(40), in(40);
    std::vector<Index> const to(3, me + 1), from{1, 2, 3};
    comm.all_to_all_v(MatrixView<float>(out.data(), 10, 2, 4), to, MatrixView<float>(in.data(), 10, 2, 4), from);
    comm.barrier();
    std::vector<CommCall> const needed{call(sum, 7, 8), call(sum, 4, 8), call(CommVerb::all_gather, 7, 8),
                                       call(CommVerb::all_to_all_v, 3 * (me + 1) * 2, 4),
                                       call(CommVerb::barrier, 0, 0)};
    CommRecord& record = comm.backend().record();
    check(std::vector(record.log().begin(), record.log().end()) == needed, "the log");
    check(record.calls() == 5 && record.calls(sum) == 2 && record.calls(CommVerb::barrier) == 1, "calls");
    check(record.bytes(sum) == 56 + 32, "bytes of sums");
    check(record.bytes() == 56 + 32 + 56 + 24 * (me + 1), "bytes");
    record.reset();
    check(record.calls() == 0 && record.bytes() == 0 && record.log().empty(), "reset");
  });
}

BOOST_AUTO_TEST_CASE(copies_share_a_record_and_the_log_has_an_end) {
  Communicator const comm{Recording(Self{}, 2)};
  auto const copy = comm;
  std::vector<std::int64_t> values(5);
  for (int i = 0; i < 3; ++i) copy.all_reduce_sum(values);
  CommRecord const& record = comm.backend().record();
  BOOST_TEST(record.calls() == 3); // one rank is counted like any other
  BOOST_TEST(record.bytes() == 120);
  BOOST_TEST(record.log().size() == 2u);
  BOOST_CHECK_THROW(Recording(Self{}, -1), ShapeError);
}

BOOST_AUTO_TEST_CASE(refused_arguments_are_not_recorded) {
  Communicator const comm{Recording(Self{})};
  std::vector<float> mine(3), all(4);
  BOOST_CHECK_THROW(comm.all_gather(mine, all), ShapeError);
  BOOST_TEST(comm.backend().record().calls() == 0);
}

// That it is late is certain; by how much is the machine's business.
BOOST_AUTO_TEST_CASE(a_request_is_done_after_latency_and_transfer) {
  auto const wait = [](DelayOptions options, Index n) {
    std::vector<float> values(static_cast<std::size_t>(n));
    Communicator const comm{Delayed(Self{}, options)};
    auto const begin = Clock::now();
    comm.all_reduce_sum(values);
    return Clock::now() - begin;
  };
  BOOST_CHECK(wait({.latency = 20ms}, 1) >= 20ms);
  BOOST_CHECK(wait({.latency = 10ms, .bytes_per_second = 4e5}, 4000) >= 50ms);
  BOOST_CHECK(wait({.bytes_per_second = 4e5}, 4000) >= 40ms);
}

BOOST_AUTO_TEST_CASE(the_time_runs_from_the_start_and_once) {
  Communicator const comm{Delayed(Self{}, {.latency = 1h})};
  std::vector<float> values(1);
  auto request = comm.start_all_reduce_sum(values);
  BOOST_TEST(!request.done());
  auto moved = std::move(request);
  request.wait(); // moved from: nothing, at once
  BOOST_TEST(request.done());
  BOOST_TEST(!moved.done()); // and the hour is dropped
  Communicator const soon{Delayed(Self{}, {.latency = 30ms})};
  auto const begin = Clock::now();
  auto first = soon.start_all_reduce_sum(values);
  auto second = soon.start_barrier();
  poll(first);
  BOOST_CHECK(Clock::now() - begin >= 30ms);
  first.wait();
  BOOST_TEST(first.done());
  second.wait();
  first.wait();
  BOOST_CHECK(Clock::now() - begin >= 30ms);
}

BOOST_AUTO_TEST_CASE(the_inner_one_is_waited_for_too) {
  run_ranks(2, [](Communicator<Threads> threads) {
    Communicator const comm{Delayed(threads.backend())};
    if (comm.rank() == 1) std::this_thread::sleep_for(20ms);
    std::vector<std::int64_t> values{1};
    comm.all_reduce_sum(values);
    check(values[0] == 2, "the sum of both");
  });
}

BOOST_AUTO_TEST_CASE(a_failure_is_not_delayed_away) {
  BOOST_CHECK_THROW(run_ranks(2,
                              [](Communicator<Threads> threads) {
                                Communicator const comm{Delayed(Recording(threads.backend()), {.latency = 1h})};
                                if (comm.rank() == 1) throw std::domain_error("rank 1 gives up");
                                comm.barrier();
                              }),
                    std::domain_error);
}

BOOST_AUTO_TEST_CASE(impossible_delays_are_refused) {
  BOOST_TEST(refusal([] { Delayed(Self{}, {.latency = -1ns}); }).starts_with("moebal: DelayOptions::latency"));
  BOOST_TEST(refusal([] { Delayed(Self{}, {.latency = 2h}); }).starts_with("moebal: DelayOptions::latency"));
  BOOST_TEST(refusal([] { Delayed(Self{}, {.bytes_per_second = 0}); }) ==
             "moebal: DelayOptions::bytes_per_second: needed more than 0, had 0.000000");
  BOOST_CHECK_THROW(Delayed(Self{}, {.bytes_per_second = std::numeric_limits<double>::quiet_NaN()}), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
