// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/maps.hpp"

#include <moebal/gate/softmax.hpp>
#include <moebal/router.hpp>
#include <moebal/select/top_k.hpp>
#include <moebal/select/zero_outputs.hpp>

using namespace moebal;
using namespace maps;

namespace {

ZeroExperts const zeros{.ffn = 3, .zero = 1, .copy = 2, .constant = 2};
constexpr Index K = 3;

template <class Real> struct Layer {
  Matrix<Real> x, weights, vectors, mixers;
  std::vector<ExpertId> ids;
  Index T, D;

  Layer(Index tokens, Index width) : ids(std::size_t(tokens * K)), T(tokens), D(width) {
    x = random_matrix<Real>(T, D, 1);
    vectors = random_matrix<Real>(2, D, 2);
    mixers = random_matrix<Real>(4, D, 3);
    weights = Matrix<Real>(T, K);
    auto const z = random_matrix<Real>(T, zeros.experts(), 4);
    Routing<Real> const r = Router{TopK<int(K)>{}, Softmax{}}.route(EigenExec{}, z.view());
    for (Index t = 0; t < T; ++t)
      for (Index k = 0; k < K; ++k) {
        bool const missing = t % 5 == 4 && k == 2;
        ids[std::size_t(t * K + k)] = missing ? no_expert : r.expert_ids()(t, k);
        weights(t, k) = missing ? 0 : r.weights()(t, k);
      }
  }
  MatrixView<ExpertId const> id_view() const { return {ids.data(), T, K}; }
  ConstantExperts<Real> constants() const { return {vectors.view(), mixers.view()}; }
  Matrix<Real> out(EigenExec exec = {}) const {
    Matrix<Real> y(T, D, 1);
    combine_zero_into(exec, zeros, x.view(), id_view(), weights.view(), constants(), y.view());
    return y;
  }
};

} // namespace

BOOST_AUTO_TEST_SUITE(select_zero_outputs)

BOOST_AUTO_TEST_CASE(by_hand) {
  Matrix<double> x(1, 2), w(1, 4), v(2, 2), m(4, 2), y(1, 2, 100);
  x.values = {1, 2};
  w.values = {8, 4, 0.5, 2};
  v.values = {0, 0, 10, 20};
  m.values = {0, 0, 0, 0, 1, 1, 1, 1}; // equal products: halves
  std::vector<ExpertId> const ids{0, 3, 5, 7};
  combine_zero_into(EigenExec{}, zeros, x.view(), MatrixView<ExpertId const>(ids.data(), 1, 4), w.view(),
                    {v.view(), m.view()}, y.view());
  BOOST_TEST(y(0, 0) == 100 + 0.5 * 1 + 2 * (0.5 * 1 + 0.5 * 10), boost::test_tools::tolerance(1e-14));
  BOOST_TEST(y(0, 1) == 100 + 0.5 * 2 + 2 * (0.5 * 2 + 0.5 * 20), boost::test_tools::tolerance(1e-14));
}

// Identity experts alone: what networks and zero experts would do is left out.
BOOST_AUTO_TEST_CASE(longcat_needs_no_parameters) {
  ZeroExperts const identity{.ffn = 2, .copy = 2};
  Matrix<float> x(1, 3, 2), w(1, 3, 0.25f), y(1, 3, 1);
  std::vector<ExpertId> const ids{2, 0, 3};
  combine_zero_into(EigenExec{}, identity, x.view(), MatrixView<ExpertId const>(ids.data(), 1, 3), w.view(), {},
                    y.view());
  for (float value : y.values) BOOST_TEST(value == 2);
}

BOOST_AUTO_TEST_CASE(gradients) {
  Layer<double> layer(11, 6);
  auto const pull = random_matrix<double>(11, 6, 9);
  auto const loss = [&] { return inner(layer.out(), pull); };
  Matrix<double> dx(11, 6), dw(11, K), dv(2, 6, 7), dm(4, 6, 7);
  Workspace workspace(combine_zero_backward_bytes<double>(EigenExec{}, 11, K));
  combine_zero_backward_into(
      EigenExec{}, zeros, layer.x.view(), layer.id_view(), layer.weights.view(), layer.constants(), pull.view(),
      ZeroOutputGradient<double>{dx.view(), dw.view(), dv.view(), dm.view()}, WorkspaceView<>(workspace));
  BOOST_TEST(gradient_error(layer.x.values, dx.values, loss) < 1e-8);
  BOOST_TEST(gradient_error(layer.weights.values, dw.values, loss) < 1e-8);
  BOOST_TEST(gradient_error(layer.vectors.values, dv.values, loss) < 1e-8);
  BOOST_TEST(gradient_error(layer.mixers.values, dm.values, loss) < 1e-8);
}

BOOST_AUTO_TEST_CASE(any_shape_and_any_number_of_threads) {
  EigenExec const three = EigenExec{&pool()}.on_every_thread();
  for (Index T : {0, 1, 7, 133})
    for (Index D : {1, 37}) {
      Layer<float> const layer(T, D);
      BOOST_TEST((layer.out() == layer.out(three)));
      auto const pull = random_matrix<float>(T, D, 9);
      Matrix<float> dx[2] = {{T, D}, {T, D}}, dw[2] = {{T, K}, {T, K}}, dv[2] = {{2, D}, {2, D}},
                    dm[2] = {{4, D}, {4, D}};
      for (int i : {0, 1}) {
        Workspace workspace(combine_zero_backward_bytes<float>(three, T, K));
        combine_zero_backward_into(i ? three : EigenExec{}, zeros, layer.x.view(), layer.id_view(),
                                   layer.weights.view(), layer.constants(), pull.view(),
                                   ZeroOutputGradient<float>{dx[i].view(), dw[i].view(), dv[i].view(), dm[i].view()},
                                   WorkspaceView<>(workspace));
      }
      BOOST_TEST(((dx[0] == dx[1]) && (dw[0] == dw[1]) && (dv[0] == dv[1]) && (dm[0] == dm[1])));
    }
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  Layer<float> const layer(4, 5);
  Matrix<float> y(4, 5), narrow(4, 4), one(1, 5);
  BOOST_CHECK_THROW(combine_zero_into(EigenExec{}, zeros, layer.x.view(), layer.id_view(), layer.weights.view(),
                                      layer.constants(), narrow.view()),
                    ShapeError);
  BOOST_CHECK_THROW(
      combine_zero_into(EigenExec{}, zeros, layer.x.view(), layer.id_view(), layer.weights.view(), {}, y.view()),
      ShapeError);
  BOOST_CHECK_THROW(combine_zero_into(EigenExec{}, zeros, layer.x.view(), layer.id_view(), layer.weights.view(),
                                      {std::as_const(one).view(), layer.mixers.view()}, y.view()),
                    ShapeError);
  Workspace small(8);
  BOOST_CHECK_THROW(combine_zero_backward_into(EigenExec{}, zeros, layer.x.view(), layer.id_view(),
                                               layer.weights.view(), layer.constants(), std::as_const(y).view(),
                                               ZeroOutputGradient<float>{.d_x = y.view()}, WorkspaceView<>(small)),
                    ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
