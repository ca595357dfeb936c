// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "support/inputs.hpp"

#include <moebal/balance/router_orthogonality.hpp>
#include <moebal/moebal.hpp>

#include <cmath>
#include <unsupported/Eigen/CXX11/ThreadPool>

using namespace moebal;
namespace tt = boost::test_tools;

namespace {

using Norm = RouterOrthogonality::Norm;
using Rows = RouterOrthogonality::Rows;
double value(RouterOrthogonality const& rule, std::vector<double> const& r, Index experts, VectorView<double> d = {}) {
  Index const width = Index(r.size()) / experts;
  MatrixView<double> const gradient = d.empty() ? MatrixView<double>{} : MatrixView<double>(d.data(), experts, width);
  return rule(EigenExec{}, MatrixView<double const>(r.data(), experts, width), gradient);
}
std::vector<double> random_matrix(Index experts, Index width) {
  return moebal_test::logits_of<double>(moebal_test::Kind::Bell, experts, width, 5);
}

} // namespace

BOOST_AUTO_TEST_SUITE(balance_router_orthogonality)

BOOST_AUTO_TEST_CASE(values) {
  BOOST_TEST(value({}, {0, 1, 0, 1, 0, 0}, 2) == 0.0);
  BOOST_TEST(value({}, {2, 0, 1, 1}, 2) == 3 + 2 + 2 + 1.0); // R R^T = [4 2; 2 2]
  BOOST_TEST(value({.norm = Norm::Squares}, {2, 0, 1, 1}, 2) == 9 + 4 + 4 + 1.0);
  BOOST_TEST(value({.coefficient = 0.5}, {2, 0, 1, 1}, 2) == 4.0);
  BOOST_TEST(value({.rows = Rows::Normalised}, {2, 0, 1, 1}, 2) == 2 / std::sqrt(2.0), tt::tolerance(1e-12));
  BOOST_TEST(value({.norm = Norm::Squares, .rows = Rows::Normalised}, {3, 4, -30, -40}, 2) == 2.0,
             tt::tolerance(1e-12));
  BOOST_TEST(value({.rows = Rows::Normalised}, {0, 0, 1, 1}, 2) == 1.0, tt::tolerance(1e-12)); // a row of zeros
}

BOOST_AUTO_TEST_CASE(gradients) {
  for (auto const norm : {Norm::Absolute, Norm::Squares})
    for (auto const rows : {Rows::Given, Rows::Normalised})
      for (Index const experts : {1, 3, 5}) {
        RouterOrthogonality const rule{.coefficient = 0.5, .norm = norm, .rows = rows};
        auto r = random_matrix(experts, 11);
        std::vector<double> d(r.size());
        value(rule, r, experts, d);
        for (std::size_t i = 0; i < r.size(); ++i) {
          double const at = r[i], h = 1e-6;
          r[i] = at + h;
          double const up = value(rule, r, experts);
          r[i] = at - h;
          double const down = value(rule, r, experts);
          r[i] = at;
          BOOST_TEST(std::abs((up - down) / (2 * h) - d[i]) < 1e-7 * (1 + std::abs(d[i])));
        }
      }
}

BOOST_AUTO_TEST_CASE(descending_makes_rows_orthogonal) {
  Index const experts = 6, width = 16;
  auto r = random_matrix(experts, width);
  RouterOrthogonality const rule{.norm = Norm::Squares};
  std::vector<double> d(r.size());
  for (int i = 0; i < 3000; ++i) {
    value(rule, r, experts, d);
    for (std::size_t j = 0; j < r.size(); ++j) r[j] -= 0.005 * d[j];
  }
  BOOST_TEST(value(rule, r, experts) < 1e-12);
}

BOOST_AUTO_TEST_CASE(threads_change_nothing) {
  std::vector<float> r = moebal_test::logits_of<float>(moebal_test::Kind::Bell, 9, 35, 2), a(r.size()), b(r.size());
  Eigen::ThreadPool pool(3);
  RouterOrthogonality const rule{};
  MatrixView<float const> const x(r.data(), 9, 35);
  double const one = rule(EigenExec{}, x, MatrixView<float>(a.data(), 9, 35));
  BOOST_TEST(one == rule(EigenExec{&pool}.on_every_thread(), x, MatrixView<float>(b.data(), 9, 35)));
  BOOST_TEST(a == b, tt::per_element());
}

BOOST_AUTO_TEST_CASE(the_gradient_has_the_shape_of_the_router) {
  std::vector<double> const r(12);
  std::vector<double> d(12);
  BOOST_CHECK_THROW(
      RouterOrthogonality{}(EigenExec{}, MatrixView<double const>(r.data(), 3, 4), MatrixView<double>(d.data(), 4, 3)),
      ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
