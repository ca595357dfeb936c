// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Adam (Kingma, Ba 2014), and the learning rate over the run.

#include "parameters.hpp"

#include <algorithm>

namespace train {

struct Adam {
  double rate = 1e-2;
  double beta1 = 0.9;
  double beta2 = 0.98;
  double epsilon = 1e-8;
};

/// First and second moments of each weight.
template <class Real> struct Moments {
  Vector<Real> first, second;
  void reset(Index n) { first.setZero(n), second.setZero(n); }
};

/// Linear warm-up over 40 steps (a tenth of a shorter run), constant to the half, then linear down to 5 %.
inline double learning_rate(double peak, Index step, Index steps) {
  double const warm_up = std::min(40.0, std::max(1.0, 0.1 * double(steps)));
  if (double(step) < warm_up) return peak * double(step + 1) / warm_up;
  double const done = double(step) / double(steps);
  return done < 0.5 ? peak : peak * (1 - 0.95 * (done - 0.5) / 0.5);
}

/// One step (step counts from 0).
template <class Real>
void adam_step(Adam const& adam, double rate, Index step, Eigen::Ref<Vector<Real> const> gradient,
               Moments<Real>& moments, Vector<Real>& weights) {
  auto const g = gradient.array();
  auto m = moments.first.array();
  auto v = moments.second.array();
  m = Real(adam.beta1) * m + Real(1 - adam.beta1) * g;
  v = Real(adam.beta2) * v + Real(1 - adam.beta2) * g.square();
  Real const m_scale = Real(rate / (1 - std::pow(adam.beta1, double(step + 1))));
  Real const v_scale = Real(1 / (1 - std::pow(adam.beta2, double(step + 1))));
  weights.array() -= m_scale * m / ((v_scale * v).sqrt() + Real(adam.epsilon));
}

} // namespace train
