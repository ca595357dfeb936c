// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ranks that differ: checked.hpp and handshake.hpp, and who uses them.
#include "support/test.hpp"

#include "comm/conformance.hpp"
#include "comm/disagreements.hpp"
#include <moebal/balancer.hpp>
#include <moebal/comm/packed.hpp>
#include <moebal/comm/recording.hpp>
#include <moebal/comm/threads.hpp>
#include <moebal/communicator.hpp>

#include <boost/test/data/test_case.hpp>

#include <string>
#include <type_traits>
#include <vector>

using namespace moebal;
using conformance_cases::check;
using disagreements::check_told;
namespace data = boost::unit_test::data;

namespace {
using CheckedThreads = Communicator<Threads, Checks::Communicating>;
static_assert(communicator<CheckedThreads> && communicator<Communicator<Threads, Checks::None>>);
static_assert(std::is_empty_v<Communicator<Self, Checks::None>>);
} // namespace

BOOST_AUTO_TEST_SUITE(comm_checked)

BOOST_DATA_TEST_CASE(conforms, data::make({1, 2, 3, 8}), ranks) {
  run_ranks(ranks, [](Communicator<Threads> const& comm) { conformance(CheckedThreads(comm.backend())); });
  conformance(Communicator<Self, Checks::Communicating>(Self{}));
}

BOOST_DATA_TEST_CASE(ranks_that_call_something_else, data::make({2, 3, 4}), ranks) {
  run_ranks(ranks, [](Communicator<Threads> const& comm) { disagreements::calls(CheckedThreads(comm.backend())); });
}

BOOST_DATA_TEST_CASE(ranks_with_other_facts, data::make({2, 3, 4}), ranks) {
  run_ranks(ranks, [](Communicator<Threads> const& comm) { disagreements::facts(comm); });
}

BOOST_AUTO_TEST_CASE(one_rank_agrees_with_itself) { handshake(Communicator<Self>{}, {{"experts", 60}}); }

BOOST_AUTO_TEST_CASE(what_checks_send) {
  run_ranks(3, [](Communicator<Threads> const& threads) {
    Communicator<Recording<Threads>, Checks::Communicating> const comm{Recording(threads.backend())};
    auto const& record = comm.backend().record(); // the backend's, below the checks
    comm.barrier();
    check(record.calls() == 2 && record.bytes(CommVerb::all_gather) == 128, "one gather of 128 bytes and a barrier");
  });
}

// The balancer's constructor asks: all kinds of difference, before the first sum.
BOOST_AUTO_TEST_CASE(balancers_that_differ) {
  run_ranks(3, [](Communicator<Threads> const& comm) {
    bool const odd = comm.rank() == 1;
    auto const make = [&](auto scope, auto rule, BalancerShape shape) {
      [[maybe_unused]] Balancer const balancer{scope, rule, shape, comm};
    };
    BalancerShape const usual{.experts = 60, .top_k = 4};
    make(GlobalBatch<>{}, SwitchLoss<>{}, usual);
    auto const with = [&](BalancerShape other, std::string const& words) {
      check_told([&] { make(GlobalBatch<>{}, SwitchLoss<>{}, odd ? other : usual); }, "rank 1 has " + words);
    };
    with({.experts = 64, .top_k = 4}, "experts = 64, rank 0 has 60");
    with({.experts = 60, .top_k = 8}, "top_k = 8, rank 0 has 4");
    with({.experts = 60, .top_k = 4, .reduction = Reduction::Sum}, "reduction = sum, rank 0 has mean over ranks");
    check_told(
        [&] {
          odd ? make(GlobalBatch<>{}, Rules{SwitchLoss<>{}, LossFreeBias{}}, usual)
              : make(GlobalBatch<>{}, SwitchLoss<>{}, usual);
        },
        "rank 1 has balancer = global_batch+switch+loss_free_bias, rank 0 has global_batch+switch");
    check_told(
        [&] {
          odd ? make(GlobalBatch<Accumulate::TwoPass>{}, SwitchLoss<>{}, usual)
              : make(GlobalBatch<>{}, SwitchLoss<>{}, usual);
        },
        "rank 1 has balancer = global_batch,two_pass+switch, rank 0 has global_batch+switch");
    check_told(
        [&] {
          if (odd)
            Balancer(GlobalBatch<>{}, SwitchLoss<>{}, usual, comm, std::type_identity<double>{});
          else
            make(GlobalBatch<>{}, SwitchLoss<>{}, usual);
        },
        "rank 1 has compute type = double, rank 0 has float");
    check_told([&] { Packed(comm.backend(), odd ? 3 : 4); },
               "rank 1 has parts of a packed message = 3, rank 0 has 4"); // layers
    // Balancers that never talk differ as they like, and ask nobody.
    if (odd) make(MicroBatch<>{}, SwitchLoss<>{}, {.experts = 7, .top_k = 1});
  });
}

BOOST_AUTO_TEST_SUITE_END()
