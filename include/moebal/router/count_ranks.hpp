// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Ranks of pairs within their experts, counted while a row's ids are at hand, for a plan that need not count again.

#include "../core/execution.hpp"
#include "../core/routing.hpp"

namespace moebal {

/// An execution whose for_rows gives each worker one run of consecutive rows, in the order of the workers, and the same
/// runs whenever it is called with the same n from the same thread.
template <class Exec>
concept takes_runs = execution<Exec> && std::same_as<typename Exec::memory, HostMemory> &&
                     requires { requires Exec::takes_runs; };

namespace detail {

/// Counts the rows of each worker. `counts` null: nobody asked.
template <class Memory> struct CountRanks {
  MatrixView<ExpertId, Memory> ids;       // [T, K]
  MatrixView<std::int32_t, Memory> ranks; // [T, K]
  std::int32_t* counts = nullptr;         // [workers, E]
  Index experts = 0;

  MOEBAL_FN std::int32_t* of(Index worker) const { return counts + worker * experts; } // [E]
  /// To be called for the worker's rows in order, when the ids of row t are written.
  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, Index worker, Index top_k, Index t) const {
    if (counts == nullptr) return;
    std::int32_t* const own = of(worker);
    ExpertId const* const row = ids.row(t);
    std::int32_t* const out = ranks.row(t);
    lanes.each_one(top_k, [=](Index k) { out[k] = row[k] < 0 ? -1 : own[row[k]]++; }); // distinct ids: none waits
  }
};

/// Adds what earlier workers counted. A row body, for the rows that the same worker counted.
template <class Real, class Memory> struct AddEarlier {
  using real = Real;
  CountRanks<Memory> counted; // counts [workers, E]: by now the pairs of earlier workers
  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index worker, Index t) const {
    if (worker == 0) return;
    std::int32_t const* const earlier = counted.of(worker);
    ExpertId const* const row = counted.ids.row(t);
    std::int32_t* const out = counted.ranks.row(t);
    lanes.each_one(counted.ids.cols(), [=](Index k) {
      if (row[k] >= 0) out[k] += earlier[row[k]];
    });
  }
};

/// Each worker's counts become those of the workers before it; loads [E], out, their sum. E x workers additions are less
/// than it takes to wake a thread.
inline void sum_workers(std::int32_t* counts, Index workers, VectorView<Index> loads) {
  Index const experts = loads.size();
  for (Index e = 0; e < experts; ++e) {
    std::int32_t sum = 0;
    for (Index w = 0; w < workers; ++w) {
      std::int32_t& here = counts[w * experts + e];
      std::int32_t const n = here;
      here = sum;
      sum += n;
    }
    loads[e] = sum;
  }
}

/// Bytes of workspace for the counters.
template <class Exec> std::size_t rank_bytes(Exec const& exec, Index experts) {
  if constexpr (takes_runs<Exec>) return WorkspaceView<>::bytes_for<std::int32_t>(exec.workers() * experts);
  return 0;
}

/// Refuses ranks that do not fit, or that Exec could not count in order.
template <class Exec, class Real, class Memory>
void check_ranks(RoutingView<Real, Memory> const& routing, Index experts) {
  if (!routing.has_ranks()) return;
  if constexpr (!takes_runs<Exec>)
    refuse<ShapeError>("ranks [T, K] of a routing", "an execution whose workers take consecutive rows, such as EigenExec",
                       "one that spreads them: leave ranks and loads empty, and plan_into counts for itself");
  require_ranks_shape(routing, experts);
}

/// Counters of 0 where ranks are wanted, before the rows are routed.
template <class Exec, class Real, class Memory>
CountRanks<Memory> start_ranks(Exec const& exec, RoutingView<Real, Memory> const& routing,
                               WorkspaceView<Memory>& workspace) {
  CountRanks<Memory> ranks{routing.expert_ids, routing.ranks};
  if constexpr (takes_runs<Exec>)
    if (routing.has_ranks()) {
      ranks.experts = routing.loads.size();
      Index const size = exec.workers() * ranks.experts;
      ranks.counts = workspace.template take<std::int32_t>(size);
      exec.fill(VectorView<std::int32_t>(ranks.counts, size), std::int32_t(0));
    }
  return ranks;
}

/// Ranks of the whole batch, and its loads, when the rows are routed.
template <class Exec, class Real, class Memory>
void finish_ranks(Exec const& exec, CountRanks<Memory> ranks, RoutingView<Real, Memory> const& routing,
                  WorkspaceView<Memory> workspace) {
  if constexpr (takes_runs<Exec>)
    if (ranks.counts != nullptr) {
      sum_workers(ranks.counts, exec.workers(), routing.loads);
      if (exec.workers() > 1) exec.for_rows(ranks.ids.rows(), 0, workspace, AddEarlier<Real, Memory>{ranks});
    }
}

} // namespace detail
} // namespace moebal
