// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/maps.hpp"

#include <moebal/gate/silu.hpp>

using namespace moebal;
using namespace maps;

BOOST_AUTO_TEST_SUITE(gate_silu)

BOOST_AUTO_TEST_CASE(by_hand_and_gradient) {
  Matrix<double> x(1, 4), y(1, 4);
  x.values = {0, std::log(3.0), -std::log(3.0), 40};
  logits_into(EigenExec{}, Silu{}, x.view(), y.view());
  using boost::test_tools::tolerance;
  BOOST_TEST(y(0, 0) == 0);
  BOOST_TEST(y(0, 1) == 0.75 * std::log(3.0), tolerance(1e-14));
  BOOST_TEST(y(0, 2) == -0.25 * std::log(3.0), tolerance(1e-14));
  BOOST_TEST(y(0, 3) == 40.0, tolerance(1e-14));

  x = random_matrix<double>(5, 7, 1, 3);
  auto const pull = random_matrix<double>(5, 7, 2);
  Matrix<double> d(5, 7);
  backward_into(EigenExec{}, Silu{}, x.view(), pull.view(), d.view());
  auto const loss = [&] {
    Matrix<double> out(5, 7);
    logits_into(EigenExec{}, Silu{}, x.view(), out.view());
    return inner(out, pull);
  };
  BOOST_TEST(gradient_error(x.values, d.values, loss) < 1e-8);
}

BOOST_AUTO_TEST_CASE(any_shape_in_place_and_any_number_of_threads) {
  EigenExec const three = EigenExec{&pool()}.on_every_thread();
  for (auto const [T, E] : shapes) {
    auto const x = random_matrix<float>(T, E, 1);
    auto here = x;
    Matrix<float> there(T, E);
    logits_into(EigenExec{}, Silu{}, here.view(), here.view());
    logits_into(three, Silu{}, x.view(), there.view());
    BOOST_TEST((here == there));
  }
  Matrix<float> x(2, 3), wrong(2, 4);
  BOOST_CHECK_THROW(logits_into(EigenExec{}, Silu{}, x.view(), wrong.view()), ShapeError);
  BOOST_CHECK_THROW(backward_into(EigenExec{}, Silu{}, x.view(), wrong.view(), x.view()), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
