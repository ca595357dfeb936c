// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "comm/conformance.hpp"
#include <moebal/comm/packed.hpp>
#include <moebal/comm/threads.hpp>
#include <moebal/communicator.hpp>

#include <boost/test/data/test_case.hpp>

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

using namespace moebal;
namespace data = boost::unit_test::data;

namespace {

using Comm = Communicator<Packed<Threads>>;

/// f(comm) on R ranks whose sums are packed.
void run_packed(Index ranks, Index parts, std::function<void(Comm const&)> const& f) {
  run_ranks(ranks, [&](Communicator<Threads> const& rank) { f(Comm(Packed(rank.backend(), parts))); },
            {.timeout = std::chrono::seconds(10), .ranks_per_node = 2});
}
using conformance_cases::check;

/// What rank r brings as part p, and the sum of it over the ranks.
std::vector<std::int64_t> part(Index rank, Index p) {
  return conformance_cases::values<std::int64_t>(rank + 10 * p, 3 + p);
}
std::vector<std::int64_t> sum(Index ranks, Index p) {
  auto total = part(0, p);
  for (Index r = 1; r < ranks; ++r)
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += part(r, p)[i];
  return total;
}

/// Sums of several parts, started on this rank.
struct Started {
  std::vector<std::vector<std::int64_t>> values;
  std::vector<Comm::Request> requests;

  Started(Comm const& comm, Index parts) {
    values.reserve(std::size_t(parts));
    for (Index p = 0; p < parts; ++p) {
      values.push_back(part(comm.rank(), p));
      requests.push_back(comm.start_all_reduce_sum(values.back()));
    }
  }
  void wait(Comm const& comm, Index p) {
    requests[std::size_t(p)].wait();
    check(values[std::size_t(p)] == sum(comm.size(), p), "part " + std::to_string(p));
  }
};

} // namespace

BOOST_AUTO_TEST_SUITE(comm_packed)

BOOST_DATA_TEST_CASE(conforms, data::make({1, 2, 3, 8}) * data::make({1, 2, 5}), ranks, parts) {
  run_packed(ranks, parts, [](Comm const& comm) { conformance(comm); });
}
BOOST_AUTO_TEST_CASE(conforms_on_one_rank_without_threads) {
  conformance(Communicator<Packed<Self>>(Packed(Self{}, 3)));
}

BOOST_DATA_TEST_CASE(each_part_is_delivered_in_any_order_and_once, data::make({1, 2, 4, 7, 9}), parts) {
  run_packed(3, parts, [](Comm const& comm) {
    for (int step = 0; step < 3; ++step) { // messages are used again
      Started sums(comm, 7);
      check(sums.values[0] == part(comm.rank(), 0), "values are left alone until wait");
      for (Index const p : {3, 0, 6, 1, 5, 2, 4}) sums.wait(comm, p);
      sums.values[2][0] = 5;
      sums.requests[2].wait();
      check(sums.values[2][0] == 5, "a second wait does nothing");
    }
  });
}

BOOST_AUTO_TEST_CASE(parts_may_be_dropped) {
  run_packed(2, 3, [](Comm const& comm) {
    for (int step = 0; step < 4; ++step) {
      auto sums = std::make_unique<Started>(comm, 5); // one message is full, one is open
      sums->wait(comm, 1);
      sums.reset();
      auto kept = std::make_unique<Started>(comm, 2);
      kept->wait(comm, 1);
      kept.reset();
    }
    Started(comm, 2); // never sent
  });
}

BOOST_AUTO_TEST_CASE(values_may_go_once_their_request_is_dropped) {
  run_packed(2, 2, [](Comm const& comm) {
    auto gone = std::make_unique<std::vector<std::int64_t>>(5, 1);
    { auto const dropped = comm.start_all_reduce_sum(*gone); }
    gone.reset();
    Started sums(comm, 1);
    sums.wait(comm, 0);
  });
}

BOOST_AUTO_TEST_CASE(requests_outlive_the_communicator) {
  run_ranks(2, [](Communicator<Threads> const& rank) {
    std::vector<std::int64_t> values{rank.rank() + 1, 3};
    auto request = Comm(Packed(rank.backend(), 4)).start_all_reduce_sum(values);
    request.wait();
    check(values == std::vector<std::int64_t>{3, 6}, "the sum");
  });
}

// What a rank of a failed job is told stands in threads_test; here: every part of the message is told.
BOOST_AUTO_TEST_CASE(a_failure_is_the_failure_of_every_part) {
  int told = 0;
  auto const expect_failure = [&](auto&& f) {
    try {
      f();
    } catch (CommError const&) {
      ++told;
    }
  };
  BOOST_CHECK_THROW(run_packed(2, 3,
                               [&](Comm const& comm) {
                                 if (comm.rank() == 1) throw std::logic_error("instead");
                                 Started sums(comm, 2);
                                 conformance_cases::poll(sums.requests[0], "a part of a message that cannot arrive");
                                 check(sums.requests[1].done(), "no part has to wait for another rank");
                                 expect_failure([&] { sums.requests[0].wait(); });
                                 expect_failure([&] { sums.requests[1].wait(); });
                                 sums.requests[1].wait(); // nothing more to do
                                 Started late(comm, 2);
                                 expect_failure([&] { comm.barrier(); }); // starts what is open
                                 expect_failure([&] { late.requests[1].wait(); });
                               }),
                    std::logic_error);
  BOOST_TEST(told == 4);
}

BOOST_AUTO_TEST_CASE(a_message_has_parts) {
  BOOST_CHECK_EXCEPTION(Packed(Self{}, 0), ShapeError, [](ShapeError const& error) {
    return std::string(error.what()) == "moebal: parts of a packed message: needed at least 1, had 0";
  });
}

BOOST_AUTO_TEST_SUITE_END()
