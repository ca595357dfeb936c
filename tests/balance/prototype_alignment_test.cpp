// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/maps.hpp"

#include <moebal/balance/prototype_alignment.hpp>
#include <moebal/moebal.hpp>

using namespace moebal;
using namespace maps;
namespace tt = boost::test_tools;

namespace {

/// A latent prototype router: x -> silu -> P dimensions -> cosines to prototypes.
struct Latent {
  Matrix<double> x, w, prototypes;
  std::vector<double> b;
  Matrix<double> latent() const {
    Matrix<double> active(x.rows, x.cols), u(x.rows, w.rows);
    logits_into(EigenExec{}, Silu{}, x.view(), active.view());
    logits_into(EigenExec{}, Linear{}, active.view(), w.view(), b, u.view());
    return u;
  }
  Matrix<double> logits() const {
    Matrix<double> z(x.rows, prototypes.rows);
    Workspace workspace(Cosine::workspace_bytes<double>(EigenExec{}, x.rows, prototypes.rows));
    logits_into(EigenExec{}, Cosine{.temperature = 1}, latent().view(), prototypes.view(), z.view(),
                WorkspaceView<>(workspace));
    return z;
  }
};

} // namespace

BOOST_AUTO_TEST_SUITE(balance_prototype_alignment)

BOOST_AUTO_TEST_CASE(by_hand) {
  Matrix<double> const p = [] {
    Matrix<double> m(3, 2);
    m.values = {1, 2, 0, 0, 5, 5};
    return m;
  }();
  std::vector<std::int64_t> sums;
  for (double const s : {3.0, 1.0, 2.0, /**/ -0.5, 1.0, 0.5, /**/ 0.0, 0.0, 0.0}) // targets (1.5, .5), (-1, 2), none
    sums.push_back(std::int64_t(s * TokenSums::one));
  MatrixView<std::int64_t const> const view(sums.data(), 3, 3);
  Matrix<double> d(3, 2, 10);
  double const part = 0.6 / 6;
  BOOST_TEST((PrototypeAlignment{.coefficient = 0.6}(p.view(), view, d.view())) == part * (0.5 + 1.5 + 1 + 2),
             tt::tolerance(1e-14));
  std::vector<double> const expected{10 - part, 10 + part, 10 + part, 10 - part, 10, 10};
  BOOST_TEST(d.values == expected, tt::tolerance(1e-14) << tt::per_element());
  PrototypeAlignment const sum{.coefficient = 0.6, .target = PrototypeTarget::Sum};
  BOOST_TEST(sum(p.view(), view) == part * (2 + 1 + 0.5 + 1), tt::tolerance(1e-14));
}

// All of latent prototype routing: the alignment and the diversity of prototypes, and a loss of the logits, by the
// prototypes and by the projection.
BOOST_AUTO_TEST_CASE(gradients_of_the_whole_router) {
  Index const T = 9, D = 6, P = 3, E = 4;
  Latent net{random_matrix<double>(T, D, 1), random_matrix<double>(P, D, 2), random_matrix<double>(E, P, 3),
             random_matrix<double>(1, P, 4).values};
  auto const pull = random_matrix<double>(T, E, 5);
  auto const routing = Router{TopK<2>{}, SoftmaxOverChosen{}}.route(EigenExec{}, net.logits().view());
  Matrix<std::int64_t> sums(E, P + 1); // the targets carry no gradient
  token_sums_into(EigenExec{}, net.latent().view(), routing.expert_ids(), routing.weights(), sums.view());
  RouterOrthogonality const diversity{.coefficient = 1.0 / double(E * E),
                                      .norm = RouterOrthogonality::Norm::Squares,
                                      .rows = RouterOrthogonality::Rows::Normalised};
  PrototypeAlignment const alignment{.coefficient = 3};
  auto const loss = [&] {
    auto const& p = std::as_const(net.prototypes);
    return inner(net.logits(), pull) + alignment(p.view(), std::as_const(sums).view()) +
           diversity(EigenExec{}, p.view());
  };
  Matrix<double> d_u(T, P), d_p(E, P), d_more(E, P), d_w(P, D);
  std::vector<double> d_b(std::size_t(P), 0.0);
  auto const& p = std::as_const(net.prototypes);
  Workspace workspace(Cosine::workspace_bytes<double>(EigenExec{}, T, E));
  backward_into(EigenExec{}, Cosine{.temperature = 1}, net.latent().view(), p.view(), net.logits().view(), pull.view(),
                CosineGradient<double>{.d_h = d_u.view(), .d_directions = d_p.view()}, WorkspaceView<>(workspace));
  diversity(EigenExec{}, p.view(), d_more.view());
  alignment(p.view(), std::as_const(sums).view(), d_p.view());
  for (std::size_t i = 0; i < d_p.values.size(); ++i) d_p.values[i] += d_more.values[i];
  Matrix<double> active(T, D);
  logits_into(EigenExec{}, Silu{}, net.x.view(), active.view());
  backward_into(EigenExec{}, Linear{}, active.view(), net.w.view(), d_u.view(),
                LinearGradient<double>{.d_weight = d_w.view(), .d_bias = d_b});
  BOOST_TEST(gradient_error(net.prototypes.values, d_p.values, loss) < 1e-7);
  BOOST_TEST(gradient_error(net.w.values, d_w.values, loss) < 1e-7);
  BOOST_TEST(gradient_error(net.b, d_b, loss) < 1e-7);
}

// The diversity loss as its code has it: the mean square of the cosines between prototypes, less the identity.
BOOST_AUTO_TEST_CASE(diversity_is_router_orthogonality) {
  Matrix<double> p(3, 2);
  p.values = {2, 0, 0, -5, 3, 3}; // cosines 0, 1 / sqrt 2, -1 / sqrt 2
  RouterOrthogonality const diversity{.coefficient = 1.0 / 9,
                                      .norm = RouterOrthogonality::Norm::Squares,
                                      .rows = RouterOrthogonality::Rows::Normalised};
  BOOST_TEST(diversity(EigenExec{}, std::as_const(p).view()) == 2.0 / 9, tt::tolerance(1e-14));
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  Matrix<float> const p(3, 4);
  Matrix<std::int64_t> const fits(3, 5), rows(2, 5), columns(3, 4);
  Matrix<float> wrong(3, 5);
  BOOST_TEST((PrototypeAlignment{}(p.view(), fits.view())) == 0.0); // nothing was routed
  BOOST_CHECK_THROW(PrototypeAlignment{}(p.view(), rows.view()), ShapeError);
  BOOST_CHECK_THROW(PrototypeAlignment{}(p.view(), columns.view()), ShapeError);
  BOOST_CHECK_THROW((PrototypeAlignment{}(p.view(), fits.view(), wrong.view())), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
