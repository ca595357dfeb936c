// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "support/backends.hpp"
#include "support/inputs.hpp"

#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/router.hpp>
#include <moebal/select/auction.hpp>
#include <moebal/select/batch_pool.hpp>
#include <moebal/select/bidirectional.hpp>
#include <moebal/select/bip.hpp>
#include <moebal/select/expert_choice.hpp>
#include <moebal/select/no_token_left_behind.hpp>
#include <moebal/select/overflow_recycling.hpp>
#include <moebal/select/sinkhorn.hpp>
#include <moebal/select/swipe.hpp>
#include <moebal/select/topology_capped.hpp>
#include <moebal/stats/counts.hpp>
#include <moebal/stats/score_sums.hpp>

using namespace moebal;
using namespace moebal_test;

namespace {

using Needs = stats::List<stats::Counts, stats::ScoreSums>;

/// As a router: the same bits for any number of threads, weights of the score at the ids, every choice counted.
template <class Selection, class Gate> void check_router(Selection selection, Gate gate) {
  static_assert(!Router<Selection, Gate>::causal);
  static_assert(row_selection<typename Selection::Inference>);
  Router<Selection, Gate> const router(selection, gate);
  for (Index const tokens : {0, 1, 7, 200}) {
    Index const experts = 12;
    auto const x = logits_of<float>(Kind::Bell, tokens, experts, 5);
    Options options{bias_of(experts, .1f), padding_of(tokens), {}};
    std::pair<Routing<float>, Load<Needs>> first;
    on_each_backend([&](char const* name, auto const& exec) {
      auto const here = router.template route_with<Needs>(exec, matrix(x, tokens, experts), options.view());
      BOOST_TEST_CONTEXT(name << ", T " << tokens) {
        if (first.first.top_k() == 0) first = here;
        std::int64_t chosen = 0;
        for (Index t = 0; t < tokens; ++t)
          for (Index k = 0; k < Selection::top_k; ++k) {
            ExpertId const e = here.first.expert_ids()(t, k);
            float const w = here.first.weights()(t, k);
            BOOST_TEST(e == first.first.expert_ids()(t, k));
            BOOST_TEST(w == first.first.weights()(t, k));
            BOOST_TEST((e == no_expert) == (w == 0));
            chosen += e != no_expert;
            if (options.padding[std::size_t(t)] != 0) BOOST_TEST(e == no_expert);
          }
        std::int64_t counted = 0;
        for (std::int64_t const c : here.second.template get<stats::Counts>()) counted += c;
        BOOST_TEST(counted == chosen);
      }
    });
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(select_batch_router)

BOOST_AUTO_TEST_CASE(all_of_them) {
  check_router(ExpertChoice<12>{}, Softmax{});
  check_router(BatchPool<4>{}, Softmax{});
  check_router(Sinkhorn<1>{}, Sigmoid{});
  check_router(Sinkhorn<2>{}, Softmax{});
  check_router(Auction{}, Sigmoid{});
  check_router(Bidirectional<3>{}, Softmax{});
  check_router(Bip<2>{}, Softmax{});
  check_router(TopologyCapped<>{.local = {4, 4}}, Softmax{.normalise = Normalise::OverChosen});
  check_router(NoTokenLeftBehind{}, Softmax{});
  check_router(OverflowRecycling<2>{}, Softmax{});
  check_router(Swipe<2>{}, Sigmoid{});
}

BOOST_AUTO_TEST_SUITE_END()
