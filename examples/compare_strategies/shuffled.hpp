// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The choices of a step, dealt out to the micro-batches of all ranks at random, anew in each step: what a balancer is
// shown as a micro-batch's own is as many tokens of the whole step (arXiv 2501.11873, Table 2).

#include "../train_moe_lm/random.hpp"
#include "maps.hpp"

#include <moebal/stats/counts.hpp>
#include <moebal/stats/load.hpp>

#include <algorithm>
#include <numeric>

namespace lab {

template <class Needs> class Shuffled {
  using Load = moebal::Load<Needs>;
  using Counts = moebal::stats::Counts;

public:
  void begin_step(Index micro_batches) { loads_.resize(std::size_t(micro_batches)); }
  void keep(Index g, MatrixView<moebal::ExpertId const> ids, Load const& load) {
    loads_[std::size_t(g)] = load;
    pairs_ = ids.rows() * ids.cols(), choices_ = ids.cols();
    ids_.resize(loads_.size() * std::size_t(pairs_));
    std::copy_n(ids.data(), pairs_, ids_.begin() + g * pairs_);
  }
  /// The same dealing on all ranks; each counts what its own micro-batches got.
  template <class Comm, class Balancer>
  void show(std::uint64_t seed, std::uint64_t step, Comm const& comm, Balancer& balancer) {
    Index const all = Index(loads_.size()), parts = comm.size() * all, tokens = pairs_ / choices_;
    all_ids_.resize(std::size_t(parts * pairs_));
    comm.all_gather(VectorView<moebal::ExpertId const>(ids_), all_ids_);
    order_.resize(std::size_t(parts * tokens));
    std::iota(order_.begin(), order_.end(), Index(0));
    train::Random random{seed, step, 0x737562736574u};
    for (Index i = parts * tokens - 1; i > 0; --i)
      std::swap(order_[std::size_t(i)], order_[std::size_t(random.below(i + 1))]);
    for (Index g = 0; g < all; ++g) {
      auto const view = loads_[std::size_t(g)].view();
      for (Index s = 0; s < view.sequences(); ++s) {
        auto const counts = view.template get<Counts>(s);
        std::fill(counts.begin(), counts.end(), 0);
      }
      auto const counts = view.template get<Counts>(0); // which sequence does not matter to a sum over them
      Index const part = comm.rank() * all + g;
      for (Index i = part * tokens; i < (part + 1) * tokens; ++i)
        for (Index k = 0; k < choices_; ++k)
          if (auto const e = all_ids_[std::size_t(order_[std::size_t(i)] * choices_ + k)]; e >= 0) ++counts[e];
      balancer.observe(g, loads_[std::size_t(g)]);
    }
  }

private:
  std::vector<Load> loads_;                     // of each micro-batch
  std::vector<moebal::ExpertId> ids_, all_ids_; // of this rank's tokens of the step, of all
  std::vector<Index> order_;
  Index pairs_ = 0, choices_ = 1;
};

} // namespace lab
