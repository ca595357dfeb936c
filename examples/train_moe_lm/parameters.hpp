// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// All weights lie in one flat array, so that summing gradients over ranks, Adam and saving see a vector; the model sees
// named matrices in it.

#include "random.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <utility>

namespace train {

using Index = std::int64_t;
template <class Real> using Matrix = Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class Real> using Vector = Eigen::Matrix<Real, Eigen::Dynamic, 1>;
template <class Real> using MatrixMap = Eigen::Map<Matrix<Real>>;

/// Sizes of the model.
struct ModelShape {
  Index experts = 64;      // E
  Index top_k = 2;         // K
  Index width = 64;        // D
  Index expert_width = 32; // H
  Index recent = 12;       // bytes seen one by one
  Index recent_width = 16; // of each one's embedding
  Index bag_width = 32;    // embedding of the mean over the context
  Index router = -1;       // weights of the logit map; -1: experts * width
  Index router_weights() const { return router < 0 ? experts * width : router; }
  Index input() const { return recent * recent_width + bag_width; }
};

inline constexpr Index bytes = 256; // the vocabulary

/// The weights (or their gradients) by name, in memory that somebody else owns.
template <class Real> struct Parameters {
  MatrixMap<Real> recent;  // [256, recent_width]
  MatrixMap<Real> bag;     // [256, bag_width]
  MatrixMap<Real> input;   // [input, D]
  MatrixMap<Real> router;  // [D, E], or whatever [1, router_weights()] the logit map takes
  MatrixMap<Real> up;      // [E * D, H]   expert e: rows [e * D, (e + 1) * D)
  MatrixMap<Real> up_bias; // [E, H]
  MatrixMap<Real> down;    // [E * H, D]   expert e: rows [e * H, (e + 1) * H)
  MatrixMap<Real> output;  // [D, 256]

  Parameters(ModelShape const& s, Real* data)
      : recent(take(data, bytes, s.recent_width)), bag(take(data, bytes, s.bag_width)),
        input(take(data, s.input(), s.width)), router(router_of(s, data)),
        up(take(data, s.experts * s.width, s.expert_width)), up_bias(take(data, s.experts, s.expert_width)),
        down(take(data, s.experts * s.expert_width, s.width)), output(take(data, s.width, bytes)) {}

private:
  static MatrixMap<Real> router_of(ModelShape const& s, Real*& data) {
    return s.router_weights() == s.experts * s.width ? take(data, s.width, s.experts)
                                                     : take(data, 1, s.router_weights());
  }
  static MatrixMap<Real> take(Real*& data, Index rows, Index cols) {
    return MatrixMap<Real>(std::exchange(data, data + rows * cols), rows, cols);
  }
};

inline Index parameter_count(ModelShape const& s) {
  return bytes * (s.recent_width + s.bag_width + s.width) + s.input() * s.width + s.router_weights() +
         s.experts * (2 * s.width * s.expert_width + s.expert_width);
}

/// Draws all weights [parameter_count]. Router weights [D, E] are N(0, 0.1^2), others are left to their map; the rest keeps the size of
/// what flows through and does not depend on the map.
template <class Real> void initialise(ModelShape const& s, std::uint64_t seed, Real* weights) {
  std::fill_n(weights, parameter_count(s), Real(0));
  Parameters<Real> p(s, weights);
  Random random{seed, 0x77656967687473u};
  auto const fill = [&](MatrixMap<Real>& m, double deviation) {
    for (Index i = 0; i < m.size(); ++i) m.data()[i] = Real(deviation * random.normal());
  };
  fill(p.recent, 1);
  fill(p.bag, 1);
  fill(p.input, 1 / std::sqrt(double(s.input())));
  for (Index i = 0; i < s.width * s.experts; ++i) {
    Real const drawn = Real(0.1 * random.normal());
    if (p.router.rows() == s.width) p.router.data()[i] = drawn;
  }
  fill(p.up, std::sqrt(2 / double(s.width)));
  fill(p.down, 1 / std::sqrt(double(s.expert_width)));
  fill(p.output, 1 / std::sqrt(double(s.width)));
}

} // namespace train
