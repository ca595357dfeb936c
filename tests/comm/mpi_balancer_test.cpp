// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The global-batch balancer over MPI.
#include "support/test.hpp"

#include "comm/balancer_law.hpp"
#include <moebal/comm/mpi.hpp>

#include <exception>
#include <iostream>

using namespace moebal;

namespace {

template <class Scope> void hold(Scope scope) {
  try {
    Communicator<Mpi> const comm{Mpi(MPI_COMM_WORLD)};
    balancer_law::Law(comm.size(), scope).hold(comm);
  } catch (std::exception const& error) { // the others would wait
    std::cerr << error.what() << std::endl;
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(comm_mpi_balancer)

BOOST_AUTO_TEST_CASE(each_micro_batch) { hold(GlobalBatch<>{}); }
BOOST_AUTO_TEST_CASE(running) { hold(GlobalBatch<Accumulate::Running>{}); }
BOOST_AUTO_TEST_CASE(two_pass) { hold(GlobalBatch<Accumulate::TwoPass>{}); }

BOOST_AUTO_TEST_SUITE_END()
