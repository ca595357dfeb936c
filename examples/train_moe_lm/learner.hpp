// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What one rank knows and learns: weights that all ranks have, and, where experts are spread over the ranks, those of
// its own experts. On disk and between runs there is one array of all, whoever held what.

#include "parameters.hpp"
#include "sharded.hpp"

#include <stdexcept>

namespace train {

enum class Experts { OnEachRank, Spread };

struct StateError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// All weights and their moments [parameter_count], experts in order after what is shared.
struct Whole {
  std::vector<float> weights, first_moments, second_moments;
};

class Learner {
public:
  Learner(Comm comm, ModelShape const& shape, Experts experts)
      : comm_(std::move(comm)), shape_(shape), held_(range(comm_, shape, experts)),
        shared_(comm_, experts == Experts::Spread ? shared_count(shape) : parameter_count(shape)) {
    if (experts == Experts::OnEachRank) return;
    own_.setZero(held_.count * expert_count(shape));
    own_gradients_ = own_;
    own_moments_.reset(own_.size());
  }

  Parameters<float> weights() { return parameters(shared_.weights(), own_); }
  Parameters<float> gradients() { return parameters(shared_.gradients(), own_gradients_); }

  void begin_step() {
    shared_.begin_step();
    own_gradients_.setZero();
  }
  /// Collective. The gradient of the loss over all ranks is the mean of theirs; an expert of this rank alone has seen
  /// the tokens of all.
  void end_step(Adam const& adam, double rate, Index step) {
    shared_.end_step(adam, rate, step);
    if (own_.size() == 0) return;
    own_gradients_ /= float(comm_.size());
    adam_step<float>(adam, rate, step, own_gradients_, own_moments_, own_);
  }

  /// Shared weights as rank 0 has them. Collective.
  void agree() { shared_.agree(); }
  /// At rank 0, nothing elsewhere. Collective.
  Whole whole() const {
    Moments<float> const moments = shared_.all_moments();
    auto const all = [&](float const* shared, Vector<float> const& own) {
      std::vector<float> values;
      if (comm_.rank() == 0) values.assign(shared, shared + shared_.size());
      std::vector<float> const experts = to_rank_0(comm_, std::vector<float>(own.data(), own.data() + own.size()),
                                                   own.size(), std::vector<Index>(std::size_t(comm_.size()), 1));
      values.insert(values.end(), experts.begin(), experts.end());
      return values;
    };
    return {all(shared_.weights(), own_), all(moments.first.data(), own_moments_.first),
            all(moments.second.data(), own_moments_.second)};
  }
  /// The part of this rank. StateError for another model's.
  void restore(Whole const& whole) {
    for (auto const* v : {&whole.weights, &whole.first_moments, &whole.second_moments})
      if (Index(v->size()) != parameter_count(shape_))
        throw StateError("the saved weights do not fit the model: needed " + std::to_string(parameter_count(shape_)) +
                         ", had " + std::to_string(v->size()));
    std::copy_n(whole.weights.begin(), shared_.size(), shared_.weights());
    shared_.restore(whole.first_moments, whole.second_moments);
    if (own_.size() == 0) return;
    auto const own_part = [&](std::vector<float> const& all) -> Vector<float> {
      return Eigen::Map<Vector<float> const>(all.data() + shared_count(shape_) + held_.first * expert_count(shape_),
                                             own_.size());
    };
    own_ = own_part(whole.weights);
    own_moments_ = {own_part(whole.first_moments), own_part(whole.second_moments)};
  }

private:
  static ExpertRange range(Comm const& comm, ModelShape const& shape, Experts experts) {
    if (experts == Experts::OnEachRank) return {.first = 0, .count = shape.experts};
    if (shape.experts % comm.size() != 0)
      throw std::invalid_argument("--experts-parallel: needed --experts that " + std::to_string(comm.size()) +
                                  " ranks share evenly, had " + std::to_string(shape.experts));
    Index const count = shape.experts / comm.size();
    return {.first = comm.rank() * count, .count = count};
  }
  Parameters<float> parameters(float* shared, Vector<float>& own) {
    return {shape_, shared, own.size() > 0 ? own.data() : shared + shared_count(shape_), held_};
  }

  Comm comm_;
  ModelShape shape_;
  ExpertRange held_;
  Sharded shared_;
  Vector<float> own_, own_gradients_; // [held, expert_count] where experts are spread, else empty
  Moments<float> own_moments_;
};

} // namespace train
