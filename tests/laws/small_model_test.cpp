// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weights that ranks trained together are those of one rank that saw all tokens.
#include "support/executions.hpp"
#include "support/test.hpp"

#include "laws/small_model.hpp"

#include <moebal/comm/any.hpp>

using namespace moebal;
using namespace small_model;

namespace {

using Comm = Communicator<AnyBackend>;

/// What each of R thread ranks has after training.
template <class F> std::vector<Trained> on_ranks(Index ranks, F const& f) {
  std::vector<Trained> all(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](Communicator<Threads> const& comm) {
    all[std::size_t(comm.rank())] = f(Comm(AnyBackend(comm.backend())));
  });
  return all;
}
void check_same(std::vector<Trained> const& ranks, Trained const& one) {
  for (Trained const& rank : ranks) {
    BOOST_TEST(rank.counts == one.counts, boost::test_tools::per_element());
    BOOST_TEST(rank.bias == one.bias, boost::test_tools::per_element());
    BOOST_TEST(difference(rank, one) <= tolerance);
  }
}

template <class Scope> void check_global() {
  auto const one = on_ranks(1, [](Comm const& comm) { return train(comm, global<Scope>(comm)); })[0];
  for (Index const ranks : {1, 2, 3, 4, 8})
    for (Reduction const reduction : {Reduction::MeanOverRanks, Reduction::Sum})
      BOOST_TEST_CONTEXT(ranks << " ranks, " << (reduction == Reduction::Sum ? "sum" : "mean"))
        check_same(on_ranks(ranks, [&](Comm const& comm) { return train(comm, global<Scope>(comm), reduction); }), one);
}

} // namespace

BOOST_AUTO_TEST_SUITE(laws_small_model)

BOOST_AUTO_TEST_CASE(each_micro_batch) { check_global<GlobalBatch<>>(); }
BOOST_AUTO_TEST_CASE(running) { check_global<GlobalBatch<Accumulate::Running>>(); }
BOOST_AUTO_TEST_CASE(two_pass) { check_global<GlobalBatch<Accumulate::TwoPass>>(); }

BOOST_AUTO_TEST_CASE(a_loss_of_each_rank_by_itself) {
  for (Index const ranks : {1, 2, 3, 4, 8}) {
    auto const one = on_ranks(1, [&](Comm const& comm) {
      return train(comm, local<Sequence<>>(comm), Reduction::MeanOverRanks, ranks);
    })[0];
    for (Reduction const reduction : {Reduction::MeanOverRanks, Reduction::Sum})
      check_same(on_ranks(ranks, [&](Comm const& comm) { return train(comm, local<MicroBatch<>>(comm), reduction); }),
                 one);
  }
}

// The law would not hold if the factor of the ranks was forgotten: terms for a sum, of which the mean is taken.
BOOST_AUTO_TEST_CASE(mutant_the_factor_of_the_ranks_is_forgotten) {
  auto const forgetful = [](Comm const& comm) {
    return train(comm, [&](BalancerShape of) {
      of.reduction = Reduction::Sum;
      return global<GlobalBatch<>>(comm)(of);
    });
  };
  auto const one = on_ranks(1, forgetful)[0];
  for (Trained const& rank : on_ranks(2, forgetful)) BOOST_TEST(difference(rank, one) > 1e-3);
}
/// To the bit, weights too. One rank, on this thread: some of the executions take work from the main thread alone.
BOOST_AUTO_TEST_CASE(the_same_on_every_execution) {
  Communicator<Self> const comm;
  auto const on = [&](auto const& exec) {
    return train(comm, global<GlobalBatch<Accumulate::TwoPass>>(comm), Reduction::MeanOverRanks, 1, exec);
  };
  Trained const needed = on(EigenExec{});
  for (auto const& exec : moebal_test::other_executions())
    BOOST_TEST_CONTEXT(exec.name()) {
      Trained const had = on(exec);
      BOOST_TEST(had.weights == needed.weights, boost::test_tools::per_element());
      BOOST_TEST(had.bias == needed.bias, boost::test_tools::per_element());
      BOOST_TEST(had.counts == needed.counts, boost::test_tools::per_element());
    }
}
// Nor if the ranks' own means were averaged: they hold unequal numbers of tokens.
BOOST_AUTO_TEST_CASE(mutant_a_mean_of_means) {
  auto const own = [](Comm const& comm) { return train(comm, local<MicroBatch<>>(comm)); };
  auto const one = on_ranks(1, own)[0];
  for (Trained const& rank : on_ranks(2, own)) BOOST_TEST(difference(rank, one) > 1e-3);
}

BOOST_AUTO_TEST_SUITE_END()
