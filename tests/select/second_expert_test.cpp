// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/random_rows.hpp"
#include "select/rows.hpp"

#include <moebal/gate/softmax.hpp>
#include <moebal/select/second_expert.hpp>
#include <moebal/select/top_k.hpp>

#include <cmath>

using namespace moebal;
using select_rows::choose;

static_assert(std::is_trivially_copyable_v<SecondExpert> && std::is_aggregate_v<SecondExpert> && SecondExpert::causal);

BOOST_AUTO_TEST_SUITE(select_second_expert)

BOOST_AUTO_TEST_CASE(policies) {
  std::vector<float> const p{0.1f, 0.6f, 0.3f}; // g2 = 1/3
  BOOST_TEST((choose(SecondExpert{.policy = SecondPolicy::All}, p) == reference::Ids{1, 2}));
  BOOST_TEST((choose(SecondExpert{.policy = SecondPolicy::None}, p) == reference::Ids{1}));
  BOOST_TEST((choose(SecondExpert{.policy = SecondPolicy::Threshold, .threshold = 0.33f}, p) == reference::Ids{1, 2}));
  BOOST_TEST((choose(SecondExpert{.policy = SecondPolicy::Threshold, .threshold = 0.34f}, p) == reference::Ids{1}));
  for (Index t = 0; t < 100; ++t)
    BOOST_TEST((choose(SecondExpert{}, p, 0, t) == reference::Ids{1, 2})); // g2 >= threshold
}

BOOST_AUTO_TEST_CASE(random_keeps_a_share) {
  std::vector<float> const p{0.95f, 0.05f}; // g2 / 0.2 = 1/4
  int kept = 0, other = 0, both = 0;
  for (Index t = 0; t < 8000; ++t) {
    bool const a = choose(SecondExpert{.seed = 1}, p, 0, t).size() == 2,
               b = choose(SecondExpert{.seed = 2}, p, 0, t).size() == 2;
    kept += a;
    other += b;
    both += a && b;
    BOOST_TEST_REQUIRE(
        (a == (choose(SecondExpert{.seed = 1, .first = t}, p).size() == 2))); // the token counts, not the cut
  }
  BOOST_TEST(std::abs(kept - 2000) < 150);
  BOOST_TEST(std::abs(other - 2000) < 150);
  BOOST_TEST(std::abs(both - 500) < 100);
}

BOOST_AUTO_TEST_CASE(nan_scores_keep_nothing_beside_the_first) {
  float const nan = std::nanf("");
  BOOST_TEST((choose(SecondExpert{}, {0.5f, nan}) == reference::Ids{0}));
  BOOST_TEST((choose(SecondExpert{}, {nan, nan}) == reference::Ids{0}));
}

BOOST_AUTO_TEST_CASE(dividing_before_or_after_the_drop) {
  auto const x = moebal_test::logits_of(moebal_test::Kind::Bell, 200, 8);
  auto const logits = moebal_test::matrix(x, 200, 8);
  Softmax const pair{.normalise = Normalise::OverChosen, .single_choice = SingleChoice::Normalised};
  SecondExpert const rule{.threshold = 0.4f, .seed = 3};
  auto const after = Router{rule, pair}.route(EigenExec{}, logits),
             full = Router{TopK<2>{}, pair}.route(EigenExec{}, logits);
  auto before = full;
  drop_second_into(EigenExec{}, rule, before.view());
  int dropped = 0;
  for (Index t = 0; t < 200; ++t) {
    BOOST_TEST((select_rows::ids_of(before, t) == select_rows::ids_of(after, t)));
    bool const lone = before.expert_ids()(t, 1) == no_expert;
    dropped += lone;
    BOOST_TEST(before.weights()(t, 0) == full.weights()(t, 0)); // Mesh-TensorFlow
    BOOST_TEST(after.weights()(t, 0) == (lone ? 1 : full.weights()(t, 0)),
               boost::test_tools::tolerance(1e-6f)); // DeepSpeed
    BOOST_TEST(before.weights()(t, 1) == (lone ? 0 : full.weights()(t, 1)));
  }
  BOOST_TEST((dropped > 10 && dropped < 190));
  drop_second_into(EigenExec{}, SecondExpert{.policy = SecondPolicy::None}, before.view());
  for (Index t = 0; t < 200; ++t) BOOST_TEST(select_rows::ids_of(before, t).size() == 1);
}

BOOST_AUTO_TEST_CASE(contract) {
  BOOST_TEST(select_rows::keeps_the_contract(SecondExpert{}, Softmax{}, 17));
  BOOST_TEST(select_rows::keeps_the_contract(SecondExpert{}, Softmax{}, 2));
  BOOST_CHECK_THROW(SecondExpert{}.check(1), ShapeError);
  Routing<float> three(4, 3);
  BOOST_CHECK_THROW(drop_second_into(EigenExec{}, SecondExpert{}, three.view()), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
