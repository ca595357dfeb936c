// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/errors.hpp"
#include "../core/execution.hpp"

#include <cmath>
#include <vector>

namespace moebal {

/// Keeps the rows of a router matrix apart instead of its loads: with orthogonal rows, tokens spread by themselves. A
/// function of the weights alone: no statistics, no tokens, nothing communicated where every rank holds the matrix.
///   value = coefficient * |R R^T - I|, with the sum of the absolute values (SimBal, 2506.14038) or of the squares
/// R [E, D] has a row for each expert (the paper writes them as columns). Its normalisation of R and its coefficient
/// are not known here; so Rows::Given takes R as it is, Rows::Normalised divides rows by their length first (only
/// angles count: the orthogonal loss of ERNIE 4.5 is of this kind), and the coefficient is 1: the value grows with E^2,
/// set it by that.
struct RouterOrthogonality {
  enum class Norm { Absolute, Squares };
  enum class Rows { Given, Normalised };

  double coefficient = 1;
  Norm norm = Norm::Absolute;
  Rows rows = Rows::Given;

  /// The value. router [E, D] in; d_router [E, D] out: its gradient, or empty. For G = R R^T - I it is 2 sgn(G) R, or 4
  /// G R for squares (sgn 0 = 0), and with normalised rows what of that is at right angles to each row, divided by the
  /// row's length; a row of zeros is as it is and gets none of it. O(E^2 D) in double, in parallel over rows, the same
  /// bits for any number of threads; allocates E (E + D) doubles.
  template <execution Exec, class Real>
  requires std::same_as<typename Exec::memory, HostMemory>
  double operator()(Exec const& exec, MatrixView<Real const> router, MatrixView<Real> d_router = {}) const {
    Index const experts = router.rows(), width = router.cols();
    if (d_router.rows() > 0 || d_router.cols() > 0) {
      require_equal("router orthogonality: d_router [E, D], rows", experts, d_router.rows());
      require_equal("router orthogonality: d_router [E, D], columns", width, d_router.cols());
    }
    std::vector<double> unit(std::size_t(experts * width)), gram(std::size_t(experts * experts)),
        length(std::size_t(experts), 1.0);
    exec.for_each(experts, Widen<Real>{router, unit.data(), length.data(), rows});
    exec.for_each(experts, Gram{unit.data(), gram.data(), experts, width});
    double sum = 0;
    for (double const g : gram) sum = norm == Norm::Squares ? __builtin_fma(g, g, sum) : sum + std::abs(g);
    if (d_router.rows() > 0)
      exec.for_each(experts,
                    Backward<Real>{unit.data(), gram.data(), length.data(), d_router, coefficient, norm, rows});
    return coefficient * sum;
  }

private:
  static double dot(double const* a, double const* b, Index n) {
    double part[8] = {}; // a fixed order that SIMD can follow
    Index i = 0;
    for (; i + 8 <= n; i += 8)
      for (Index j = 0; j < 8; ++j) part[j] = __builtin_fma(a[i + j], b[i + j], part[j]);
    for (Index j = 0; i + j < n; ++j) part[j] = __builtin_fma(a[i + j], b[i + j], part[j]);
    return ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
  }
  template <class Real> struct Widen {
    MatrixView<Real const> router;
    double *unit, *length;
    Rows rows;
    void operator()(Index e) const {
      Index const n = router.cols();
      double* const row = unit + e * n;
      for (Index d = 0; d < n; ++d) row[d] = double(router(e, d));
      if (rows == Rows::Given) return;
      double const size = std::sqrt(dot(row, row, n));
      if (size == 0) return;
      length[e] = size;
      for (Index d = 0; d < n; ++d) row[d] = row[d] / size;
    }
  };
  struct Gram {
    double const* unit;
    double* gram;
    Index experts, width;
    void operator()(Index i) const {
      for (Index j = 0; j < experts; ++j)
        gram[i * experts + j] = dot(unit + i * width, unit + j * width, width) - (i == j ? 1 : 0);
    }
  };
  template <class Real> struct Backward {
    double const *unit, *gram, *length;
    MatrixView<Real> d_router;
    double coefficient;
    Norm norm;
    Rows rows;
    void operator()(Index i) const {
      Index const experts = d_router.rows(), width = d_router.cols();
      double const* const row = unit + i * width;
      std::vector<double> d(static_cast<std::size_t>(width));
      for (Index j = 0; j < experts; ++j) {
        double const g = gram[i * experts + j];
        double const pull = coefficient * (norm == Norm::Squares ? 4 * g : g > 0 ? 2 : g < 0 ? -2 : 0);
        for (Index k = 0; k < width; ++k)
          d[std::size_t(k)] = __builtin_fma(pull, unit[j * width + k], d[std::size_t(k)]);
      }
      double const along = rows == Rows::Normalised ? dot(d.data(), row, width) : 0;
      for (Index k = 0; k < width; ++k)
        d_router(i, k) = Real(__builtin_fma(-along, row[k], d[std::size_t(k)]) / length[i]);
    }
  };
};

} // namespace moebal
