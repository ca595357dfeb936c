// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "comm/conformance.hpp"
#include <moebal/comm/any.hpp>
#include <moebal/comm/self.hpp>
#include <moebal/comm/threads.hpp>
#include <moebal/communicator.hpp>

#include <string>
#include <vector>

using namespace moebal;

namespace {
Communicator<AnyBackend> any(Communicator<Threads> const& comm) { return Communicator(AnyBackend(comm.backend())); }
} // namespace

BOOST_AUTO_TEST_SUITE(comm_any)

BOOST_AUTO_TEST_CASE(conforms_whatever_it_holds) {
  for (Index const ranks : {1, 2, 3, 8})
    run_ranks(ranks, [](Communicator<Threads> comm) { conformance(any(comm)); }, {.ranks_per_node = 2});
  conformance(Communicator(AnyBackend(Self{})));
}

BOOST_AUTO_TEST_CASE(errors_are_those_of_the_backend_inside) {
  auto const uneven = [](Communicator<Threads> comm) {
    std::vector<double> values(comm.rank() == 1 ? 4 : 3);
    any(comm).all_reduce_sum(values);
  };
  BOOST_CHECK_EXCEPTION(run_ranks(2, uneven), CommError, [](CommError const& error) {
    return std::string(error.what()).find("all_reduce_sum of 4 double") != std::string::npos;
  });
}

BOOST_AUTO_TEST_CASE(copies_of_different_ranks_are_one_type) {
  run_ranks(2, [](Communicator<Threads> comm) {
    AnyBackend held(Self{});
    if (held.size() != 1) throw std::logic_error("Self inside");
    held = AnyBackend(comm.backend()); // another backend in the same variable
    if (held.size() != 2 || held.rank() != comm.rank()) throw std::logic_error("Threads inside");
    Communicator<AnyBackend>(held).barrier();
  });
}

BOOST_AUTO_TEST_SUITE_END()
