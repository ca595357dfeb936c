// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The routers and balancers of all layers of one rank.

#include "messages.hpp"
#include "observer.hpp"

#include <istream>
#include <ostream>

namespace train {

class Layers {
public:
  using Method = lab::Method;

  Layers(Contestant const& contestant, lab::Make make, Comm const& comm, BalancerMessages messages, Index layers) {
    lab::Comm const talk = lab::recorded(balancers_comm(comm, messages, layers));
    std::uint64_t const seed = make.seed;
    for (Index l = 0; l < layers; ++l) {
      make.seed = of_layer(seed, l);
      methods_.push_back(contestant.make(lab::on_rank(make, comm.rank()), talk));
    }
  }

  Index count() const { return Index(methods_.size()); }
  Method& operator[](Index l) const { return *methods_[std::size_t(l)]; }
  /// What is the same for all layers.
  Method& first() const { return *methods_.front(); }
  /// A seed of a layer's own.
  static std::uint64_t of_layer(std::uint64_t seed, Index l) {
    return l == 0 ? seed : moebal::random::bits(seed, std::uint64_t(l));
  }

  void begin_step(Index step, Index micro_batches) const {
    for (auto const& m : methods_) m->begin_step(step, micro_batches);
  }
  void all_routed() const {
    for (auto const& m : methods_) m->all_routed();
  }
  void end_step(float rate_scale) const {
    for (auto const& m : methods_) m->end_step(rate_scale);
  }
  void save(std::ostream& out) const {
    for (auto const& m : methods_) m->save(out);
  }
  void restore(std::istream& in) const {
    for (auto const& m : methods_) m->restore(in);
  }

  struct Seconds {
    double routing = 0, balancer = 0, balancer_wall = 0;
  };
  Seconds seconds() const {
    Seconds sum;
    for (auto const& m : methods_) {
      sum.routing += m->routing_seconds();
      sum.balancer += m->balancer_seconds();
      sum.balancer_wall += m->balancer_wall_seconds();
    }
    return sum;
  }

private:
  std::vector<std::unique_ptr<Method>> methods_; // [L]
};

} // namespace train
