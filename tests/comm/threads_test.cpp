// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "comm/conformance.hpp"
#include <moebal/comm/threads.hpp>
#include <moebal/communicator.hpp>

#include <boost/test/data/test_case.hpp>

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <ostream>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace moebal;
using namespace std::chrono_literals;
namespace data = boost::unit_test::data;

namespace {

using Comm = Communicator<Threads>;

struct Boom : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Verb {
  char const* name;
  std::function<void(Comm const&)> call;
  friend std::ostream& operator<<(std::ostream& out, Verb const& verb) { return out << verb.name; }
};
template <class T> void add(Comm const& comm, Index n) {
  std::vector<T> values(std::size_t(n), T(1));
  comm.all_reduce_sum(values);
}
void gather(Comm const& comm) {
  std::vector<std::int64_t> mine(3), all(std::size_t(3 * comm.size()));
  comm.all_gather(mine, all);
}
void exchange(Comm const& comm) {
  std::vector<float> out(std::size_t(2 * comm.size())), in(out.size());
  std::vector<Index> const rows(std::size_t(comm.size()), 1);
  MatrixView<float> const send(out.data(), comm.size(), 2), receive(in.data(), comm.size(), 2);
  comm.all_to_all_v(send, rows, receive, rows);
}
std::vector<Verb> const verbs{
    {"all_reduce_sum", [](Comm const& comm) { add<std::int64_t>(comm, 64); }},
    {"all_reduce_sum", [](Comm const& comm) { add<float>(comm, 64); }},
    {"all_reduce_sum", [](Comm const& comm) { add<double>(comm, 64); }},
    {"all_gather", gather},
    {"all_to_all_v", exchange},
    {"barrier", [](Comm const& comm) { comm.barrier(); }},
};

/// Runs f on R ranks and returns what each rank saw: the text of its exception, or nothing. `thrown` is what run_ranks
/// threw.
struct Outcome {
  std::vector<std::string> seen;
  std::vector<bool> comm_error;
  std::exception_ptr thrown;

  std::string thrown_text() const {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (std::exception const& error) {
      return error.what();
    } catch (...) {
      return "not a std::exception";
    }
    return "";
  }
};
template <class F> Outcome outcome(Index ranks, F&& f, std::chrono::milliseconds timeout = 20s) {
  std::vector<std::string> seen(static_cast<std::size_t>(ranks));
  std::vector<char> comm_error(static_cast<std::size_t>(ranks));
  Outcome result;
  try {
    run_ranks(
        ranks,
        [&](Comm comm) {
          auto const me = std::size_t(comm.rank());
          try {
            f(comm);
          } catch (CommError const& error) {
            seen[me] = error.what();
            comm_error[me] = 1;
            throw;
          } catch (std::exception const& error) {
            seen[me] = error.what();
            throw;
          }
        },
        ThreadsOptions{.timeout = timeout});
  } catch (...) {
    result.thrown = std::current_exception();
  }
  result.seen = seen;
  result.comm_error.assign(comm_error.begin(), comm_error.end());
  return result;
}
bool contains(std::string const& text, std::string const& words) { return text.find(words) != std::string::npos; }

} // namespace

BOOST_AUTO_TEST_SUITE(comm_threads)

BOOST_DATA_TEST_CASE(conforms, data::make({1, 2, 3, 4, 8}), ranks) {
  run_ranks(ranks, [](Comm const& comm) { conformance(comm); });
  run_ranks(ranks, [](Comm const& comm) { conformance(comm); }, {.ranks_per_node = 2});
}

BOOST_DATA_TEST_CASE(done_is_true_when_all_have_come, data::make({1, 2, 3}), ranks) {
  std::barrier all(ranks);
  run_ranks(ranks, [&](Comm const& comm) { done_waits_for_the_last_rank(comm, [&] { all.arrive_and_wait(); }); });
}

BOOST_AUTO_TEST_CASE(done_is_true_where_wait_would_throw) {
  auto const result = outcome(2, [&](Comm const& comm) {
    if (comm.rank() == 1) throw Boom("instead");
    auto request = comm.start_barrier();
    conformance_cases::poll(request, "a barrier of a rank that threw");
    request.wait();
  });
  BOOST_TEST(contains(result.seen[0], "rank 1 threw: instead"));
}

BOOST_AUTO_TEST_CASE(nodes_are_blocks_of_ranks) {
  run_ranks(
      5,
      [](Comm const& comm) {
        for (Index r = 0; r < 5; ++r)
          if (comm.node_of(r) != r / 2) throw Boom("node of rank " + std::to_string(r));
      },
      {.ranks_per_node = 2});
  run_ranks(5, [](Comm const& comm) {
    if (comm.node_of(4) != 0) throw Boom("one node unless told otherwise");
  });
}

BOOST_AUTO_TEST_CASE(barrier_waits_for_all) {
  std::atomic<int> arrived = 0;
  run_ranks(4, [&](Comm const& comm) {
    for (int round = 1; round <= 20; ++round) {
      ++arrived;
      comm.barrier();
      if (arrived < 4 * round) throw Boom("a rank passed before all had arrived");
      comm.barrier();
    }
  });
  BOOST_TEST(arrived == 80);
}

BOOST_AUTO_TEST_CASE(a_started_sum_does_not_wait_for_the_others) {
  std::atomic<bool> started = false;
  run_ranks(2, [&](Comm const& comm) {
    std::vector<std::int64_t> mine{comm.rank() + 1};
    if (comm.rank() == 1)
      while (!started) std::this_thread::sleep_for(1ms); // rank 0 must get past its start without rank 1
    auto request = comm.start_all_reduce_sum(mine);
    started = true;
    request.wait();
    if (mine[0] != 3) throw Boom("sum " + std::to_string(mine[0]));
  });
}

BOOST_AUTO_TEST_CASE(a_rank_may_return_once_it_has_contributed) {
  run_ranks(3, [&](Comm const& comm) {
    std::vector<std::int64_t> mine{1};
    auto request = comm.start_all_reduce_sum(mine);
    if (comm.rank() == 2) return;
    request.wait();
    if (mine[0] != 3) throw Boom("sum " + std::to_string(mine[0]));
  });
}

BOOST_AUTO_TEST_CASE(requests_may_be_waited_for_in_any_order) {
  run_ranks(3, [&](Comm const& comm) {
    std::vector<double> a{1}, b{2};
    auto first = comm.start_all_reduce_sum(a);
    auto second = comm.start_all_reduce_sum(b);
    if (comm.rank() == 1) std::swap(first, second);
    second.wait();
    first.wait();
    if (a[0] != 3 || b[0] != 6) throw Boom("sums");
  });
}

BOOST_DATA_TEST_CASE(a_rank_throws, data::make(verbs), verb) {
  auto const result = outcome(4, [&](Comm const& comm) {
    add<std::int64_t>(comm, 3);
    if (comm.rank() == 2) throw Boom("out of cheese");
    verb.call(comm);
  });
  BOOST_REQUIRE(result.thrown);
  BOOST_CHECK_THROW(std::rethrow_exception(result.thrown), Boom);
  BOOST_TEST(result.thrown_text() == "out of cheese");
  for (std::size_t r : {0u, 1u, 3u}) {
    BOOST_TEST(result.comm_error[r]);
    BOOST_TEST(result.seen[r] == "moebal: rank 2 threw: out of cheese");
  }
}

BOOST_AUTO_TEST_CASE(a_rank_throws_something_odd) {
  auto const result = outcome(3, [&](Comm const& comm) {
    if (comm.rank() == 1) throw 42;
    comm.barrier();
  });
  BOOST_REQUIRE(result.thrown);
  BOOST_CHECK_THROW(std::rethrow_exception(result.thrown), int);
  BOOST_TEST(contains(result.seen[0], "rank 1 threw something that is not a std::exception"));
}

BOOST_AUTO_TEST_CASE(a_rank_throws_between_start_and_wait) {
  auto const result = outcome(3, [&](Comm const& comm) {
    std::vector<float> a(5), b(5);
    auto first = comm.start_all_reduce_sum(a);
    if (comm.rank() == 0) throw Boom("early");
    auto second = comm.start_all_reduce_sum(b);
    first.wait();
    second.wait();
  });
  BOOST_TEST(result.thrown_text() == "early");
  for (std::size_t r : {1u, 2u}) BOOST_TEST(result.seen[r] == "moebal: rank 0 threw: early");
}

BOOST_AUTO_TEST_CASE(a_wrong_argument_on_one_rank_fails_all) {
  auto const result = outcome(3, [&](Comm const& comm) {
    std::vector<float> mine(4), all(std::size_t(comm.rank() == 1 ? 5 : 12));
    comm.all_gather(mine, all);
  });
  BOOST_REQUIRE(result.thrown);
  BOOST_CHECK_THROW(std::rethrow_exception(result.thrown), ShapeError);
  for (std::size_t r : {0u, 2u}) BOOST_TEST(contains(result.seen[r], "rank 1 threw: moebal: all_gather"));
}

BOOST_DATA_TEST_CASE(a_rank_never_arrives, data::make(verbs), verb) {
  std::atomic<int> failed = 0;
  auto const result = outcome(
      3,
      [&](Comm const& comm) {
        comm.barrier();
        if (comm.rank() == 1) {
          while (failed < 2) std::this_thread::sleep_for(5ms);
          return;
        }
        try {
          verb.call(comm);
        } catch (...) {
          ++failed;
          throw;
        }
      },
      200ms);
  for (std::size_t r : {0u, 2u}) {
    BOOST_TEST(result.comm_error[r]);
    BOOST_TEST(result.seen[r] ==
               std::string("moebal: rank 1 did not arrive at ") + verb.name + " #2 within 200 ms");
  }
  BOOST_REQUIRE(result.thrown);
  BOOST_CHECK_THROW(std::rethrow_exception(result.thrown), CommError);
}

BOOST_AUTO_TEST_CASE(a_late_rank_is_told_that_it_was_late) {
  std::atomic<bool> over = false;
  auto const result = outcome(
      2,
      [&](Comm const& comm) {
        if (comm.rank() == 1)
          while (!over) std::this_thread::sleep_for(5ms);
        try {
          comm.barrier();
        } catch (...) {
          over = true;
          throw;
        }
      },
      200ms);
  for (std::size_t r : {0u, 1u})
    BOOST_TEST(result.seen[r] == "moebal: rank 1 did not arrive at barrier #1 within 200 ms");
}

BOOST_AUTO_TEST_CASE(all_missing_ranks_are_named) {
  std::atomic<bool> over = false;
  auto const result = outcome(
      3,
      [&](Comm const& comm) {
        if (comm.rank() != 1)
          while (!over) std::this_thread::sleep_for(5ms);
        else
          try {
            comm.barrier();
          } catch (...) {
            over = true;
            throw;
          }
      },
      1000ms);
  BOOST_TEST(result.seen[1] == "moebal: rank 0, rank 2 did not arrive at barrier #1 within 1 s");
}

BOOST_DATA_TEST_CASE(a_rank_returns_early, data::make(verbs), verb) {
  auto const result = outcome(3, [&](Comm const& comm) {
    comm.barrier();
    if (comm.rank() == 1) return;
    verb.call(comm);
  });
  for (std::size_t r : {0u, 2u}) {
    BOOST_TEST(result.comm_error[r]);
    BOOST_TEST(contains(result.seen[r], std::string("rank 1 returned before ") + verb.name + " #2, which rank "));
  }
  BOOST_CHECK_THROW(std::rethrow_exception(result.thrown), CommError);
}

BOOST_AUTO_TEST_CASE(ranks_call_different_things) {
  struct Pair {
    std::function<void(Comm const&)> one, others;
    std::string one_text, others_text;
  };
  std::vector<Pair> const pairs{
      {[](Comm const& comm) { comm.barrier(); }, [](Comm const& comm) { add<std::int64_t>(comm, 64); },
       "called barrier", "called all_reduce_sum of 64 int64"},
      {[](Comm const& comm) { add<std::int64_t>(comm, 63); }, [](Comm const& comm) { add<std::int64_t>(comm, 64); },
       "called all_reduce_sum of 63 int64", "called all_reduce_sum of 64 int64"},
      {[](Comm const& comm) { add<float>(comm, 64); }, [](Comm const& comm) { add<double>(comm, 64); },
       "called all_reduce_sum of 64 float", "called all_reduce_sum of 64 double"},
      {gather, exchange, "called all_gather of 3 int64", "called all_to_all_v of 2 float"},
  };
  for (Pair const& pair : pairs) {
    auto const result = outcome(4, [&](Comm const& comm) { (comm.rank() == 1 ? pair.one : pair.others)(comm); });
    for (std::size_t r = 0; r < 4; ++r) {
      BOOST_TEST(result.comm_error[r]);
      BOOST_TEST(contains(result.seen[r], "rank 1 " + pair.one_text));
      BOOST_TEST(contains(result.seen[r], pair.others_text));
      BOOST_TEST(contains(result.seen[r], "as collective #1"));
    }
    BOOST_CHECK_THROW(std::rethrow_exception(result.thrown), CommError);
  }
}

BOOST_AUTO_TEST_CASE(ranks_disagree_about_rows) {
  auto const result = outcome(3, [&](Comm const& comm) {
    std::vector<float> out(6), in(6);
    std::vector<Index> const send_rows(3, comm.rank() == 2 ? 0 : 1), receive_rows(3, 1);
    comm.all_to_all_v(MatrixView<float>(out.data(), 3, 2), send_rows, MatrixView<float>(in.data(), 3, 2), receive_rows);
  });
  for (std::size_t r = 0; r < 3; ++r)
    BOOST_TEST(result.seen[r] == "moebal: rank 2 sends 0 rows to rank 0, which expects 1, in all_to_all_v #1");
}

BOOST_AUTO_TEST_CASE(a_failure_stays) {
  std::atomic<int> refused = 0;
  auto const run = [&] {
    run_ranks(3, [&](Comm const& comm) {
      if (comm.rank() == 0) throw Boom("first");
      for (int attempt = 0; attempt < 3; ++attempt)
        try {
          comm.barrier();
        } catch (CommError const&) {
          ++refused; // a rank that goes on all the same
        }
    });
  };
  BOOST_CHECK_THROW(run(), Boom);
  BOOST_TEST(refused == 6);
}

BOOST_AUTO_TEST_CASE(a_communicator_that_outlives_its_ranks_fails) {
  std::vector<Comm> kept;
  run_ranks(1, [&](Comm const& comm) { kept.push_back(comm); });
  kept[0].barrier(); // one rank: nobody is missing
  kept.clear();
  run_ranks(2, [&](Comm const& comm) {
    if (comm.rank() == 0) kept.push_back(comm);
  });
  BOOST_CHECK_THROW(kept[0].barrier(), CommError);
}

BOOST_AUTO_TEST_CASE(impossible_options_are_refused) {
  auto const nothing = [](Comm const&) {};
  BOOST_CHECK_THROW(run_ranks(0, nothing), ShapeError);
  BOOST_CHECK_THROW(run_ranks(2, nothing, {.timeout = 0ms}), ShapeError);
  BOOST_CHECK_THROW(run_ranks(2, nothing, {.ranks_per_node = -1}), ShapeError);
  run_ranks(2, [](Comm const& comm) { comm.barrier(); }, {.timeout = std::chrono::milliseconds::max()});
}

// Ranks that fail at random moments of a mixed sequence: the first failure comes out, and nobody hangs.
BOOST_AUTO_TEST_CASE(random_failures) {
  std::mt19937_64 random(20261124);
  for (int round = 0; round < 100; ++round) {
    Index const ranks = 2 + Index(random() % 4), guilty = Index(random() % std::uint64_t(ranks));
    std::size_t const step = random() % 12;
    bool const throws = random() % 2 == 0;
    auto const result = outcome(ranks, [&](Comm const& comm) {
      for (std::size_t s = 0; s < 12; ++s) {
        if (comm.rank() == guilty && s == step) {
          if (throws) throw Boom("round " + std::to_string(round));
          return;
        }
        verbs[(s * 5 + std::size_t(round)) % verbs.size()].call(comm);
      }
    });
    BOOST_REQUIRE(result.thrown);
    std::string const told = "rank " + std::to_string(guilty) + (throws ? " threw: round " : " returned before ");
    for (Index r = 0; r < ranks; ++r)
      if (r != guilty) BOOST_TEST(contains(result.seen[std::size_t(r)], told));
    if (throws) BOOST_TEST(result.thrown_text() == "round " + std::to_string(round));
  }
}

BOOST_AUTO_TEST_SUITE_END()
