// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Gradients against central differences, in double.

#include "inputs.hpp"
#include "violation.hpp"

#include <cmath>

namespace moebal::laws {

/// (f(x + h) - f(x - h)) / 2 h in each number of x.
template <class F> std::vector<double> central_differences(F const& f, std::vector<double> x, double h = 1e-5) {
  std::vector<double> slopes;
  for (double& number : x) {
    double const here = number;
    number = here + h;
    double const above = f(x);
    number = here - h;
    slopes.push_back((above - f(x)) / (2 * h));
    number = here;
  }
  return slopes;
}

/// Expects `had` to be the gradient of f at x, as far as central differences tell: to 1e-7 of the largest slope.
template <class F>
void expect_gradient(Findings& findings, std::string_view law, std::string const& input, F const& f,
                     std::vector<double> const& x, std::vector<double> const& had) {
  auto const needed = central_differences(f, x);
  double scale = 1e-3;
  for (double const slope : needed) scale = std::max(scale, std::abs(slope));
  for (std::size_t i = 0; i < x.size(); ++i)
    findings.expect(law, std::abs(needed[i] - had[i]) <= 1e-7 * scale,
                    [&] { return words("for ", input, ", by number ", i, ": needed ", needed[i], ", had ", had[i]); });
}

inline double inner(std::vector<double> const& a, std::vector<double> const& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

} // namespace moebal::laws
