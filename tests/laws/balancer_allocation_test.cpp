// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/synthetic.hpp"
#include "support/allocations.hpp"

#include <moebal/balancer.hpp>

// After the first step of a kind, balancing allocates nothing.

using namespace moebal;

namespace {

template <class B> void check_quiet(B balancer) {
  std::vector<Load<synthetic::AllStatistics>> loads;
  for (std::uint64_t g = 0; g < 3; ++g)
    loads.push_back(synthetic::load_of({synthetic::tokens(9, 7, 2, g), synthetic::tokens(4, 7, 2, 10 + g)}, 7));
  double sum = 0;
  auto const step = [&] {
    balancer.begin_step(3);
    for (Index g = 0; g < 3; ++g) balancer.observe(g, loads[std::size_t(g)]);
    for (Index g = 0; g < 3; ++g) {
      balancer.observe(g, loads[std::size_t(g)]);
      sum += balancer.terms(g).loss;
    }
    balancer.end_step();
  };
  step();
  auto const before = moebal_test::allocations();
  BOOST_REQUIRE(before > 0); // we do count
  step();
  auto const during = moebal_test::allocations() - before;
  BOOST_TEST(during == 0);
  BOOST_TEST(sum > 0.0);
}

} // namespace

BOOST_AUTO_TEST_SUITE(laws_balancer_allocation)

BOOST_AUTO_TEST_CASE(steady_steps_allocate_nothing) {
  Rules const rules{SwitchLoss<>{}, LossFreeBias{}, ZLoss{}};
  BalancerShape const shape{.experts = 7, .top_k = 2};
  check_quiet(Balancer{Sequence<>{}, rules, shape});
  check_quiet(Balancer{Sequence<Accumulate::TwoPass>{}, rules, shape});
  check_quiet(Balancer{MicroBatch<>{}, rules, shape});
  check_quiet(Balancer{GlobalBatch<Accumulate::Running>{}, rules, shape});
  check_quiet(Balancer{GlobalBatch<Accumulate::TwoPass>{}, rules, shape});
  check_quiet(Balancers{Balancer{GlobalBatch<>{}, rules, shape}, Balancer{MicroBatch<>{}, SwitchLoss<>{}, shape}});
}

BOOST_AUTO_TEST_SUITE_END()
