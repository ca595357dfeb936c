// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/maps.hpp"

#include <moebal/gate/noisy_load.hpp>

#include <algorithm>

using namespace moebal;
using namespace maps;

static_assert(std::is_trivially_copyable_v<NoisyLoad> && std::is_aggregate_v<NoisyLoad> && NoisyLoad::causal);

namespace {

/// P(t, e) by its definition; the thresholds are read from `held` where it is given.
Matrix<double> probabilities(NoisyLoad policy, Matrix<double> const& z, Matrix<double> const& sigma,
                             Matrix<double> const& h, Matrix<double> const* held = nullptr) {
  Matrix<double> p(z.rows, z.cols);
  for (Index t = 0; t < z.rows; ++t)
    for (Index e = 0; e < z.cols; ++e) {
      std::vector<double> others;
      for (Index i = 0; i < z.cols; ++i)
        if (i != e || policy.threshold == LoadThreshold::KthNoisy) others.push_back(held ? (*held)(t, i) : h(t, i));
      std::sort(others.rbegin(), others.rend());
      bool const alone = Index(others.size()) < policy.top_k;
      p(t, e) =
          alone ? 1
                : 0.5 * std::erfc(-(z(t, e) - others[std::size_t(policy.top_k - 1)]) / sigma(t, e) / std::sqrt(2.0));
    }
  return p;
}
template <class Noise, class Real>
std::vector<std::int64_t> load(NoisyLoad policy, Noise noise, Matrix<Real> const& z, Matrix<Real> const& n,
                               Matrix<Real> const& h, EigenExec exec = {},
                               std::vector<std::uint8_t> const& padding = {}) {
  std::vector<std::int64_t> sums(std::size_t(z.cols), -1);
  Workspace workspace(NoisyLoad::workspace_bytes<Real>(exec, z.cols));
  load_into(exec, policy, noise, z.view(), n.view(), h.view(), padding, VectorView<std::int64_t>(sums),
            WorkspaceView<>(workspace));
  return sums;
}
Matrix<double> deviations(LearnedNoise noise, Matrix<double> const& n) {
  Matrix<double> sigma(n.rows, n.cols);
  for (std::size_t i = 0; i < n.values.size(); ++i)
    sigma.values[i] = std::log1p(std::exp(n.values[i])) + double(noise.floor);
  return sigma;
}

} // namespace

BOOST_AUTO_TEST_SUITE(gate_noisy_load)

BOOST_AUTO_TEST_CASE(by_hand) {
  Matrix<double> z(1, 3), h(1, 3), none;
  z.values = {1, 2, 0};
  h.values = {3, 2, 1};                                 // K = 1: expert 0 is inside
  FixedNoise const noise{.deviation_times_experts = 3}; // sigma 1
  double const one = NoisyLoad::one;
  auto const phi = [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); };
  auto const left_out = load(NoisyLoad{.top_k = 1}, noise, z, none, h);
  BOOST_TEST(std::abs(double(left_out[0]) / one - phi(1 - 2)) < 1e-9); // against the next
  BOOST_TEST(std::abs(double(left_out[1]) / one - phi(2 - 3)) < 1e-9);
  BOOST_TEST(std::abs(double(left_out[2]) / one - phi(0 - 3)) < 1e-9);
  auto const kth = load(NoisyLoad{.top_k = 1, .threshold = LoadThreshold::KthNoisy}, noise, z, none, h);
  BOOST_TEST(std::abs(double(kth[0]) / one - phi(1 - 3)) < 1e-9); // against itself
  for (std::int64_t all : load(NoisyLoad{.top_k = 3}, noise, z, none, h))
    BOOST_TEST(double(all) == one);                                                          // K = E: always chosen
  for (std::int64_t no : load(NoisyLoad{}, noise, z, none, h, {}, {1})) BOOST_TEST(no == 0); // padding
}

BOOST_AUTO_TEST_CASE(sums_of_probabilities) {
  auto const z = random_matrix<double>(7, 6, 1), n = random_matrix<double>(7, 6, 2);
  Matrix<double> h(7, 6);
  LearnedNoise const noise{.seed = 4};
  logits_into(EigenExec{}, noise, z.view(), n.view(), h.view());
  for (LoadThreshold threshold : {LoadThreshold::LeaveOneOut, LoadThreshold::KthNoisy})
    for (Index k : {1, 2, 5, 6}) {
      NoisyLoad const policy{.top_k = k, .threshold = threshold};
      auto const p = probabilities(policy, z, deviations(noise, n), h);
      auto const sums = load(policy, noise, z, n, h);
      for (Index e = 0; e < 6; ++e) {
        double sum = 0;
        for (Index t = 0; t < 7; ++t) sum += p(t, e);
        BOOST_TEST(std::abs(double(sums[std::size_t(e)]) / NoisyLoad::one - sum) < 1e-8);
      }
    }
}

BOOST_AUTO_TEST_CASE(gradients) {
  Index const T = 5, E = 6;
  LearnedNoise const noise{.seed = 4};
  auto z = random_matrix<double>(T, E, 1), n = random_matrix<double>(T, E, 2);
  auto const slopes = random_matrix<double>(1, E, 3);
  auto const noisy = [&] {
    Matrix<double> h(T, E);
    logits_into(EigenExec{}, noise, z.view(), n.view(), h.view());
    return h;
  };
  auto const held = noisy();
  for (LoadThreshold threshold : {LoadThreshold::LeaveOneOut, LoadThreshold::KthNoisy})
    for (ThresholdGradient through : {ThresholdGradient::Through, ThresholdGradient::Stopped}) {
      NoisyLoad const policy{.top_k = 2, .threshold = threshold, .gradient = through};
      auto const loss = [&] {
        auto const p = probabilities(policy, z, deviations(noise, n), noisy(),
                                     through == ThresholdGradient::Stopped ? &held : nullptr);
        double sum = 0;
        for (Index t = 0; t < T; ++t)
          for (Index e = 0; e < E; ++e) sum += slopes(0, e) * p(t, e);
        return sum;
      };
      Matrix<double> dz(T, E), dh(T, E), dn(T, E);
      Workspace workspace(NoisyLoad::workspace_bytes<double>(EigenExec{}, E));
      auto const h = noisy();
      Matrix<double> const &cz = z, &cn = n;
      load_backward_into(EigenExec{}, policy, noise, cz.view(), cn.view(), h.view(), {}, slopes.values,
                         NoisyLoadGradient<double>{dz.view(), dh.view(), dn.view()}, WorkspaceView<>(workspace));
      backward_into(EigenExec{}, noise, cn.view(), dh.view(), dz.view(), dn.view());
      BOOST_TEST(gradient_error(z.values, dz.values, loss) < 1e-7);
      BOOST_TEST(gradient_error(n.values, dn.values, loss) < 1e-7);
    }
}

BOOST_AUTO_TEST_CASE(cuts_and_threads_change_nothing) {
  for (auto const [T, E] : shapes) {
    NoisyLoad const policy{.top_k = std::min<Index>(3, E)};
    auto const z = random_matrix<float>(T, E, 1), n = random_matrix<float>(T, E, 2),
               slopes = random_matrix<float>(1, E, 3);
    Matrix<float> h(T, E);
    logits_into(EigenExec{}, LearnedNoise{}, z.view(), n.view(), h.view());
    auto const one = load(policy, LearnedNoise{}, z, n, h);
    BOOST_TEST((one == load(policy, LearnedNoise{}, z, n, h, EigenExec{&pool()}.on_every_thread())));
    Matrix<float> dz[2] = {{T, E}, {T, E}}, dh[2] = {{T, E}, {T, E}}, dn[2] = {{T, E}, {T, E}};
    EigenExec const three = EigenExec{&pool()}.on_every_thread();
    for (int i : {0, 1}) {
      Workspace workspace(NoisyLoad::workspace_bytes<float>(three, E));
      load_backward_into(i ? three : EigenExec{}, policy, LearnedNoise{}, z.view(), n.view(), std::as_const(h).view(),
                         {}, slopes.values, NoisyLoadGradient<float>{dz[i].view(), dh[i].view(), dn[i].view()},
                         WorkspaceView<>(workspace));
    }
    BOOST_TEST(((dz[0] == dz[1]) && (dh[0] == dh[1]) && (dn[0] == dn[1])));
    std::vector<std::int64_t> sum(std::size_t(E), 0);
    for (Index t = 0; t < T; ++t) {
      auto const row = [&](Matrix<float> const& m) {
        Matrix<float> r(1, E);
        std::copy_n(m.values.data() + t * E, E, r.values.data());
        return r;
      };
      auto const part = load(policy, LearnedNoise{}, row(z), row(n), row(h));
      for (std::size_t e = 0; e < part.size(); ++e) sum[e] += part[e];
    }
    BOOST_TEST((sum == one));
  }
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  Matrix<float> const z(2, 3), n(2, 3), h(2, 3), wrong(2, 4);
  BOOST_CHECK_THROW(load(NoisyLoad{.top_k = 4}, LearnedNoise{}, z, n, h), ShapeError);
  BOOST_CHECK_THROW(load(NoisyLoad{.top_k = 0}, LearnedNoise{}, z, n, h), ShapeError);
  BOOST_CHECK_THROW(load(NoisyLoad{}, LearnedNoise{}, z, Matrix<float>{}, h), ShapeError);
  BOOST_CHECK_THROW(load(NoisyLoad{}, LearnedNoise{}, z, n, wrong), ShapeError);
}

// Without noise the load is a step: its slope would be 0 / 0.
BOOST_AUTO_TEST_CASE(no_noise_has_no_smooth_load) {
  Matrix<float> const z(2, 3), none;
  for (float const deviation : {0.0f, -1.0f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
    FixedNoise const noise{.deviation_times_experts = deviation};
    BOOST_CHECK_EXCEPTION(load(NoisyLoad{}, noise, z, none, z), ShapeError, [](ShapeError const& e) {
      return std::string(e.what()).find("deviation_times_experts of FixedNoise: needed more than 0") !=
             std::string::npos;
    });
    Workspace workspace(4096);
    std::vector<float> const slope(3, 1.0f);
    BOOST_CHECK_THROW(load_backward_into(EigenExec{}, NoisyLoad{}, noise, z.view(), none.view(), z.view(), {}, slope,
                                         NoisyLoadGradient<float>{}, WorkspaceView<>(workspace)),
                      ShapeError);
  }
}

BOOST_AUTO_TEST_SUITE_END()
