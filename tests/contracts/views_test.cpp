// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The same tokens in any container and at any row stride; the forms with memory of their own; recomputation.
#include "support/test.hpp"

#include "contracts/oracle.hpp"
#include "support/backends.hpp"

#include <moebal/router.hpp>
#include <moebal/select/top_k.hpp>

#include <array>
#include <span>

using namespace contracts;
using namespace moebal_test;
using moebal::MatrixView;

namespace {

moebal::Router constexpr router(moebal::TopK<3>{}, moebal::Sigmoid{.scale = 2});
Index const tokens = 21, experts = 19;

template <class Real> bool same(moebal::Routing<Real> const& a, moebal::Routing<Real> const& b) {
  for (Index t = 0; t < a.tokens(); ++t)
    for (Index k = 0; k < a.top_k(); ++k)
      if (a.expert_ids()(t, k) != b.expert_ids()(t, k) || a.weights()(t, k) != b.weights()(t, k)) return false;
  return a.tokens() == b.tokens() && a.top_k() == b.top_k();
}

} // namespace

BOOST_AUTO_TEST_SUITE(contracts_views)

BOOST_AUTO_TEST_CASE(eigen_matrices_maps_and_blocks) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  auto const x = logits_of(Kind::Bell, tokens, experts);
  on_each_backend([&](char const* name, auto const& exec) {
    BOOST_TEST_CONTEXT(name) {
      auto const plain = router.route(exec, matrix(x, tokens, experts));
      Eigen::Map<Matrix const> const map(x.data(), tokens, experts);
      BOOST_TEST(same(plain, router.route(exec, map)));
      Matrix const owned = map;
      BOOST_TEST(same(plain, router.route(exec, owned)));
      Matrix wide = Matrix::Constant(tokens + 2, experts + 7, 1e9f); // a block of it: rows lie apart
      wide.block(1, 4, tokens, experts) = map;
      BOOST_TEST(same(plain, router.route(exec, wide.block(1, 4, tokens, experts))));
      MatrixView<float const> const strided(wide.data() + experts + 7 + 4, tokens, experts, experts + 7);
      BOOST_TEST(same(plain, router.route(exec, strided)));
      Eigen::Map<Matrix const, 0, Eigen::OuterStride<>> const apart(wide.data() + experts + 7 + 4, tokens, experts,
                                                                    Eigen::OuterStride<>(experts + 7));
      BOOST_TEST(same(plain, router.route(exec, apart)));
    }
  });
}

BOOST_AUTO_TEST_CASE(vectors_of_options) {
  auto const x = logits_of(Kind::Bell, tokens, experts);
  auto const bias = bias_of(experts, 1);
  auto const padding = padding_of(tokens);
  std::array<Index, 3> const segments{0, 4, tokens};
  Eigen::VectorXf const eigen_bias = Eigen::Map<Eigen::VectorXf const>(bias.data(), experts);
  Eigen::RowVectorXf const row_bias = eigen_bias.transpose();
  on_each_backend([&](char const*, auto const& exec) {
    auto const logits = matrix(x, tokens, experts);
    auto const a = router.route(exec, logits, moebal::RowOptions<>{bias, padding, segments});
    BOOST_TEST(same(
        a, router.route(exec, logits, moebal::RowOptions<>{std::span(bias), std::span(padding), std::span(segments)})));
    BOOST_TEST(same(a, router.route(exec, logits, moebal::RowOptions<>{eigen_bias, padding, segments})));
    BOOST_TEST(same(a, router.route(exec, logits, moebal::RowOptions<>{row_bias, padding, segments})));
    BOOST_TEST(!same(a, router.route(exec, logits)));
  });
}

// A stride of 0 makes every row the first one: reading never assumes rows of their own.
BOOST_AUTO_TEST_CASE(one_row_many_times) {
  auto const x = logits_of(Kind::Bell, 1, experts);
  on_each_backend([&](char const*, auto const& exec) {
    auto const r = router.route(exec, MatrixView<float const>(x.data(), 5, experts, 0));
    for (Index t = 1; t < 5; ++t)
      for (Index k = 0; k < 3; ++k) BOOST_TEST(r.expert_ids()(t, k) == r.expert_ids()(0, k));
  });
}

BOOST_AUTO_TEST_CASE(recomputing_gives_the_same_bits) {
  auto const x = logits_of(Kind::Bell, tokens, experts);
  using Needs = moebal::stats::List<moebal::stats::ScoreSums, moebal::stats::Counts>;
  on_each_backend([&](char const*, auto const& exec) {
    auto const [a, first] = router.route_with<Needs>(exec, matrix(x, tokens, experts));
    auto const [b, second] = router.route_with<Needs>(exec, matrix(x, tokens, experts));
    BOOST_TEST(same(a, b));
    BOOST_TEST((first == second)); // overwritten, not added to
    BOOST_TEST(first.tokens() == tokens);
  });
}

// What is collected does not depend on what else is.
BOOST_AUTO_TEST_CASE(each_statistic_alone) {
  auto const x = logits_of(Kind::Bell, tokens, experts);
  auto const bias = bias_of(experts, 1);
  moebal::RowOptions<> const options{.bias = bias};
  on_each_backend([&](char const*, auto const& exec) {
    auto const [routing, all] = router.route_with<All>(exec, matrix(x, tokens, experts), options);
    auto const alone = [&]<class S>(S) {
      auto const [r, load] = router.route_with<moebal::stats::List<S>>(exec, matrix(x, tokens, experts), options);
      BOOST_TEST(same(routing, r));
      auto const a = all.template get<S>(), b = load.template get<S>();
      BOOST_TEST(std::equal(a.begin(), a.end(), b.begin(), b.end()));
    };
    alone(moebal::stats::Counts{});
    alone(moebal::stats::FirstChoiceCounts{});
    alone(moebal::stats::UnbiasedCounts{});
    alone(moebal::stats::UnbiasedFirstChoiceCounts{});
    alone(moebal::stats::ScoreSums{});
    alone(moebal::stats::LogSumExpSquares{});
    BOOST_TEST(same(routing, router.route(exec, matrix(x, tokens, experts), options)));
  });
}

BOOST_AUTO_TEST_SUITE_END()
