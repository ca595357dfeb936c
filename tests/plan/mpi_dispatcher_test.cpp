// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The laws of tests/plan/dispatcher_test.cpp over MPI. A case that fails on one rank would leave the others waiting, so
// it ends the job.
#include "support/test.hpp"

#include "plan/dispatch_laws.hpp"
#include <moebal/comm/mpi.hpp>

#include <iostream>

using namespace moebal;
using namespace dispatch_laws;

namespace {

template <class F> void on_all_ranks(F&& f) {
  Communicator const comm{Mpi(MPI_COMM_WORLD)};
  try {
    f(comm);
  } catch (std::exception const& error) {
    std::cerr << "rank " << comm.rank() << ": " << error.what() << std::endl;
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  comm.barrier(); // all came to the end
  BOOST_TEST(comm.size() >= 1);
}

} // namespace

BOOST_AUTO_TEST_SUITE(plan_mpi_dispatcher)

BOOST_AUTO_TEST_CASE(exact_counts) {
  on_all_ranks([](auto const& comm) { dispatches(comm, ExactCounts{}, path::Flat{}, 2); });
}
BOOST_AUTO_TEST_CASE(fixed_capacity) {
  on_all_ranks([](auto const& comm) { dispatches(comm, FixedCapacity{4}, path::Flat{}, 1); });
}
BOOST_AUTO_TEST_CASE(group_capacity_on_two_levels) {
  on_all_ranks([](auto const& comm) {
    dispatches(comm, GroupCapacity{capacities::megatron(0.7)}, path::BetweenFirst{}, 2);
  });
}

BOOST_AUTO_TEST_SUITE_END()
