// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/maps.hpp"

#include <moebal/gate/cosine.hpp>
#include <moebal/gate/linear.hpp>

using namespace moebal;
using namespace maps;

static_assert(std::is_trivially_copyable_v<Cosine> && std::is_aggregate_v<Cosine> && Cosine::causal);

namespace {

template <class Real>
Matrix<Real> cosine(Cosine gate, Matrix<Real> const& h, Matrix<Real> const& v, EigenExec exec = {}) {
  Matrix<Real> z(h.rows, v.rows, Real(-9));
  Workspace workspace(Cosine::workspace_bytes<Real>(exec, h.rows, v.rows));
  logits_into(exec, gate, h.view(), v.view(), z.view(), WorkspaceView<>(workspace));
  return z;
}

} // namespace

BOOST_AUTO_TEST_SUITE(gate_cosine)

BOOST_AUTO_TEST_CASE(by_hand) {
  Matrix<double> h(1, 2), v(3, 2);
  h.values = {3, 4};
  v.values = {10, 0, 0, -2, 6, 8};
  using boost::test_tools::tolerance;
  auto const z = cosine(Cosine{.temperature = 0.5f}, h, v);
  BOOST_TEST(z(0, 0) == 1.2, tolerance(1e-14));
  BOOST_TEST(z(0, 1) == -1.6, tolerance(1e-14));
  BOOST_TEST(z(0, 2) == 2.0, tolerance(1e-14));
  auto const experts = cosine(Cosine{.temperature = 0.5f, .sides = CosineSides::Experts}, h, v);
  BOOST_TEST(experts(0, 0) == 6.0, tolerance(1e-14));
  h.values = {0, 0}; // no direction: no preference, and nothing undefined
  for (double value : cosine(Cosine{}, h, v).values) BOOST_TEST(value == 0);
}

BOOST_AUTO_TEST_CASE(lengths_do_not_matter) {
  auto h = random_matrix<double>(7, 5, 1), v = random_matrix<double>(60, 5, 2);
  auto const before = cosine(Cosine{}, h, v);
  for (double& x : h.values) x *= 4;
  for (double& x : v.values) x *= 0.25;
  BOOST_TEST((cosine(Cosine{}, h, v) == before)); // powers of two
  for (double z : before.values) BOOST_TEST(std::abs(z) <= 1 / 0.07 * (1 + 1e-6));
}

BOOST_AUTO_TEST_CASE(gradients) {
  Index const T = 5, E = 4, P = 3;
  for (CosineSides sides : {CosineSides::Both, CosineSides::Experts}) {
    auto h = random_matrix<double>(T, P, 1), v = random_matrix<double>(E, P, 2);
    std::vector<double> temperature{0.25};
    auto const pull = random_matrix<double>(T, E, 3);
    auto const gate = [&] { return Cosine{.temperature = float(temperature[0]), .sides = sides}; };
    auto const loss = [&] { return inner(cosine(gate(), h, v), pull); };
    Matrix<double> dh(T, P), dv(E, P);
    std::vector<double> dtau{0};
    Workspace workspace(Cosine::workspace_bytes<double>(EigenExec{}, T, E));
    backward_into(EigenExec{}, gate(), h.view(), v.view(), cosine(gate(), h, v).view(), pull.view(),
                  CosineGradient<double>{dh.view(), dv.view(), dtau}, WorkspaceView<>(workspace));
    BOOST_TEST(gradient_error(h.values, dh.values, loss) < 1e-8);
    BOOST_TEST(gradient_error(v.values, dv.values, loss) < 1e-8);
    BOOST_TEST(gradient_error(temperature, dtau, loss, 0x1p-13) < 1e-4); // the temperature is a float
    if (sides == CosineSides::Both)                                      // a token's gradient is across the token
      for (Index t = 0; t < T; ++t) {
        double along = 0;
        for (Index p = 0; p < P; ++p) along += h(t, p) * dh(t, p);
        BOOST_TEST(std::abs(along) < 1e-12);
      }
  }
}

// x -> Linear -> Cosine, as X-MoE: the gradient reaches x and the projection.
BOOST_AUTO_TEST_CASE(gradients_through_the_projection) {
  Index const T = 3, E = 4, P = 2, D = 6;
  auto x = random_matrix<double>(T, D, 1), w = random_matrix<double>(P, D, 2);
  auto const v = random_matrix<double>(E, P, 3), pull = random_matrix<double>(T, E, 4);
  auto const project = [&] {
    Matrix<double> h(T, P);
    logits_into(EigenExec{}, Linear{}, x.view(), w.view(), {}, h.view());
    return h;
  };
  auto const loss = [&] { return inner(cosine(Cosine{}, project(), v), pull); };
  auto const h = project();
  Matrix<double> dh(T, P), dx(T, D), dw(P, D);
  Workspace workspace(Cosine::workspace_bytes<double>(EigenExec{}, T, E));
  backward_into(EigenExec{}, Cosine{}, h.view(), v.view(), cosine(Cosine{}, h, v).view(), pull.view(),
                CosineGradient<double>{.d_h = dh.view()}, WorkspaceView<>(workspace));
  backward_into(EigenExec{}, Linear{}, x.view(), w.view(), dh.view(), LinearGradient<double>{dx.view(), dw.view()});
  BOOST_TEST(gradient_error(x.values, dx.values, loss) < 1e-7);
  BOOST_TEST(gradient_error(w.values, dw.values, loss) < 1e-7);
}

BOOST_AUTO_TEST_CASE(any_shape_and_any_number_of_threads) {
  EigenExec const three = EigenExec{&pool()}.on_every_thread();
  for (auto const [T, E] : shapes) {
    auto const h = random_matrix<float>(T, 17, 1), v = random_matrix<float>(E, 17, 2),
               pull = random_matrix<float>(T, E, 3);
    auto const z = cosine(Cosine{}, h, v);
    BOOST_TEST((z == cosine(Cosine{}, h, v, three)));
    Matrix<float> dh[2] = {{T, 17}, {T, 17}}, dv[2] = {{E, 17}, {E, 17}};
    std::vector<float> dtau[2] = {{0}, {0}};
    for (int i : {0, 1}) {
      Workspace workspace(Cosine::workspace_bytes<float>(three, T, E));
      backward_into(i ? three : EigenExec{}, Cosine{}, h.view(), v.view(), z.view(), pull.view(),
                    CosineGradient<float>{dh[i].view(), dv[i].view(), dtau[i]}, WorkspaceView<>(workspace));
    }
    BOOST_TEST(((dh[0] == dh[1]) && (dv[0] == dv[1]) && (dtau[0] == dtau[1])));
  }
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  Matrix<float> h(2, 3), v(4, 3), wrong(4, 2), z(2, 4);
  Workspace small(8), enough(4096);
  BOOST_CHECK_THROW(logits_into(EigenExec{}, Cosine{}, h.view(), wrong.view(), z.view(), WorkspaceView<>(enough)),
                    ShapeError);
  Matrix<float> many(40, 3), wide(2, 40);
  BOOST_CHECK_THROW(logits_into(EigenExec{}, Cosine{}, h.view(), many.view(), wide.view(), WorkspaceView<>(small)),
                    ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
