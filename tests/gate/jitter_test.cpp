// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/maps.hpp"

#include <moebal/gate/jitter.hpp>

using namespace moebal;
using namespace maps;

static_assert(std::is_trivially_copyable_v<InputJitter> && std::is_aggregate_v<InputJitter> && InputJitter::causal);

namespace {

template <class Real> Matrix<Real> jitter(InputJitter policy, Matrix<Real> const& x, EigenExec exec = {}) {
  Matrix<Real> y(x.rows, x.cols, 9);
  jitter_into(exec, policy, x.view(), y.view());
  return y;
}

} // namespace

BOOST_AUTO_TEST_SUITE(gate_jitter)

BOOST_AUTO_TEST_CASE(factors_fill_their_interval) {
  Matrix<double> const ones(100, 100, 1);
  auto const y = jitter(InputJitter{.epsilon = 0.25f}, ones);
  double low = 2, high = 0, sum = 0;
  for (double v : y.values) {
    low = std::min(low, v);
    high = std::max(high, v);
    sum += v;
  }
  BOOST_TEST((low > 0.75 && low < 0.7505 && high < 1.25 && high > 1.2495));
  BOOST_TEST(std::abs(sum / 1e4 - 1) < 0.005);
  BOOST_TEST((jitter(InputJitter{.seed = 1}, ones) != jitter(InputJitter{.seed = 2}, ones)));
  BOOST_TEST((jitter(InputJitter{.epsilon = 0}, ones) == ones));
}

BOOST_AUTO_TEST_CASE(cuts_and_threads_change_nothing) {
  for (auto const [T, D] : shapes) {
    auto const x = random_matrix<float>(T, D, 1);
    auto const y = jitter(InputJitter{.seed = 3}, x);
    BOOST_TEST((y == jitter(InputJitter{.seed = 3}, x, EigenExec{&pool()}.on_every_thread())));
    Matrix<float> cut(T, D);
    Index const half = T / 2;
    jitter_into(EigenExec{}, InputJitter{.seed = 3}, MatrixView<float const>(x.values.data(), half, D),
                MatrixView<float>(cut.values.data(), half, D));
    jitter_into(EigenExec{}, InputJitter{.seed = 3, .first = half},
                MatrixView<float const>(x.values.data() + half * D, T - half, D),
                MatrixView<float>(cut.values.data() + half * D, T - half, D));
    BOOST_TEST((y == cut));
  }
}

BOOST_AUTO_TEST_CASE(gradients) {
  auto x = random_matrix<double>(4, 5, 1);
  auto const pull = random_matrix<double>(4, 5, 2);
  InputJitter const policy{.epsilon = 0.5f, .seed = 7};
  Matrix<double> dx(4, 5);
  backward_into(EigenExec{}, policy, pull.view(), dx.view());
  BOOST_TEST(gradient_error(x.values, dx.values, [&] { return inner(jitter(policy, x), pull); }) < 1e-8);
  Matrix<double> narrow(4, 4);
  BOOST_CHECK_THROW(jitter_into(EigenExec{}, policy, x.view(), narrow.view()), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
