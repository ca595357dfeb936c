// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The weights of one rank and how they learn: each rank adds the gradients of all for its slice of the weights, steps
// that slice, and hands it to the others (ZeRO stage 1, Rajbhandari et al. 2020). Sums are in rank order, so the
// numbers do not depend on timing; slices are whole registers, since a processor may round single elements otherwise.

#include "collect.hpp"
#include "optimizer.hpp"

namespace train {

class Sharded {
public:
  Sharded(Comm comm, Index n)
      : comm_(std::move(comm)), n_(n), slice_(slice_of(n, comm_.size())), weights_(padded()), gradients_(padded()),
        received_(padded()) {
    weights_.setZero();
    moments_.reset(slice_);
  }

  /// [n], the same on all ranks between two steps.
  float* weights() { return weights_.data(); }
  float const* weights() const { return weights_.data(); }
  /// [n], of the loss over this rank's own tokens.
  float* gradients() { return gradients_.data(); }
  Index size() const { return n_; }

  void begin_step() { gradients_.setZero(); }
  /// Collective. The gradient of the loss over all ranks is the mean of theirs.
  void end_step(Adam const& adam, double rate, Index step) {
    std::vector<Index> const one(std::size_t(comm_.size()), 1);
    Index const ranks = comm_.size();
    comm_.all_to_all_v(moebal::MatrixView<float const>(gradients_.data(), ranks, slice_), one,
                       moebal::MatrixView<float>(received_.data(), ranks, slice_), one);
    auto sum = received_.head(slice_);
    for (Index r = 1; r < ranks; ++r) sum += received_.segment(r * slice_, slice_);
    sum /= float(ranks);
    own_ = weights_.segment(comm_.rank() * slice_, slice_);
    adam_step<float>(adam, rate, step, sum, moments_, own_);
    comm_.all_gather(moebal::VectorView<float const>(own_.data(), slice_),
                     moebal::VectorView<float>(weights_.data(), padded()));
  }

  /// All weights as rank 0 has them, so that no two ranks start from different roundings. Collective.
  void agree() { from_rank_0(comm_, padded(), weights_.data()); }
  /// Moments [n] of all weights at rank 0, nothing elsewhere. Collective.
  Moments<float> all_moments() const { return {gathered(moments_.first), gathered(moments_.second)}; }
  /// Takes this rank's part of the moments [n] of all weights.
  void restore(std::vector<float> const& first, std::vector<float> const& second) {
    moments_ = {part_of(first), part_of(second)};
  }

private:
  static Index slice_of(Index n, Index ranks) {
    constexpr Index step = 16; // floats of the widest register
    return (n + ranks * step - 1) / (ranks * step) * step;
  }
  Index padded() const { return slice_ * comm_.size(); }
  Vector<float> part_of(std::vector<float> const& all) const {
    Index const begin = std::min(n_, comm_.rank() * slice_), end = std::min(n_, begin + slice_);
    Vector<float> part = Vector<float>::Zero(slice_);
    std::copy(all.begin() + begin, all.begin() + end, part.data());
    return part;
  }
  Vector<float> gathered(Vector<float> const& mine) const {
    std::vector<float> const all = to_rank_0(comm_, std::vector<float>(mine.data(), mine.data() + slice_), slice_,
                                             std::vector<Index>(std::size_t(comm_.size()), 1));
    return Eigen::Map<Vector<float> const>(all.data(), std::min(n_, Index(all.size())));
  }

  Comm comm_;
  Index n_, slice_;                              // the last slices are padded with weights that nobody reads
  Vector<float> weights_, gradients_, received_; // [R, slice]
  Vector<float> own_;                            // [slice]
  Moments<float> moments_;                       // [slice]
};

} // namespace train
