// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The global-batch balancer over MPI.
#include "support/test.hpp"

#include "comm/balancer_law.hpp"
#include "laws/small_model.hpp"
#include <moebal/comm/any.hpp>
#include <moebal/comm/mpi.hpp>

#include <exception>
#include <iostream>

using namespace moebal;

namespace {

template <class F> void on_all_ranks(F&& f) {
  try {
    f();
  } catch (std::exception const& error) { // the others would wait
    std::cerr << error.what() << std::endl;
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
}
template <class Scope> void hold(Scope scope) {
  on_all_ranks([&] {
    Communicator<Mpi> const comm{Mpi(MPI_COMM_WORLD)};
    balancer_law::Law(comm.size(), scope).hold(comm);
  });
}

} // namespace

BOOST_AUTO_TEST_SUITE(comm_mpi_balancer)

BOOST_AUTO_TEST_CASE(each_micro_batch) { hold(GlobalBatch<>{}); }
BOOST_AUTO_TEST_CASE(running) { hold(GlobalBatch<Accumulate::Running>{}); }
BOOST_AUTO_TEST_CASE(two_pass) { hold(GlobalBatch<Accumulate::TwoPass>{}); }

// As over threads, in laws/small_model_test.
BOOST_AUTO_TEST_CASE(weights_are_those_of_one_rank_that_saw_all_tokens) {
  on_all_ranks([] {
    using Comm = Communicator<AnyBackend>; // one type: trained code is compiled once
    using Scope = GlobalBatch<Accumulate::Running>;
    Comm const alone{AnyBackend(Self{})};
    auto const one = small_model::train(alone, small_model::global<Scope>(alone));
    Mpi const mpi(MPI_COMM_WORLD);
    for (Comm const& comm : {Comm(AnyBackend(mpi)), Comm(AnyBackend(Packed(mpi, 1)))})
      for (Reduction const reduction : {Reduction::MeanOverRanks, Reduction::Sum}) {
        auto const mine = small_model::train(comm, small_model::global<Scope>(comm), reduction);
        BOOST_TEST(mine.counts == one.counts, boost::test_tools::per_element());
        BOOST_TEST(mine.bias == one.bias, boost::test_tools::per_element());
        BOOST_TEST(small_model::difference(mine, one) <= small_model::tolerance);
      }
  });
}

BOOST_AUTO_TEST_SUITE_END()
