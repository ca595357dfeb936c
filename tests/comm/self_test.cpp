// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "comm/conformance.hpp"
#include <moebal/comm/self.hpp>
#include <moebal/communicator.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

using namespace moebal;

static_assert(std::is_empty_v<Communicator<Self>>);
static_assert(std::is_trivially_copyable_v<Communicator<Self>>);
static_assert(!std::is_copy_constructible_v<Communicator<Self>::Request>);

BOOST_AUTO_TEST_SUITE(comm_self)

BOOST_AUTO_TEST_CASE(conforms) { conformance(Communicator<Self>{}); }

BOOST_AUTO_TEST_CASE(sums_leave_every_bit_alone) {
  Communicator<Self> const comm;
  std::vector<float> zeros{-0.0f};
  comm.all_reduce_sum(zeros);
  BOOST_TEST(std::signbit(zeros[0]));
}

BOOST_AUTO_TEST_CASE(rows_to_itself_must_agree) {
  Communicator<Self> const comm;
  std::vector<std::int64_t> data(4), other(4);
  MatrixView<std::int64_t> const send(data.data(), 2, 2), receive(other.data(), 2, 2);
  BOOST_CHECK_EXCEPTION(comm.all_to_all_v(send, std::vector<Index>{2}, receive, std::vector<Index>{1}), CommError,
                        [](CommError const& error) {
                          return std::string(error.what()) ==
                                 "moebal: rank 0 sends 2 rows to rank 0, which expects 1";
                        });
}

BOOST_AUTO_TEST_SUITE_END()
