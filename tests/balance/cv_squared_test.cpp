// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/balance/cv_squared.hpp>

#include <cmath>
#include <vector>

using namespace moebal;
namespace tt = boost::test_tools;

namespace {
double cv2(std::vector<double> const& x, Variance v, double epsilon, VectorView<double> d = {}) {
  return cv_squared<double>(VectorView<double const>(x), v, epsilon, d);
}
} // namespace

BOOST_AUTO_TEST_SUITE(balance_cv_squared)

BOOST_AUTO_TEST_CASE(values) {
  std::vector<double> const x{4, 1, 1, 2}; // mean 2, squares 6
  BOOST_TEST(cv2(x, Variance::Population, 0) == 1.5 / 4);
  BOOST_TEST(cv2(x, Variance::Sample, 0) == 2 / 4.0);
  BOOST_TEST(cv2(x, Variance::Population, 2) == 1.5 / 6);
  BOOST_TEST(cv2({}, Variance::Sample, 0) == 0.0);
  BOOST_TEST(cv2({3}, Variance::Sample, 0) == 0.0);
  BOOST_TEST(cv2({0, 0}, Variance::Population, 0) == 0.0);
}

BOOST_AUTO_TEST_CASE(gradient) {
  for (auto const variance : {Variance::Population, Variance::Sample})
    for (double const epsilon : {0.0, 0.7}) {
      std::vector<double> x{0.3, 2, 1.5, -0.25, 4}, d(5);
      cv2(x, variance, epsilon, d);
      for (std::size_t i = 0; i < x.size(); ++i) {
        double const at = x[i], h = 1e-6;
        x[i] = at + h;
        double const up = cv2(x, variance, epsilon);
        x[i] = at - h;
        double const down = cv2(x, variance, epsilon);
        x[i] = at;
        BOOST_TEST(std::abs((up - down) / (2 * h) - d[i]) < 1e-8);
      }
    }
}

BOOST_AUTO_TEST_CASE(the_gradient_has_the_shape_of_the_values) {
  std::vector<double> const x{1, 2};
  std::vector<double> d(3);
  BOOST_CHECK_THROW(cv2(x, Variance::Population, 0, d), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
