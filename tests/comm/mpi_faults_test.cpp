// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ranks that do not come, over MPI. In each case some ranks keep away from a communicator until the others have given
// up (they wait at a barrier of MPI's own, where nothing answers for them), and the job goes on with the next case.
#include "support/refusal.hpp"
#include "support/test.hpp"

#include "comm/conformance.hpp"
#include <moebal/comm/mpi.hpp>
#include <moebal/communicator.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using namespace moebal;
using namespace std::chrono_literals;

namespace {

using Comm = Communicator<Mpi>;

Comm make(std::chrono::milliseconds timeout, std::chrono::milliseconds answers = 300ms) {
  return Comm(Mpi(MPI_COMM_WORLD, {.timeout = timeout, .answers = answers}));
}
void together() { MPI_Barrier(MPI_COMM_WORLD); }
bool contains(std::string const& text, std::string const& words) { return text.find(words) != std::string::npos; }
std::string name(Index rank) { return "rank " + std::to_string(rank); }

} // namespace

BOOST_AUTO_TEST_SUITE(comm_mpi_faults)

BOOST_AUTO_TEST_CASE(a_rank_that_does_not_come_is_named) {
  Comm const comm = make(1s);
  Index const last = comm.size() - 1;
  std::vector<std::int64_t> values(64);
  comm.all_reduce_sum(values);
  if (last > 0 && comm.rank() != last) {
    std::string const text = refusal<CommError>([&] { comm.all_reduce_sum(values); });
    BOOST_TEST(text.starts_with("moebal: all_reduce_sum of 64 int64, collective #2, is not done after 1 s: "));
    BOOST_TEST(contains(text, name(last) + " does not answer (dead, stopped or busy)"));
    // The communicator stays closed, whatever is asked of it.
    BOOST_TEST(refusal<CommError>([&] { comm.barrier(); }) == text);
    BOOST_TEST(refusal<CommError>([&] { (void)comm.start_all_reduce_sum(values); }) == text);
  }
  together();
  // The last one comes too late; what it finds is what the others told it.
  if (last > 0 && comm.rank() == last) {
    std::string const text = refusal<CommError>([&] {
      for (int verb = 0; verb < 3; ++verb) comm.all_reduce_sum(values); // the first may still meet the others'
    });
    BOOST_TEST(contains(text, "collective #2, is not done after 1 s: "));
    BOOST_TEST(contains(text, name(last) + " does not answer"));
  }
  together();
}

BOOST_AUTO_TEST_CASE(a_rank_that_waits_elsewhere_is_named_with_the_place) {
  // Rank 1 and the others are one collective apart, and the last rank never comes.
  int rank = 0, size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  Comm const comm = make(rank == 1 ? 60s : 1s, 2s); // so rank 1 answers, and learns why
  if (size >= 3 && rank < 2) {
    std::vector<std::int64_t> values(7);
    std::string const text = refusal<CommError>([&] {
      auto first = comm.start_all_reduce_sum(values);
      if (rank == 0) comm.barrier();
      first.wait();
    });
    BOOST_TEST(contains(text, "moebal: barrier, collective #2, is not done after 1 s: rank 1 has not arrived (its "
                              "last: collective #1, all_reduce_sum of 7 int64)"));
  } else if (size >= 3 && rank + 1 < size) { // these only answer
    std::vector<std::int64_t> values(7);
    auto first = comm.start_all_reduce_sum(values);
    conformance_cases::poll(first, "a sum of ranks that have failed");
    BOOST_TEST(contains(refusal<CommError>([&] { first.wait(); }), "barrier, collective #2, is not done"));
  }
  together();
}

BOOST_AUTO_TEST_CASE(dropping_what_is_never_done_does_not_hang) {
  std::optional<Comm> comm(make(1s));
  Index const rank = comm->rank(), last = comm->size() - 1;
  if (last > 0 && rank != last) {
    std::vector<double> values(3, 1.0);
    {
      auto const sum = comm->start_all_reduce_sum(values);
      auto const barrier = comm->start_barrier();
    }
    BOOST_TEST(contains(refusal<CommError>([&] { comm->barrier(); }), name(last) + " does not answer"));
    BOOST_TEST(values[0] == 1.0); // nothing of the caller's is written to by a sum that is not waited for
  }
  comm.reset(); // while MPI still holds messages of it
  together();
}

BOOST_AUTO_TEST_CASE(a_rank_that_does_not_make_its_communicator) {
  int rank = 0, size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Comm copy = MPI_COMM_NULL; // what is left unfinished must not be in the way of the next cases
  MPI_Comm_dup(MPI_COMM_WORLD, &copy);
  if (rank + 1 < size)
    BOOST_TEST(contains(refusal<CommError>([&] { Mpi(copy, {.timeout = 100ms}); }),
                        "all ranks of the communicator to make theirs from it, had some that did not within 100 ms"));
  together();
}

BOOST_AUTO_TEST_SUITE_END()
