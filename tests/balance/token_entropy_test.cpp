// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "support/inputs.hpp"

#include <moebal/balance/token_entropy.hpp>
#include <moebal/moebal.hpp>

#include <cmath>
#include <unsupported/Eigen/CXX11/ThreadPool>

using namespace moebal;
using namespace moebal_test;
namespace tt = boost::test_tools;

namespace {

double entropy(double const* z, Index experts) {
  double max = z[0], sum = 0, h = 0;
  for (Index e = 0; e < experts; ++e) max = std::max(max, z[e]);
  for (Index e = 0; e < experts; ++e) sum += std::exp(z[e] - max);
  for (Index e = 0; e < experts; ++e)
    if (double const p = std::exp(z[e] - max) / sum; p > 0) h -= p * std::log(p);
  return h;
}
template <class Logit>
std::vector<compute_t<Logit>> entropies(EigenExec const& exec, std::vector<Logit> const& x, Index experts,
                                        std::vector<std::uint8_t> const& padding = {}) {
  using Real = compute_t<Logit>;
  std::vector<Real> h(x.size() / std::size_t(experts), Real(-1));
  token_entropies_into(exec, matrix(x, Index(h.size()), experts), VectorView<std::uint8_t const>(padding),
                       VectorView<Real>(h));
  return h;
}

} // namespace

BOOST_AUTO_TEST_SUITE(balance_token_entropy)

BOOST_AUTO_TEST_CASE(the_formula) {
  for (Index const experts : {1, 3, 60, 160})
    for (Index const tokens : {0, 1, 7, 50}) {
      auto const x = logits_of<double>(Kind::Bell, tokens, experts);
      auto const h = entropies(EigenExec{}, x, experts);
      for (Index t = 0; t < tokens; ++t)
        BOOST_TEST(std::abs(h[std::size_t(t)] - entropy(x.data() + t * experts, experts)) < 1e-12);
      auto const narrow = logits_of<float>(Kind::Bell, tokens, experts);
      std::vector<double> const wide(narrow.begin(), narrow.end());
      auto const f = entropies(EigenExec{}, narrow, experts);
      for (Index t = 0; t < tokens; ++t)
        BOOST_TEST(std::abs(double(f[std::size_t(t)]) - entropy(wide.data() + t * experts, experts)) < 3e-6);
    }
}

BOOST_AUTO_TEST_CASE(between_sure_and_undecided) {
  double const inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  BOOST_TEST(entropies<double>({}, {2, 2, 2, 2}, 4)[0] == std::log(4.0), tt::tolerance(1e-14));
  BOOST_TEST(entropies<double>({}, {0, 1000, 0, 0}, 4)[0] == 0.0);
  BOOST_TEST(entropies<double>({}, {1, -inf, 1, -inf}, 4)[0] == std::log(2.0), tt::tolerance(1e-14));
  BOOST_TEST(std::isnan(entropies<double>({}, {1, nan, 1, 0}, 4)[0]));
}

BOOST_AUTO_TEST_CASE(threads_change_nothing_and_padding_counts_nothing) {
  auto const x = logits_of<BFloat16>(Kind::Bell, 133, 60);
  auto const padding = padding_of(133);
  Eigen::ThreadPool pool(3);
  auto const one = entropies(EigenExec{}, x, 60, padding), many = entropies(EigenExec{&pool}.on_every_thread(), x, 60, padding);
  BOOST_TEST(one == many, tt::per_element());
  for (std::size_t t = 0; t < padding.size(); ++t) BOOST_TEST((one[t] == 0) == (padding[t] != 0));
}

BOOST_AUTO_TEST_CASE(gradient) {
  Index const tokens = 7, experts = 5;
  auto x = logits_of<double>(Kind::Bell, tokens, experts);
  std::vector<std::uint8_t> padding(7);
  padding[2] = 1;
  std::vector<double> d(x.size(), 0.5);
  token_entropies_backward_into(EigenExec{}, matrix(x, tokens, experts), VectorView<std::uint8_t const>(padding), 0.25,
                                MatrixView<double>(d.data(), tokens, experts));
  auto const loss = [&] {
    double sum = 0;
    for (double const h : entropies(EigenExec{}, x, experts, padding)) sum += 0.25 * h;
    return sum;
  };
  for (std::size_t i = 0; i < x.size(); ++i) {
    double const z = x[i], h = 1e-6;
    x[i] = z + h;
    double const up = loss();
    x[i] = z - h;
    double const down = loss();
    x[i] = z;
    BOOST_TEST(std::abs((up - down) / (2 * h) + 0.5 - d[i]) < 1e-8); // added to what was there
  }
}

BOOST_AUTO_TEST_CASE(the_gradient_of_an_expert_without_a_share_is_nothing) {
  double const inf = std::numeric_limits<double>::infinity();
  std::vector<double> const x{1, -inf, 2};
  std::vector<double> d(3);
  token_entropies_backward_into(EigenExec{}, matrix(x, 1, 3), VectorView<std::uint8_t const>{}, 1.0,
                                MatrixView<double>(d.data(), 1, 3));
  BOOST_TEST(d[1] == 0.0);
  BOOST_TEST(std::abs(d[0] + d[2]) < 1e-15);
  BOOST_TEST(d[0] > 0.0); // more of the weaker: more entropy
}

BOOST_AUTO_TEST_CASE(shapes_are_checked) {
  std::vector<float> const x(6);
  std::vector<float> h(3), d(6);
  std::vector<std::uint8_t> padding(3);
  BOOST_CHECK_THROW(
      token_entropies_into(EigenExec{}, matrix(x, 2, 3), VectorView<std::uint8_t const>{}, VectorView<float>(h)),
      ShapeError);
  BOOST_CHECK_THROW(token_entropies_into(EigenExec{}, matrix(x, 2, 3), VectorView<std::uint8_t const>(padding),
                                         VectorView<float>(h.data(), 2)),
                    ShapeError);
  BOOST_CHECK_THROW(token_entropies_backward_into(EigenExec{}, matrix(x, 2, 3), VectorView<std::uint8_t const>{}, 1.0f,
                                                  MatrixView<float>(d.data(), 3, 2)),
                    ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
