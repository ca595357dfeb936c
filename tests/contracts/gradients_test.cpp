// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Gradients against central differences of the reference's forward, in double; fp32 against fp64.
#include "support/test.hpp"

#include "contracts/oracle.hpp"

using namespace contracts;
using namespace moebal_test;

namespace {

template <class Real> struct Pulls { // what flows back into a router
  std::vector<Real> d_weights, slopes, z_slopes;
  moebal::RouterGradient<Real> view(Index tokens, Index k, Index sequences, Index experts) const {
    moebal::RouterGradient<Real> g;
    if (!d_weights.empty()) g.d_weights = {d_weights.data(), tokens, k};
    if (!slopes.empty()) g.slopes = {slopes.data(), sequences, experts};
    g.z_slopes = z_slopes;
    return g;
  }
};
template <class Real> Pulls<Real> pulls_of(Index tokens, Index k, Index sequences, Index experts) {
  Random random(31);
  Pulls<Real> p;
  for (Index i = 0; i < tokens * k; ++i) p.d_weights.push_back(Real(random.bell()));
  for (Index i = 0; i < sequences * experts; ++i) p.slopes.push_back(Real(random.bell()));
  for (Index i = 0; i < sequences; ++i) p.z_slopes.push_back(Real(random.bell(0.3f)));
  return p;
}

struct Problem {
  reference::Gate gate;
  std::vector<reference::Ids> ids;
  Pulls<double> pulls;
  Options options;
  Index k;

  Index sequence_of(Index t) const {
    Index s = 0;
    while (options.segments[std::size_t(s) + 1] <= t) ++s;
    return s;
  }
  double loss(reference::Matrix const& logits) const {
    double sum = 0;
    for (std::size_t t = 0; t < logits.rows; ++t) {
      if (options.padding[t]) continue;
      reference::Row const z = logits.row(t), w = reference::weights(gate, z, ids[t]),
                           q = reference::normalised_scores(gate.score, z);
      std::size_t const s = std::size_t(sequence_of(Index(t)));
      if (!pulls.d_weights.empty())
        for (std::size_t i = 0; i < std::size_t(k); ++i) sum += pulls.d_weights[t * std::size_t(k) + i] * w[i];
      if (!pulls.slopes.empty())
        for (std::size_t e = 0; e < logits.cols; ++e) sum += pulls.slopes[s * logits.cols + e] * q[e];
      if (!pulls.z_slopes.empty()) sum += pulls.z_slopes[s] * std::pow(reference::log_sum_exp(z), 2);
    }
    return sum;
  }
};

Index const tokens = 5, experts = 13, sequences = 2;

template <class Real>
Gradient<Real> gradient_of(std::size_t b, Gate const& gate, Problem const& p, std::vector<float> const& logits) {
  std::vector<Real> const x(logits.begin(), logits.end());
  Pulls<Real> const pulls{{p.pulls.d_weights.begin(), p.pulls.d_weights.end()},
                          {p.pulls.slopes.begin(), p.pulls.slopes.end()},
                          {p.pulls.z_slopes.begin(), p.pulls.z_slopes.end()}};
  std::vector<ExpertId> ids;
  for (auto const& row : p.ids) ids.insert(ids.end(), row.begin(), row.end());
  return backward<Real>(b, gate, p.k, matrix(x, tokens, experts), p.options, ids,
                        pulls.view(tokens, p.k, sequences, experts));
}

Problem problem_of(std::size_t b, Gate const& gate, Pick pick, std::vector<float> const& x, std::vector<float> bias) {
  Options const options{.bias = std::move(bias), .padding = {0, 0, 1, 0, 0}, .segments = {0, 2, tokens}};
  auto const r = route(b, gate, pick, matrix(x, tokens, experts), options);
  Problem p{reference_gate(gate), {}, pulls_of<double>(tokens, pick.k, sequences, experts), options, pick.k};
  for (Index t = 0; t < tokens; ++t) p.ids.push_back(ids_of(r, t));
  return p;
}

bool close(std::vector<double> const& a, std::vector<double> const& b, double tolerance) {
  double scale = 1e-3;
  for (double v : b) scale = std::max(scale, std::abs(v));
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!(std::abs(a[i] - b[i]) <= tolerance * scale)) return false;
  return a.size() == b.size();
}

} // namespace

BOOST_AUTO_TEST_SUITE(contracts_gradients)

BOOST_AUTO_TEST_CASE(as_central_differences) {
  auto const x = logits_of(Kind::Bell, tokens, experts, 8);
  for (Gate const& gate : gate_options())
    for (Index k : {1, 3, 8}) {
      Problem const p = problem_of(0, gate, {.k = k}, x, bias_of(experts, 0.2f));
      reference::Matrix const logits(x.data(), tokens, experts);
      auto const expected = reference::central_differences([&](auto const& z) { return p.loss(z); }, logits);
      FOR_EACH_BACKEND(b) {
        auto const in_double = gradient_of<double>(b, gate, p, x);
        auto const in_float = gradient_of<float>(b, gate, p, x);
        BOOST_TEST(in_double.in_bounds);
        BOOST_TEST(in_float.in_bounds);
        BOOST_TEST(close(in_double.d_logits, expected.data, 2e-8), describe(gate) << ", K " << k);
        std::vector<double> const widened(in_float.d_logits.begin(), in_float.d_logits.end());
        BOOST_TEST(close(widened, in_double.d_logits, 1e-5), describe(gate) << ", K " << k << " in fp32");
        for (Index e = 0; e < experts; ++e)
          BOOST_TEST(in_double.d_logits[std::size_t(2 * experts + e)] == 0); // padding
      }
      // A gradient off by one part in a million would be seen.
      auto wrong = expected.data;
      for (double& v : wrong) v *= 1 + 1e-6;
      BOOST_TEST(!close(wrong, expected.data, 2e-8));
    }
}

BOOST_AUTO_TEST_CASE(each_part_alone_and_their_sum) {
  auto const x = logits_of(Kind::Bell, tokens, experts, 9);
  for (Gate const& gate : gates) {
    Problem const all = problem_of(0, gate, {3, 13, 5, moebal::GroupScore::SumTop, 2}, x, {});
    reference::Matrix const logits(x.data(), tokens, experts);
    FOR_EACH_BACKEND(b) {
      std::vector<double> sum(x.size());
      for (int part = 0; part < 3; ++part) {
        Problem p = all;
        if (part != 0) p.pulls.d_weights.clear();
        if (part != 1) p.pulls.slopes.clear();
        if (part != 2) p.pulls.z_slopes.clear();
        auto const expected = reference::central_differences([&](auto const& z) { return p.loss(z); }, logits);
        auto const d = gradient_of<double>(b, gate, p, x).d_logits;
        BOOST_TEST(close(d, expected.data, 2e-8), gate_names[gate.index()] << ", part " << part);
        for (std::size_t i = 0; i < d.size(); ++i) sum[i] += d[i];
      }
      BOOST_TEST(close(sum, gradient_of<double>(b, gate, all, x).d_logits, 1e-13));
      Problem none = all;
      none.pulls = {};
      for (double v : gradient_of<double>(b, gate, none, x).d_logits) BOOST_TEST(v == 0);
    }
  }
}

// Saturated rows: no NaN, and the reference's closed forms.
BOOST_AUTO_TEST_CASE(saturated_rows_have_finite_gradients) {
  std::vector<float> x(std::size_t(tokens * experts), -100.0f);
  for (std::size_t i = 0; i < x.size(); i += 4) x[i] = 95;
  for (std::size_t i = 1; i < x.size(); i += 9) x[i] = -300;
  for (Gate const& gate : gate_options()) {
    Problem const p = problem_of(0, gate, {.k = 8}, x, {});
    FOR_EACH_BACKEND(b) {
      for (float v : gradient_of<float>(b, gate, p, x).d_logits) BOOST_TEST_REQUIRE(std::isfinite(v), describe(gate));
      for (double v : gradient_of<double>(b, gate, p, x).d_logits) BOOST_TEST_REQUIRE(std::isfinite(v), describe(gate));
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
