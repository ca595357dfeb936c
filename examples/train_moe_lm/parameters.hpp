// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The weights lie in two flat arrays, so that summing gradients over ranks, Adam and saving see vectors: one of what
// all ranks share, one of experts, each expert's in one piece, so that a run of experts is a run of weights. The model
// sees named matrices in them.

#include "random.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace train {

using Index = std::int64_t;
template <class Real> using Matrix = Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class Real> using Vector = Eigen::Matrix<Real, Eigen::Dynamic, 1>;
template <class Real> using MatrixMap = Eigen::Map<Matrix<Real>>;

/// Sizes of the model.
struct ModelShape {
  Index experts = 64;      // E
  Index top_k = 2;         // K
  Index layers = 1;        // L
  Index width = 64;        // D
  Index expert_width = 32; // H
  Index recent = 12;       // bytes seen one by one
  Index recent_width = 16; // of each one's embedding
  Index bag_width = 32;    // embedding of the mean over the context
  Index router = -1;       // weights of a layer's logit map; -1: experts * width
  Index router_weights() const { return router < 0 ? experts * width : router; }
  Index input() const { return recent * recent_width + bag_width; }
};

/// The experts [first, first + count) of each layer that a rank holds.
struct ExpertRange {
  Index first = 0, count = 0;
};

inline constexpr Index bytes = 256; // the vocabulary

inline Index shared_count(ModelShape const& s) {
  return bytes * (s.recent_width + s.bag_width + s.width) + s.input() * s.width + s.layers * s.router_weights();
}
/// Of one expert, in all layers.
inline Index expert_count(ModelShape const& s) { return s.layers * (2 * s.width * s.expert_width + s.expert_width); }
inline Index parameter_count(ModelShape const& s) { return shared_count(s) + s.experts * expert_count(s); }

template <class Real> struct ExpertParameters {
  MatrixMap<Real> up;      // [D, H]
  MatrixMap<Real> up_bias; // [1, H]
  MatrixMap<Real> down;    // [H, D]
};

/// The weights (or their gradients) by name, in memory that somebody else owns.
template <class Real> class Parameters {
public:
  MatrixMap<Real> recent;               // [256, recent_width]
  MatrixMap<Real> bag;                  // [256, bag_width]
  MatrixMap<Real> input;                // [input, D]
  MatrixMap<Real> output;               // [D, 256]
  std::vector<MatrixMap<Real>> routers; // [L] of [D, E], or whatever [1, router_weights()] the logit map takes

  /// shared: [shared_count]. experts: [held.count, expert_count].
  Parameters(ModelShape const& s, Real* shared, Real* experts, ExpertRange held)
      : recent(take(shared, bytes, s.recent_width)), bag(take(shared, bytes, s.bag_width)),
        input(take(shared, s.input(), s.width)), output(take(shared, s.width, bytes)), shape_(s), experts_(experts),
        held_(held) {
    bool const linear = s.router_weights() == s.experts * s.width;
    for (Index l = 0; l < s.layers; ++l)
      routers.push_back(linear ? take(shared, s.width, s.experts) : take(shared, 1, s.router_weights()));
  }
  /// All of them, the experts' after the shared ones.
  Parameters(ModelShape const& s, Real* all)
      : Parameters(s, all, all + shared_count(s), {.first = 0, .count = s.experts}) {}

  ExpertRange held() const { return held_; }
  /// The expert held.first + i of a layer.
  ExpertParameters<Real> expert(Index layer, Index i) const {
    Index const d = shape_.width, h = shape_.expert_width;
    Real* at = experts_ + i * expert_count(shape_) + layer * (expert_count(shape_) / shape_.layers);
    auto const up = take(at, d, h), up_bias = take(at, 1, h);
    return {up, up_bias, take(at, h, d)};
  }

private:
  static MatrixMap<Real> take(Real*& data, Index rows, Index cols) {
    return MatrixMap<Real>(std::exchange(data, data + rows * cols), rows, cols);
  }
  ModelShape shape_;
  Real* experts_;
  ExpertRange held_;
};

/// Draws all weights. Router weights [D, E] are N(0, 0.1^2), others are left to their map; the rest keeps the size of
/// what flows through. What is drawn depends neither on the map nor on which experts are held, and more layers leave
/// the first as it was.
template <class Real> void initialise(ModelShape const& s, std::uint64_t seed, Parameters<Real>& p) {
  Random random{seed, 0x77656967687473u};
  auto const fill = [&](MatrixMap<Real> m, double deviation) {
    for (Index i = 0; i < m.size(); ++i) m.data()[i] = Real(deviation * random.normal());
  };
  Matrix<Real> elsewhere(s.width, s.expert_width); // an expert that another rank holds
  auto const here = [&](Index layer, Index e) -> ExpertParameters<Real> {
    if (e >= p.held().first && e < p.held().first + p.held().count) return p.expert(layer, e - p.held().first);
    Real* const at = elsewhere.data();
    return {{at, s.width, s.expert_width}, {at, 1, s.expert_width}, {at, s.expert_width, s.width}};
  };
  auto const fill_layer = [&](Index l) {
    MatrixMap<Real> router = p.routers[std::size_t(l)];
    for (Index i = 0; i < s.width * s.experts; ++i) {
      Real const drawn = Real(0.1 * random.normal());
      if (router.rows() == s.width) router.data()[i] = drawn;
    }
    for (Index e = 0; e < s.experts; ++e) {
      here(l, e).up_bias.setZero();
      fill(here(l, e).up, std::sqrt(2 / double(s.width)));
    }
    for (Index e = 0; e < s.experts; ++e) fill(here(l, e).down, 1 / std::sqrt(double(s.expert_width)));
  };
  fill(p.recent, 1);
  fill(p.bag, 1);
  fill(p.input, 1 / std::sqrt(double(s.input())));
  fill_layer(0);
  fill(p.output, 1 / std::sqrt(double(s.width)));
  for (Index l = 1; l < s.layers; ++l) fill_layer(l);
}

} // namespace train
