// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/maps.hpp"

#include <moebal/gate/linear.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/router.hpp>
#include <moebal/select/top_k.hpp>

#include <Eigen/Core>

using namespace moebal;
using namespace maps;

BOOST_AUTO_TEST_SUITE(gate_linear)

BOOST_AUTO_TEST_CASE(by_hand_with_a_router_bias_that_counts_in_the_weights) {
  Eigen::Matrix<float, Eigen::Dynamic, 2, Eigen::RowMajor> x(1, 2), weight(3, 2);
  x << 1, 2;
  weight << 1, 0, 0, 1, 1, 1; // logits 1, 2, 3
  std::vector<float> const bias{2.5f, 0, 0};
  Matrix<float> z(1, 3);
  logits_into(EigenExec{}, Linear{}, x, weight, bias, z.view());
  BOOST_TEST((z.values == std::vector<float>{3.5f, 2, 3}));
  auto const routing = Router{TopK<2>{}, SoftmaxOverChosen{}}.route(EigenExec{}, z.view());
  BOOST_TEST(routing.expert_ids()(0, 0) == 0);
  BOOST_TEST(routing.expert_ids()(0, 1) == 2);
  BOOST_TEST(routing.weights()(0, 0) == 1 / (1 + std::exp(-0.5f)), boost::test_tools::tolerance(1e-6f));
  logits_into(EigenExec{}, Linear{.store = Store::Add}, x, weight, {}, z.view());
  BOOST_TEST((z.values == std::vector<float>{4.5f, 4, 6}));
}

BOOST_AUTO_TEST_CASE(any_shape_and_any_number_of_threads) {
  for (auto const [T, E] : shapes)
    for (Index D : {1, 37}) {
      auto const x = random_matrix<float>(T, D, 1), w = random_matrix<float>(E, D, 2),
                 g = random_matrix<float>(T, E, 3);
      auto const b = random_matrix<float>(1, E, 4);
      Matrix<float> z1(T, E), z3(T, E), dx1(T, D, 9), dx3(T, D, 9), dw1(E, D, 9), dw3(E, D, 9), db1(1, E, 9),
          db3(1, E, 9);
      logits_into(EigenExec{}, Linear{}, x.view(), w.view(), b.values, z1.view());
      logits_into(EigenExec{&pool()}.on_every_thread(), Linear{}, x.view(), w.view(), b.values, z3.view());
      backward_into(EigenExec{}, Linear{}, x.view(), w.view(), g.view(),
                    LinearGradient<float>{dx1.view(), dw1.view(), db1.values});
      backward_into(EigenExec{&pool()}.on_every_thread(), Linear{}, x.view(), w.view(), g.view(),
                    LinearGradient<float>{dx3.view(), dw3.view(), db3.values});
      BOOST_TEST(((z1 == z3) && (dx1 == dx3) && (dw1 == dw3) && (db1 == db3)));
      for (Index t = 0; t < T; ++t) {
        double exact = b(0, E - 1);
        for (Index d = 0; d < D; ++d) exact += double(x(t, d)) * double(w(E - 1, d));
        BOOST_TEST_REQUIRE(std::abs(z1(t, E - 1) - exact) < 2e-5);
      }
    }
}

BOOST_AUTO_TEST_CASE(gradients) {
  Index const T = 5, E = 3, D = 7;
  auto x = random_matrix<double>(T, D, 1), w = random_matrix<double>(E, D, 2), b = random_matrix<double>(1, E, 3);
  auto const pull = random_matrix<double>(T, E, 4);
  auto const loss = [&] {
    Matrix<double> z(T, E);
    logits_into(EigenExec{}, Linear{}, x.view(), w.view(), b.values, z.view());
    return inner(z, pull);
  };
  Matrix<double> dx(T, D), dw(E, D), db(1, E);
  backward_into(EigenExec{}, Linear{}, x.view(), w.view(), pull.view(),
                LinearGradient<double>{dx.view(), dw.view(), db.values});
  BOOST_TEST(gradient_error(x.values, dx.values, loss) < 1e-8);
  BOOST_TEST(gradient_error(w.values, dw.values, loss) < 1e-8);
  BOOST_TEST(gradient_error(b.values, db.values, loss) < 1e-8);
  auto const before = dx;
  Matrix<double> again(1, E);
  backward_into(EigenExec{}, Linear{}, x.view(), w.view(), pull.view(), LinearGradient<double>{.d_bias = again.values});
  BOOST_TEST((again == db));
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  Matrix<float> x(2, 3), w(4, 3), z(2, 4), narrow(2, 5), wide(4, 2);
  std::vector<float> three(3);
  BOOST_CHECK_THROW(logits_into(EigenExec{}, Linear{}, x.view(), w.view(), {}, narrow.view()), ShapeError);
  BOOST_CHECK_THROW(logits_into(EigenExec{}, Linear{}, x.view(), wide.view(), {}, z.view()), ShapeError);
  BOOST_CHECK_THROW(logits_into(EigenExec{}, Linear{}, x.view(), w.view(), three, z.view()), ShapeError);
  BOOST_CHECK_THROW(
      backward_into(EigenExec{}, Linear{}, x.view(), w.view(), z.view(), LinearGradient<float>{.d_x = w.view()}),
      ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
