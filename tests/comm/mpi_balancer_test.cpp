// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The global-batch balancer over MPI: the same windows and bias, to the bit, as thread ranks and as one rank with all
// tokens.
#include "support/test.hpp"

#include "balance/synthetic.hpp"
#include <moebal/balancer.hpp>
#include <moebal/comm/mpi.hpp>
#include <moebal/comm/packed.hpp>
#include <moebal/comm/threads.hpp>

#include <cstdint>
#include <cstring>
#include <exception>
#include <iostream>
#include <random>
#include <vector>

using namespace moebal;

namespace {

constexpr Index micro_batches = 3, steps = 3;

struct Seen {
  std::vector<std::int64_t> counts; // every window of every step
  std::vector<double> losses, slopes;
  std::vector<float> bias; // after every step
  friend bool operator==(Seen const& a, Seen const& b) {
    return a.counts == b.counts && a.losses == b.losses && a.slopes == b.slopes && a.bias.size() == b.bias.size() &&
           std::memcmp(a.bias.data(), b.bias.data(), a.bias.size() * sizeof(float)) == 0;
  }
};

/// What this rank brings, [steps][micro-batches][sequences].
using Mine = std::vector<synthetic::Rank>;

template <class Scope, class Comm> Seen train(Comm comm, Scope scope, Mine const& mine, BalancerShape shape) {
  Balancer balancer{scope, Rules{SwitchLoss<>{}, LossFreeBias{.rate = 0.01f, .centring = Centring::Mean}}, shape, comm};
  Seen seen;
  for (synthetic::Rank const& step : mine) {
    balancer.begin_step(micro_batches);
    auto const ask = [&](Index g) {
      auto const terms = balancer.terms(g);
      seen.losses.push_back(terms.loss);
      for (Index s = 0; s < terms.slopes.rows(); ++s)
        seen.slopes.insert(seen.slopes.end(), terms.slopes.row(s), terms.slopes.row(s) + shape.experts);
      auto const window = balancer.window(g);
      seen.counts.push_back(window.load_tokens());
      auto const* const counts = window.template load_data<stats::Counts>();
      seen.counts.insert(seen.counts.end(), counts, counts + shape.experts);
    };
    bool const late = Scope::accumulate == Accumulate::TwoPass;
    for (Index g = 0; g < micro_batches; ++g) {
      balancer.observe(g, synthetic::load_of(step[std::size_t(g)], shape.experts));
      if (!late) ask(g);
    }
    for (Index g = 0; late && g < micro_batches; ++g) ask(g);
    balancer.end_step();
    seen.bias.insert(seen.bias.end(), balancer.bias().begin(), balancer.bias().end());
  }
  return seen;
}

/// Tokens for R ranks, unevenly, some of them none: [R].
std::vector<Mine> deal(Index ranks, BalancerShape shape) {
  std::mt19937_64 random(7);
  Mine const nothing(steps, synthetic::Rank(micro_batches));
  std::vector<Mine> all;
  all.assign(std::size_t(ranks), nothing);
  for (std::size_t s = 0; s < std::size_t(steps); ++s)
    for (std::size_t g = 0; g < std::size_t(micro_batches); ++g) {
      auto const parts = synthetic::cut(synthetic::tokens(101, shape.experts, shape.top_k, 10 * s + g), ranks, random);
      for (std::size_t r = 0; r < parts.size(); ++r) all[r][s][g] = {parts[r]};
    }
  return all;
}

template <class Scope> void compare(Scope scope) {
  BalancerShape const shape{.experts = 60, .top_k = 4};
  Communicator<Mpi> const comm{Mpi(MPI_COMM_WORLD)};
  auto const dealt = deal(comm.size(), shape);
  Seen const mpi = train(comm, scope, dealt[std::size_t(comm.rank())], shape);

  std::vector<Seen> threads(dealt.size());
  run_ranks(comm.size(), [&](Communicator<Threads> const& rank) {
    threads[std::size_t(rank.rank())] = train(rank, scope, dealt[std::size_t(rank.rank())], shape);
  });
  BOOST_CHECK(mpi == threads[std::size_t(comm.rank())]);
  // Parts that never fill a message: each is sent when it is waited for.
  BOOST_CHECK(mpi == train(Communicator(Packed(comm.backend(), 2)), scope, dealt[std::size_t(comm.rank())], shape));

  Mine const whole = deal(1, shape)[0];
  Seen const one = train(Communicator<Self>{}, scope, whole, shape);
  BOOST_TEST(mpi.counts == one.counts, boost::test_tools::per_element());
  BOOST_TEST(mpi.bias == one.bias, boost::test_tools::per_element());

  // Mean over ranks of the losses: the loss of the whole, but for rounding.
  std::vector<double> losses(mpi.losses);
  comm.all_reduce_sum(losses);
  for (std::size_t i = 0; i < losses.size(); ++i)
    BOOST_TEST(losses[i] / double(comm.size()) == one.losses[i], boost::test_tools::tolerance(1e-12));
}

template <class F> void on_all_ranks(F&& f) {
  try {
    f();
  } catch (std::exception const& error) { // the others would wait
    std::cerr << error.what() << std::endl;
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(comm_mpi_balancer)

BOOST_AUTO_TEST_CASE(each_micro_batch) {
  on_all_ranks([] { compare(GlobalBatch<>{}); });
}
BOOST_AUTO_TEST_CASE(running) {
  on_all_ranks([] { compare(GlobalBatch<Accumulate::Running>{}); });
}
BOOST_AUTO_TEST_CASE(two_pass) {
  on_all_ranks([] { compare(GlobalBatch<Accumulate::TwoPass>{}); });
}

BOOST_AUTO_TEST_SUITE_END()
