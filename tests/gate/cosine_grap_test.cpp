// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/maps.hpp"

#include <moebal/gate/cosine_grap.hpp>

using namespace moebal;
using namespace maps;

static_assert(std::is_trivially_copyable_v<CosineGrAP> && std::is_aggregate_v<CosineGrAP> && CosineGrAP::causal);

namespace {

template <class Real> Matrix<Real> affinity(Matrix<Real> const& x, Index experts, EigenExec exec = {}) {
  Matrix<Real> z(x.rows, experts, Real(-9));
  logits_into(exec, CosineGrAP{}, x.view(), z.view());
  return z;
}

} // namespace

BOOST_AUTO_TEST_SUITE(gate_cosine_grap)

BOOST_AUTO_TEST_CASE(by_hand) {
  Matrix<double> x(1, 4);
  x.values = {3, 3, 4, 0}; // rows (1/2, 1/2, 0, 0) and (0, 0, 1/2, 1/2) of length sqrt(1/2), |x| = sqrt(34)
  auto const z = affinity(x, 2);
  BOOST_TEST(std::abs(z(0, 0) - 6 / std::sqrt(2 * 34.0)) < 1e-15);
  BOOST_TEST(std::abs(z(0, 1) - 4 / std::sqrt(2 * 34.0)) < 1e-15);
}

BOOST_AUTO_TEST_CASE(is_the_cosine_to_the_rows_of_grap) {
  Index const T = 7, E = 12, D = 60;
  auto const x = random_matrix<double>(T, D, 1);
  Matrix<double> z(T, E);
  logits_into(EigenExec{}, GrAP{.rectify = Rectify::None}, x.view(), {}, z.view());
  auto const cosines = affinity(x, E);
  for (Index t = 0; t < T; ++t) {
    double square = 0;
    for (Index d = 0; d < D; ++d) square += x(t, d) * x(t, d);
    for (Index e = 0; e < E; ++e)
      BOOST_TEST(std::abs(cosines(t, e) - z(t, e) / std::sqrt(square * double(E) / double(D))) < 1e-14);
  }
}

BOOST_AUTO_TEST_CASE(gradients) {
  Index const T = 5, E = 4, D = 12;
  auto x = random_matrix<double>(T, D, 1);
  auto const pull = random_matrix<double>(T, E, 3);
  Matrix<double> dx(T, D, 9);
  backward_into(EigenExec{}, CosineGrAP{}, x.view(), affinity(x, E).view(), pull.view(), dx.view());
  BOOST_TEST(gradient_error(x.values, dx.values, [&] { return inner(affinity(x, E), pull); }) < 1e-8);
}

BOOST_AUTO_TEST_CASE(any_shape_and_any_number_of_threads) {
  EigenExec const three = EigenExec{&pool()}.on_every_thread();
  for (auto const [T, E] : shapes)
    for (Index size : {1, 33}) {
      Index const D = E * size;
      auto const x = random_matrix<float>(T, D, 1), pull = random_matrix<float>(T, E, 3);
      auto const z = affinity(x, E);
      BOOST_TEST((z == affinity(x, E, three)));
      Matrix<float> d1(T, D, 9), d3(T, D, 9);
      backward_into(EigenExec{}, CosineGrAP{}, x.view(), z.view(), pull.view(), d1.view());
      backward_into(three, CosineGrAP{}, x.view(), z.view(), pull.view(), d3.view());
      BOOST_TEST((d1 == d3));
    }
}

BOOST_AUTO_TEST_CASE(a_token_of_zeros_has_no_affinity) {
  Matrix<float> const x(1, 6), pull(1, 3, 1);
  auto const z = affinity(x, 3);
  for (float v : z.values) BOOST_TEST(v == 0);
  Matrix<float> dx(1, 6);
  backward_into(EigenExec{}, CosineGrAP{}, x.view(), z.view(), pull.view(), dx.view());
  for (float v : dx.values) BOOST_TEST(std::isfinite(v));
}

BOOST_AUTO_TEST_CASE(unequal_chunks_are_refused) {
  Matrix<float> const x(2, 7);
  Matrix<float> z(2, 3);
  BOOST_CHECK_THROW(logits_into(EigenExec{}, CosineGrAP{}, x.view(), z.view()), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
