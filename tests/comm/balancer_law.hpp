// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The law of the global batch over any communicator: the same windows, slopes and bias, to the bit, as thread ranks,
// and the same windows and bias as one rank with all tokens. A rank that finds a difference throws.

#include "balance/synthetic.hpp"
#include "comm/conformance.hpp"

#include <moebal/balancer.hpp>
#include <moebal/comm/packed.hpp>
#include <moebal/comm/self.hpp>
#include <moebal/comm/threads.hpp>
#include <moebal/communicator.hpp>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace balancer_law {

using namespace moebal;
using conformance_cases::same_bits;

inline constexpr Index micro_batches = 3, steps = 3;

struct Seen {
  std::vector<std::int64_t> counts; // every window of every step
  std::vector<double> losses, slopes;
  std::vector<float> bias; // after every step
  friend bool operator==(Seen const& a, Seen const& b) {
    return a.counts == b.counts && a.losses == b.losses && a.slopes == b.slopes && same_bits(a.bias, b.bias);
  }
};

/// What this rank brings, [steps][micro-batches][sequences].
using Mine = std::vector<synthetic::Rank>;

template <class Scope, class Comm> Seen train(Comm comm, Scope scope, Mine const& mine, BalancerShape shape) {
  Balancer balancer{scope, Rules{SwitchLoss<>{}, LossFreeBias{.rate = 0.01f, .centring = Centring::Mean}}, shape, comm};
  Seen seen;
  for (synthetic::Rank const& step : mine) {
    balancer.begin_step(micro_batches);
    auto const ask = [&](Index g) {
      auto const terms = balancer.terms(g);
      seen.losses.push_back(terms.loss);
      for (Index s = 0; s < terms.slopes.rows(); ++s)
        seen.slopes.insert(seen.slopes.end(), terms.slopes.row(s), terms.slopes.row(s) + shape.experts);
      auto const window = balancer.window(g);
      seen.counts.push_back(window.load_tokens());
      auto const* const counts = window.template load_data<stats::Counts>();
      seen.counts.insert(seen.counts.end(), counts, counts + shape.experts);
    };
    bool const late = Scope::accumulate == Accumulate::TwoPass;
    for (Index g = 0; g < micro_batches; ++g) {
      balancer.observe(g, synthetic::load_of(step[std::size_t(g)], shape.experts));
      if (!late) ask(g);
    }
    for (Index g = 0; late && g < micro_batches; ++g) ask(g);
    balancer.end_step();
    seen.bias.insert(seen.bias.end(), balancer.bias().begin(), balancer.bias().end());
  }
  return seen;
}

/// Tokens for R ranks, unevenly, some of them none: [R].
inline std::vector<Mine> deal(Index ranks, BalancerShape shape) {
  std::mt19937_64 random(7);
  Mine const nothing(steps, synthetic::Rank(micro_batches));
  std::vector<Mine> all;
  all.assign(std::size_t(ranks), nothing);
  for (std::size_t s = 0; s < std::size_t(steps); ++s)
    for (std::size_t g = 0; g < std::size_t(micro_batches); ++g) {
      auto const parts = synthetic::cut(synthetic::tokens(101, shape.experts, shape.top_k, 10 * s + g), ranks, random);
      for (std::size_t r = 0; r < parts.size(); ++r) all[r][s][g] = {parts[r]};
    }
  return all;
}

/// What R ranks have to see.
template <class Scope> class Law {
public:
  Law(Index ranks, Scope scope) : scope_(scope), dealt_(deal(ranks, shape)), threads_(std::size_t(ranks)) {
    one_ = train(Communicator<Self>{}, scope, deal(1, shape)[0], shape);
    run_ranks(ranks, [&](Communicator<Threads> const& comm) {
      threads_[std::size_t(comm.rank())] = train(comm, scope_, dealt_[std::size_t(comm.rank())], shape);
    });
  }

  /// All ranks call this with their communicator.
  template <class Comm> void hold(Comm const& comm) const {
    using conformance_cases::check;
    auto const me = std::size_t(comm.rank());
    Seen const seen = train(comm, scope_, dealt_[me], shape);
    check(seen == threads_[me], "a global batch is that of thread ranks");
    // Parts that never fill a message: each is sent when it is waited for.
    check(seen == train(Communicator(Packed(comm.backend(), 2)), scope_, dealt_[me], shape),
          "packed sums are the same");
    check(seen.counts == one_.counts && same_bits(seen.bias, one_.bias), "windows and bias are those of one rank");
    // Mean over ranks of the losses: the loss of the whole, but for rounding.
    std::vector<double> losses(seen.losses);
    comm.all_reduce_sum(losses);
    for (std::size_t i = 0; i < losses.size(); ++i)
      check(std::abs(losses[i] / double(comm.size()) - one_.losses[i]) <= 1e-12 * std::abs(one_.losses[i]),
            "the loss is that of one rank");
  }

private:
  static constexpr BalancerShape shape{.experts = 60, .top_k = 4};
  Scope scope_;
  std::vector<Mine> dealt_;
  std::vector<Seen> threads_;
  Seen one_;
};

} // namespace balancer_law
