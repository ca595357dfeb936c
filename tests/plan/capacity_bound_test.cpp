// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/plan/capacity_bound.hpp>

#include <vector>

using namespace moebal;

namespace {
// The definition, integrated: the density of cos is proportional to (1 - c^2)^((D-3)/2); c = sin(angle) tames its ends.
double integrated(double delta, Index dimensions) {
  double const low = std::asin(delta), high = std::acos(0.0);
  auto const simpson = [&](double from, double to) {
    int const n = 200000;
    double sum = 0;
    for (int i = 0; i <= n; ++i) {
      double const angle = from + (to - from) * i / n;
      sum += std::pow(std::cos(angle), double(dimensions - 2)) * (i == 0 || i == n ? 1 : i % 2 ? 4 : 2);
    }
    return sum * (to - from) / n / 3;
  };
  return simpson(low, high) / simpson(0, high);
}
} // namespace

BOOST_AUTO_TEST_SUITE(plan_capacity_bound)

// Numbers of the reference, from a numerical integration of the incomplete beta function.
BOOST_AUTO_TEST_CASE(printed_probabilities) {
  auto const close = boost::test_tools::tolerance(2e-6);
  BOOST_TEST(delta_probability(1 / std::sqrt(64.0), 64) == 0.321136, close);
  BOOST_TEST(delta_probability(1 / std::sqrt(1024.0), 1024) == 0.317547, close);
  BOOST_TEST(delta_probability(1 / std::sqrt(4096.0), 4096) == 0.317370, close);
  BOOST_TEST(delta_probability(1 / std::sqrt(64.0), 64, DeltaForm::Erfc) == 0.315413, close);
  BOOST_TEST(delta_probability(1 / std::sqrt(1024.0), 1024, DeltaForm::Erfc) == 0.317192, close);
  BOOST_TEST(delta_probability(1 / std::sqrt(4096.0), 4096, DeltaForm::Erfc) == 0.317281, close);
  BOOST_TEST(delta_probability(1e-4, 100000000) == 0.317311, close); // erfc(1 / sqrt 2)
}

BOOST_AUTO_TEST_CASE(printed_capacities) {
  auto const close = boost::test_tools::tolerance(5e-6);
  BOOST_TEST(least_capacity(.03, 4096, 16) == 1.13952, close);
  BOOST_TEST(least_capacity(.03, 5120, 16) == 1.96481, close);
  BOOST_TEST(least_capacity(.05, 4096, 16) == 45.7026, close);
  auto const two_digits = boost::test_tools::tolerance(2e-2);
  BOOST_TEST(least_capacity(.03, 4096, 16, DeltaForm::Erfc) == 1.14, two_digits);
  BOOST_TEST(least_capacity(.03, 5120, 16, DeltaForm::Erfc) == 1.97, two_digits);
  BOOST_TEST(least_capacity(.05, 4096, 16, DeltaForm::Erfc) == 45.8, two_digits);
  BOOST_TEST(least_capacity(.03, 4096, 16, DeltaForm::Exp) == .40, two_digits);
  BOOST_TEST(least_capacity(.03, 5120, 16, DeltaForm::Exp) == .63, two_digits);
  BOOST_TEST(least_capacity(.05, 4096, 16, DeltaForm::Exp) == 10.5, two_digits);
}

BOOST_AUTO_TEST_CASE(as_the_integral) {
  for (Index const d : {2, 3, 4, 7, 64, 1001})
    for (double const delta : {.001, .03, .2, .5, .9})
      if (double const p = integrated(delta, d); p > 1e-30)
        BOOST_TEST(delta_probability(delta, d) == p, boost::test_tools::tolerance(1e-9));
  // In closed form: D = 2: 1 - 2 asin(delta) / pi; D = 3: 1 - delta (Archimedes).
  for (double const delta : {0., 1e-9, .1, .5, .99, 1.}) {
    BOOST_TEST(delta_probability(delta, 3) == 1 - delta, boost::test_tools::tolerance(1e-12));
    BOOST_TEST(delta_probability(delta, 2) == 1 - std::asin(delta) / std::acos(0.0),
               boost::test_tools::tolerance(1e-7)); // its last digits are lost to 1 - x near 1
  }
}

BOOST_AUTO_TEST_CASE(by_batch) {
  std::vector<float> const cosines{.01f, -.05f, NAN, .02f, .9f, .03f};
  std::vector<std::uint8_t> const padding{0, 0, 1};
  double const most =
      largest_affinity(MatrixView<float const>(cosines.data(), 3, 2), VectorView<std::uint8_t const>(padding));
  BOOST_TEST(most == double(.05f));
  BOOST_TEST(largest_affinity(MatrixView<float const>(cosines.data(), 3, 2)) == double(.9f));
  BOOST_TEST(largest_affinity(MatrixView<float const>(nullptr, 0, 2)) == 0.0);
  BOOST_TEST((AdaptiveCapacity{}.slots(most, 4096, 16, 1000)) == 11); // 10.5
  BOOST_TEST((AdaptiveCapacity{.form = DeltaForm::Exact}.slots(most, 4096, 16, 1000)) == 46);
  BOOST_TEST((AdaptiveCapacity{}.slots(.9, 4096, 16, 1000)) == 1000); // no more than there are
  BOOST_TEST((AdaptiveCapacity{}.slots(0, 4096, 16, 1000)) == 1);
  BOOST_TEST((AdaptiveCapacity{.minimum = 4}.slots(0, 4096, 16, 1000)) == 4);
  BOOST_TEST((AdaptiveCapacity{}.slots(.9, 4096, 16, 0)) == 0);
}

BOOST_AUTO_TEST_CASE(refuses) {
  BOOST_CHECK_THROW(delta_probability(.1, 1), ShapeError);
  BOOST_CHECK_THROW(delta_probability(-.1, 9), ShapeError);
  BOOST_CHECK_THROW(delta_probability(NAN, 9), ShapeError);
  BOOST_CHECK_THROW(least_capacity(.1, 9, 0), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
