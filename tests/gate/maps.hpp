// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Random matrices, and central differences, for the logit maps.

#include "support/inputs.hpp"

#include <moebal/backend/eigen.hpp>
#include <moebal/laws/inputs.hpp>

#include <cmath>
#include <vector>

namespace maps {

using moebal::Index;

using moebal::laws::Matrix;

template <class Real> Matrix<Real> random_matrix(Index rows, Index cols, std::uint64_t seed, float scale = 1) {
  moebal_test::Random random(seed);
  Matrix<Real> m(rows, cols);
  for (Real& v : m.values) v = Real(random.bell(scale));
  return m;
}

/// sum of a * b, element by element.
inline double inner(Matrix<double> const& a, Matrix<double> const& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.values.size(); ++i) sum += a.values[i] * b.values[i];
  return sum;
}

/// Largest difference between `gradient` and central differences of loss() in the elements of x, relative to the
/// largest.
template <class Loss>
double gradient_error(std::vector<double>& x, std::vector<double> const& gradient, Loss loss, double h = 1e-6) {
  double worst = x.size() == gradient.size() ? 0 : 1e300, scale = 1e-3;
  for (std::size_t i = 0; i < x.size() && i < gradient.size(); ++i) {
    double const at = x[i];
    x[i] = at + h;
    double const above = loss();
    x[i] = at - h;
    double const difference = (above - loss()) / (2 * h);
    x[i] = at;
    worst = std::max(worst, std::abs(difference - gradient[i]));
    scale = std::max(scale, std::abs(difference));
  }
  return worst / scale;
}

/// A pool of 3 threads.
inline Eigen::ThreadPool& pool() {
  static Eigen::ThreadPool three(3);
  return three;
}

/// Shapes T, E that loops get wrong.
struct Shape {
  Index tokens, experts;
};
inline constexpr Shape shapes[] = {{0, 3}, {1, 1}, {7, 60}, {19, 3}, {33, 160}};

} // namespace maps
