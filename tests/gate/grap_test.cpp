// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/maps.hpp"

#include <moebal/gate/grap.hpp>
#include <moebal/gate/linear.hpp>

using namespace moebal;
using namespace maps;

static_assert(std::is_trivially_copyable_v<GrAP> && std::is_aggregate_v<GrAP> && GrAP::causal);

namespace {

template <class Real>
Matrix<Real> grap(GrAP gate, Matrix<Real> const& x, Index experts, std::vector<Real> const& bias = {},
                  EigenExec exec = {}) {
  Matrix<Real> z(x.rows, experts, Real(-9));
  logits_into(exec, gate, x.view(), bias, z.view());
  return z;
}

} // namespace

BOOST_AUTO_TEST_SUITE(gate_grap)

BOOST_AUTO_TEST_CASE(means_of_chunks_by_hand) {
  Matrix<float> x(1, 6);
  x.values = {1, 3, -2, -4, 8, 0};
  BOOST_TEST((grap(GrAP{}, x, 3).values == std::vector<float>{2, 0, 4}));
  BOOST_TEST((grap(GrAP{.rectify = Rectify::None}, x, 3).values == std::vector<float>{2, -3, 4}));
  BOOST_TEST((grap(GrAP{}, x, 3, {-3, 4, 0.5f}).values == std::vector<float>{0, 1, 4.5f}));
  BOOST_TEST((grap(GrAP{}, x, 1).values == std::vector<float>{1}));
  x(0, 0) = std::nanf("");
  BOOST_TEST(std::isnan(grap(GrAP{}, x, 3)(0, 0)));
}

BOOST_AUTO_TEST_CASE(is_the_linear_gate_with_orthogonal_rows) {
  Index const T = 7, E = 12, D = 60;
  auto const x = random_matrix<double>(T, D, 1);
  Matrix<double> w(E, D), z(T, E);
  grap_rows_into(EigenExec{}, w.view());
  logits_into(EigenExec{}, Linear{}, x.view(), w.view(), {}, z.view());
  auto const own = grap(GrAP{.rectify = Rectify::None}, x, E);
  for (std::size_t i = 0; i < z.values.size(); ++i) BOOST_TEST(std::abs(z.values[i] - own.values[i]) < 1e-14);
  for (Index a = 0; a < E; ++a)
    for (Index b = 0; b < E; ++b) {
      double dot = 0;
      for (Index d = 0; d < D; ++d) dot += w(a, d) * w(b, d);
      BOOST_TEST(std::abs(dot - (a == b ? double(E) / double(D) : 0)) < 1e-15);
    }
}

BOOST_AUTO_TEST_CASE(gradients) {
  Index const T = 5, E = 4, D = 12;
  auto x = random_matrix<double>(T, D, 1);
  std::vector<double> bias = random_matrix<double>(1, E, 2).values;
  auto const pull = random_matrix<double>(T, E, 3);
  for (Rectify rectify : {Rectify::None, Rectify::ReLU}) {
    GrAP const gate{.rectify = rectify};
    auto const loss = [&] { return inner(grap(gate, x, E, bias), pull); };
    Matrix<double> dx(T, D, 9);
    std::vector<double> d_bias(std::size_t(E), 9);
    backward_into(EigenExec{}, gate, grap(gate, x, E, bias).view(), pull.view(), dx.view(), d_bias);
    BOOST_TEST(gradient_error(x.values, dx.values, loss) < 1e-8);
    BOOST_TEST(gradient_error(bias, d_bias, loss) < 1e-8);
  }
}

BOOST_AUTO_TEST_CASE(any_shape_and_any_number_of_threads) {
  EigenExec const three = EigenExec{&pool()}.on_every_thread();
  for (auto const [T, E] : shapes)
    for (Index size : {1, 33}) {
      Index const D = E * size;
      auto const x = random_matrix<float>(T, D, 1), pull = random_matrix<float>(T, E, 3);
      auto const z = grap(GrAP{}, x, E);
      BOOST_TEST((z == grap(GrAP{}, x, E, {}, three)));
      Matrix<float> d1(T, D, 9), d3(T, D, 9);
      backward_into(EigenExec{}, GrAP{}, z.view(), pull.view(), d1.view());
      backward_into(three, GrAP{}, z.view(), pull.view(), d3.view());
      BOOST_TEST((d1 == d3));
    }
}

BOOST_AUTO_TEST_CASE(unequal_chunks_are_refused) {
  Matrix<float> const x(2, 7);
  Matrix<float> z(2, 3), none(2, 0);
  BOOST_CHECK_THROW(logits_into(EigenExec{}, GrAP{}, x.view(), {}, z.view()), ShapeError);
  BOOST_CHECK_THROW(logits_into(EigenExec{}, GrAP{}, x.view(), {}, none.view()), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
