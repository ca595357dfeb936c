// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/rows.hpp"
#include "support/inputs.hpp"

#include <moebal/select/top_k.hpp>

using namespace moebal;
using namespace moebal_test;
using select_rows::choose;

static_assert(TopK<3>::causal && !TopK<3>::needs_scores && TopK<3>::top_k == 3);

BOOST_AUTO_TEST_SUITE(select_top_k)

BOOST_AUTO_TEST_CASE(best_first_ties_to_the_lower_id) {
  float const nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  BOOST_TEST((choose(TopK<3>{}, std::vector<float>{1, 5, 3, 5}) == reference::Ids{1, 3, 2}));
  BOOST_TEST((choose(TopK<4>{}, std::vector<float>{nan, -inf, 2, nan}) == reference::Ids{2, 1, 0, 3}));
  BOOST_TEST((choose(TopK<2>{}, std::vector<float>{-0.0f, 0.0f}) == reference::Ids{0, 1}));
  BOOST_TEST((choose(TopK<1>{}, std::vector<float>{7}) == reference::Ids{0}));
}

template <class Real> void as_the_reference() {
  for (Kind kind : all_kinds)
    for (Index experts : {7, 8, 60, 500}) {
      auto const x = logits_of<Real>(kind, 1, experts, 2);
      BOOST_TEST((choose(TopK<7>{}, x) == reference::top_k(reference::Row(x.begin(), x.end()), 7)),
                 name_of(kind) << ", E " << experts);
    }
}
BOOST_AUTO_TEST_CASE(as_the_reference_in_float) { as_the_reference<float>(); }
BOOST_AUTO_TEST_CASE(as_the_reference_in_double) { as_the_reference<double>(); }

BOOST_AUTO_TEST_CASE(fewer_experts_than_k_are_refused) {
  BOOST_CHECK_NO_THROW(TopK<8>{}.check(8));
  BOOST_CHECK_THROW(TopK<8>{}.check(7), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
