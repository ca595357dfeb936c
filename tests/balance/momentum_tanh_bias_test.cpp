// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/windows.hpp"

#include <moebal/balance/momentum_tanh_bias.hpp>
#include <moebal/comm/threads.hpp>

using namespace moebal;
using namespace windows;
namespace tt = boost::test_tools;

BOOST_AUTO_TEST_SUITE(balance_momentum_tanh_bias)

BOOST_AUTO_TEST_CASE(the_worked_example) {
  // delta = (-4.525741268e-4, +4.525741268e-4, 0, 0); the momentum is half of it, and so is the bias.
  auto balancer = balancer_of(MomentumTanhBias{.rate = 5e-4f, .sharpness = 2, .momentum = 0.5f}, 4);
  step(balancer, {7, 1, 4, 4});
  BOOST_TEST(values(balancer.bias()) == (std::vector<float>{-2.262870634e-4f, 2.262870634e-4f, 0, 0}),
             tt::tolerance(1e-6f) << tt::per_element());
  step(balancer, {4, 4, 4, 4}); // balanced: only the momentum moves on, halved
  BOOST_TEST(values(balancer.bias()) == (std::vector<float>{-3.394305951e-4f, 3.394305951e-4f, 0, 0}),
             tt::tolerance(1e-6f) << tt::per_element());
}

BOOST_AUTO_TEST_CASE(steps_are_centred) {
  auto balancer = balancer_of(MomentumTanhBias{.rate = 1}, 5);
  step(balancer, {40, 0, 0, 1, 2});
  double sum = 0;
  for (float const b : balancer.bias()) sum += b;
  BOOST_TEST(std::abs(sum) < 1e-6);
  BOOST_TEST(balancer.bias()[0] < 0.0f);
}

BOOST_AUTO_TEST_CASE(the_momentum_is_saved_and_restored) {
  auto first = balancer_of(MomentumTanhBias{}, 3);
  step(first, {5, 1, 0});
  auto second = balancer_of(MomentumTanhBias{}, 3);
  std::istringstream in(saved(first));
  second.restore(in);
  for (int i = 0; i < 3; ++i) {
    step(first, {1, 4, 1});
    step(second, {1, 4, 1});
  }
  BOOST_TEST(values(first.bias()) == values(second.bias()), tt::per_element());
  BOOST_TEST(saved(first) == saved(second));
}

BOOST_AUTO_TEST_CASE(damaged_state_is_refused) {
  auto balancer = balancer_of(MomentumTanhBias{}, 3);
  step(balancer, {5, 1, 0});
  std::string const good = saved(balancer);
  for (std::size_t i = good.size() - 8 - 12; i < good.size(); ++i) { // the momenta and the checksum
    std::string damaged = good;
    damaged[i] = char(damaged[i] ^ 1);
    std::istringstream in(damaged);
    BOOST_CHECK_THROW(balancer.restore(in), StateError);
    BOOST_TEST(saved(balancer) == good);
  }
}

BOOST_AUTO_TEST_CASE(all_ranks_have_the_same_bits_at_every_scope) {
  auto const run = [](auto scope) {
    std::vector<std::string> bytes(3);
    run_ranks(3, [&](Communicator<Threads> comm) {
      Balancer balancer{scope, MomentumTanhBias{}, BalancerShape{.experts = 4, .top_k = 1}, comm};
      for (Index s = 0; s < 3; ++s) step(balancer, {s, comm.rank(), 2, 5 - s});
      bytes[std::size_t(comm.rank())] = saved(balancer);
    });
    BOOST_TEST(bytes[0] == bytes[1]);
    BOOST_TEST(bytes[0] == bytes[2]);
    return bytes[0];
  };
  auto const global = run(GlobalBatch<>{});
  BOOST_TEST(run(MicroBatch<>{}).substr(80) != global.substr(80));
}

BOOST_AUTO_TEST_SUITE_END()
