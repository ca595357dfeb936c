// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/maps.hpp"

#include <moebal/gate/random_logits.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/router.hpp>
#include <moebal/select/top_k.hpp>
#include <moebal/stats/counts.hpp>

using namespace moebal;
using namespace maps;

static_assert(std::is_trivially_copyable_v<RandomLogits> && std::is_aggregate_v<RandomLogits> && RandomLogits::causal);

namespace {

std::vector<std::int64_t> counts(RandomLogits policy, Index tokens, Index experts) {
  Matrix<float> z(tokens, experts);
  logits_into(EigenExec{}, policy, z.view());
  auto const routing = Router{TopK<3>{}, Softmax{}}.route(EigenExec{}, z.view());
  std::vector<std::int64_t> c(std::size_t(experts), 0);
  for (Index t = 0; t < tokens; ++t)
    for (Index k = 0; k < 3; ++k) ++c[std::size_t(routing.expert_ids()(t, k))];
  return c;
}

} // namespace

BOOST_AUTO_TEST_SUITE(gate_random_logits)

BOOST_AUTO_TEST_CASE(balanced_on_average_or_exactly) {
  for (std::int64_t c : counts({}, 4000, 8)) BOOST_TEST(std::abs(double(c) - 1500) < 150);
  for (Index experts : {3, 7, 60})
    for (Index tokens : {1, 50, 333}) {
      auto const c = counts({.spread = ForcedBalance::RoundRobin, .top_k = 3}, tokens, experts);
      BOOST_TEST(*std::max_element(c.begin(), c.end()) - *std::min_element(c.begin(), c.end()) <= 1);
    }
}

BOOST_AUTO_TEST_CASE(cuts_and_threads_change_nothing) {
  for (ForcedBalance spread : {ForcedBalance::Random, ForcedBalance::RoundRobin})
    for (auto const [T, E] : shapes) {
      Matrix<double> one(T, E), three(T, E), cut(T, E);
      RandomLogits policy{.spread = spread, .top_k = 2, .seed = 5};
      logits_into(EigenExec{}, policy, one.view());
      logits_into(EigenExec{&pool()}.on_every_thread(), policy, three.view());
      logits_into(EigenExec{}, policy, MatrixView<double>(cut.values.data(), T / 2, E));
      policy.first = T / 2;
      logits_into(EigenExec{}, policy, MatrixView<double>(cut.values.data() + T / 2 * E, T - T / 2, E));
      BOOST_TEST(((one == three) && (one == cut)));
    }
}

BOOST_AUTO_TEST_CASE(the_gradient_goes_straight_through) {
  auto const d = random_matrix<float>(3, 5, 1);
  Matrix<float> out(3, 5);
  backward_into(EigenExec{}, RandomLogits{}, d.view(), out.view());
  BOOST_TEST((out == d));
  Matrix<float> wrong(3, 4), none(3, 0);
  BOOST_CHECK_THROW(backward_into(EigenExec{}, RandomLogits{}, d.view(), wrong.view()), ShapeError);
  BOOST_CHECK_THROW(logits_into(EigenExec{}, RandomLogits{}, none.view()), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
