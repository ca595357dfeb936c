// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/rows.hpp"

#include <moebal/gate/softmax_row.hpp>
#include <moebal/gate/z_loss.hpp>

#include <limits>

using namespace moebal;
using namespace gate_rows;

namespace {
template <class Real> double lse(std::vector<Real> const& z) {
  return gate::open_softmax<Real>(SerialLanes{}, LogitRow<Real>{z.data()}, Index(z.size())).log_sum_exp();
}
} // namespace

BOOST_AUTO_TEST_SUITE(gate_softmax_row)

BOOST_AUTO_TEST_CASE(log_sum_exp_in_double_whatever_the_logits) {
  for (double shift : {-1000.0, -3.0, 0.0, 50.0, 1e6}) {
    std::vector<double> z = logits;
    for (double& v : z) v += shift;
    BOOST_TEST(std::abs(lse(z) - reference::log_sum_exp(z)) <= 1e-15 * (5 + std::abs(shift)));
    std::vector<float> const f(z.begin(), z.end());
    BOOST_TEST(std::abs(lse(f) - reference::log_sum_exp(reference::Row(f.begin(), f.end()))) <= 1e-6);
  }
  BOOST_TEST(lse<float>({2.5f}) == 2.5);
  BOOST_TEST(std::isnan(lse<float>({1, std::numeric_limits<float>::quiet_NaN()})));
  BOOST_TEST(std::abs(lse<float>({1, -std::numeric_limits<float>::infinity()}) - 1) < 1e-7);
}

BOOST_AUTO_TEST_CASE(z_gradient_is_added) {
  std::vector<double> const z = logits;
  std::vector<double> d(z.size(), 10);
  gate::z_backward(SerialLanes{}, LogitRow<double>{z.data()}, Index(z.size()), 0.3, d.data());
  reference::Row expected = reference::squared_lse_gradient(z);
  for (double& v : expected) v = 10 + 0.3 * v;
  BOOST_TEST(close(d, expected, 1e-15));
}

BOOST_AUTO_TEST_SUITE_END()
