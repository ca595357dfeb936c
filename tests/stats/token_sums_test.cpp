// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/maps.hpp"

#include <moebal/moebal.hpp>
#include <moebal/stats/token_sums.hpp>

using namespace moebal;
using namespace maps;

namespace {
template <class Real>
Matrix<std::int64_t> sums_of(Matrix<Real> const& x, Routing<Real> const& routing, Index experts, bool weighted,
                             EigenExec exec = {}) {
  Matrix<std::int64_t> sums(experts, x.cols + 1, -7);
  token_sums_into(exec, x.view(), routing.expert_ids(), weighted ? routing.weights() : MatrixView<Real const>{},
                  sums.view());
  return sums;
}
} // namespace

BOOST_AUTO_TEST_SUITE(stats_token_sums)

BOOST_AUTO_TEST_CASE(by_hand) {
  Matrix<float> x(4, 2);
  x.values = {1, -2, 0.5f, 0, 3, 3, 8, 8};
  std::vector<ExpertId> const ids{0, 2, 2, no_expert, no_expert, no_expert, 2, 0};
  std::vector<float> const weights{1, 0.5f, 0.25f, 0, 0, 0, 0.75f, 2};
  Matrix<std::int64_t> plain(3, 3), weighted(3, 3);
  MatrixView<ExpertId const> const choices(ids.data(), 4, 2);
  token_sums_into(EigenExec{}, x.view(), choices, MatrixView<float const>{}, plain.view());
  token_sums_into(EigenExec{}, x.view(), choices, MatrixView<float const>(weights.data(), 4, 2), weighted.view());
  auto const scaled = [](std::vector<double> const& v) {
    std::vector<std::int64_t> all;
    for (double const s : v) all.push_back(std::int64_t(s * TokenSums::one));
    return all;
  };
  BOOST_TEST(plain.values == scaled({9, 6, 2, 0, 0, 0, 9.5, 6, 3}), boost::test_tools::per_element());
  BOOST_TEST(weighted.values == scaled({17, 14, 3, 0, 0, 0, 0.5 + 0.125 + 6, -1 + 6, 1.5}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_no_sum_has_room_for_is_cut_off) {
  constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  Matrix<float> x(1, 4);
  x.values = {inf, -inf, nan, 1e30f};
  std::vector<ExpertId> const ids{0};
  Matrix<std::int64_t> sums(1, 5);
  token_sums_into(EigenExec{}, x.view(), MatrixView<ExpertId const>(ids.data(), 1, 1), MatrixView<float const>{},
                  sums.view());
  std::int64_t const most = std::int64_t(TokenSums::limit * TokenSums::one);
  BOOST_TEST(sums.values == (std::vector<std::int64_t>{most, -most, 0, most, 1 << 24}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(any_cut_and_any_number_of_threads) {
  EigenExec const three = EigenExec{&pool()}.on_every_thread();
  for (auto const [T, E] : shapes)
    for (bool const weighted : {false, true}) {
      auto const x = random_matrix<float>(T, 37, 1), z = random_matrix<float>(T, E, 2);
      Router const router{TopK<1>{}, Softmax{}};
      auto const whole = sums_of(x, router.route(EigenExec{}, z.view()), E, weighted, three);
      Matrix<std::int64_t> parts(E, 38);
      for (Index from = 0; from < T; from += 4) {
        Index const n = std::min<Index>(4, T - from);
        Matrix<float> some(n, 37);
        std::copy_n(x.values.begin() + from * 37, n * 37, some.values.begin());
        auto const routing = router.route(EigenExec{}, MatrixView<float const>(z.values.data() + from * E, n, E));
        auto const part = sums_of(some, routing, E, weighted);
        for (std::size_t i = 0; i < part.values.size(); ++i) parts.values[i] += part.values[i];
      }
      BOOST_TEST((whole == parts));
    }
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  Matrix<float> x(4, 3);
  std::vector<ExpertId> const ids(8);
  std::vector<float> const weights(8);
  Matrix<std::int64_t> fits(5, 4), wrong(5, 3);
  MatrixView<ExpertId const> const choices(ids.data(), 4, 2), few(ids.data(), 3, 2);
  auto const run = [&](auto i, auto w, Matrix<std::int64_t>& to) {
    token_sums_into(EigenExec{}, x.view(), i, w, to.view());
  };
  run(choices, MatrixView<float const>{}, fits);
  BOOST_CHECK_THROW(run(few, MatrixView<float const>{}, fits), ShapeError);
  BOOST_CHECK_THROW(run(choices, MatrixView<float const>{}, wrong), ShapeError);
  BOOST_CHECK_THROW(run(choices, MatrixView<float const>(weights.data(), 4, 1), fits), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
