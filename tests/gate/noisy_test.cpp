// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/maps.hpp"

#include <moebal/gate/noisy.hpp>

using namespace moebal;
using namespace maps;

static_assert(LearnedNoise::causal && FixedNoise::causal);

namespace {

template <class Real, class Noise>
Matrix<Real> noisy(Noise noise, Matrix<Real> const& z, Matrix<Real> const& n, EigenExec exec = {}) {
  Matrix<Real> h(z.rows, z.cols, 9);
  logits_into(exec, noise, z.view(), n.view(), h.view());
  return h;
}

} // namespace

BOOST_AUTO_TEST_SUITE(gate_noisy)

BOOST_AUTO_TEST_CASE(deviations) {
  Index const T = 4000, E = 4;
  Matrix<double> const z(T, E, 2), n(T, E, 0.5), none;
  auto const variance = [&](Matrix<double> const& h) {
    double sum = 0;
    for (double v : h.values) sum += (v - 2) * (v - 2);
    return sum / double(T * E);
  };
  double const sigma = std::log1p(std::exp(0.5)) + double(0.25f);
  BOOST_TEST(std::abs(variance(noisy(LearnedNoise{.floor = 0.25f}, z, n)) / (sigma * sigma) - 1) < 0.05);
  BOOST_TEST(std::abs(variance(noisy(FixedNoise{}, z, none)) * 16 - 1) < 0.05);
  BOOST_TEST((noisy(FixedNoise{.seed = 1}, z, none) != noisy(FixedNoise{.seed = 2}, z, none)));
  BOOST_TEST((noisy(FixedNoise{.deviation_times_experts = 0}, z, none) == z));
}

BOOST_AUTO_TEST_CASE(cuts_and_threads_change_nothing) {
  for (auto const [T, E] : shapes) {
    auto const z = random_matrix<float>(T, E, 1), n = random_matrix<float>(T, E, 2);
    auto const h = noisy(LearnedNoise{.seed = 3}, z, n);
    BOOST_TEST((h == noisy(LearnedNoise{.seed = 3}, z, n, EigenExec{&pool()}.on_every_thread())));
    Index const half = T / 2, at = half * E;
    Matrix<float> cut(T, E);
    auto const part = [&](std::vector<float> const& v, Index first, Index rows) {
      return MatrixView<float const>(v.data() + first, rows, E);
    };
    logits_into(EigenExec{}, LearnedNoise{.seed = 3}, part(z.values, 0, half), part(n.values, 0, half),
                MatrixView<float>(cut.values.data(), half, E));
    logits_into(EigenExec{}, LearnedNoise{.seed = 3, .first = half}, part(z.values, at, T - half),
                part(n.values, at, T - half), MatrixView<float>(cut.values.data() + at, T - half, E));
    BOOST_TEST((h == cut));
  }
}

BOOST_AUTO_TEST_CASE(gradients_are_added) {
  auto z = random_matrix<double>(4, 5, 1), n = random_matrix<double>(4, 5, 2);
  auto const pull = random_matrix<double>(4, 5, 3);
  LearnedNoise const noise{.seed = 9};
  auto const loss = [&] { return inner(noisy(noise, z, n), pull); };
  Matrix<double> dz(4, 5, 1), dn(4, 5, 1);
  backward_into(EigenExec{}, noise, n.view(), pull.view(), dz.view(), dn.view());
  for (double& v : dz.values) v -= 1;
  for (double& v : dn.values) v -= 1;
  BOOST_TEST(gradient_error(z.values, dz.values, loss) < 1e-8);
  BOOST_TEST(gradient_error(n.values, dn.values, loss) < 1e-8);
  Matrix<double> fixed(4, 5);
  backward_into(EigenExec{}, FixedNoise{}, {}, pull.view(), fixed.view(), {});
  BOOST_TEST((fixed == pull));
}

BOOST_AUTO_TEST_CASE(learned_noise_needs_its_logits) {
  Matrix<float> const z(2, 3);
  Matrix<float> h(2, 3), wrong(2, 4);
  BOOST_CHECK_THROW(logits_into(EigenExec{}, LearnedNoise{}, z.view(), {}, h.view()), ShapeError);
  BOOST_CHECK_THROW(logits_into(EigenExec{}, FixedNoise{}, z.view(), {}, wrong.view()), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
