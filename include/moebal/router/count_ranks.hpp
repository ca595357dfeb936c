// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Ranks of pairs within their experts, counted while a row's ids are at hand, for a plan that need not count again.

#include "../core/execution.hpp"
#include "../core/routing.hpp"
#include "../stats/counts.hpp"
#include "../stats/load.hpp"

namespace moebal {

/// An execution whose for_rows takes rows in runs: [0, n), [n, 2 n) ... with n = run_rows<Body>(rows), each by one worker in ascending
/// order, and most_runs() of them at most.
template <class Exec>
concept takes_runs = execution<Exec> && std::same_as<typename Exec::memory, HostMemory> && requires(Exec const& exec, Index n) {
  { exec.template run_rows<detail::AnyRowBody>(n) } -> std::same_as<Index>;
  { exec.most_runs() } -> std::same_as<Index>;
};

namespace detail {

/// Counts the rows of each run. `counts` null: nobody asked.
template <class Memory> struct CountRanks {
  MatrixView<ExpertId, Memory> ids;       // [T, K]
  MatrixView<std::int32_t, Memory> ranks; // [T, K]
  std::int32_t* counts = nullptr;         // [runs, E]
  Index experts = 0;
  Index run_rows = 1;

  MOEBAL_FN Index runs() const { return (ids.rows() + run_rows - 1) / run_rows; }
  MOEBAL_FN std::int32_t* of_row(Index t) const { return counts + t / run_rows * experts; } // [E]
  /// To be called for the rows of a run in order, when the ids of row t are written.
  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, Index top_k, Index t) const {
    if (counts != nullptr) count(lanes, of_row(t), top_k, t);
  }
  template <class Lanes> MOEBAL_FN void count(Lanes lanes, std::int32_t* own, Index top_k, Index t) const {
    ExpertId const* const row = ids.row(t);
    std::int32_t* const out = ranks.row(t);
    lanes.each_one(top_k, [=](Index k) { out[k] = row[k] < 0 ? -1 : own[row[k]]++; }); // distinct ids: none waits
  }
};

/// Adds what earlier runs counted to the ranks of a run.
template <class Memory> struct AddEarlier {
  CountRanks<Memory> counted; // counts [runs, E]: by now the pairs of earlier runs
  MOEBAL_FN void operator()(Index run_before) const {
    Index const first = (run_before + 1) * counted.run_rows, last = first + counted.run_rows, rows = counted.ids.rows();
    std::int32_t const* const earlier = counted.of_row(first);
    for (Index t = first; t < (last < rows ? last : rows); ++t) {
      ExpertId const* const row = counted.ids.row(t);
      std::int32_t* const out = counted.ranks.row(t);
      for (Index k = 0; k < counted.ids.cols(); ++k)
        if (row[k] >= 0) out[k] += earlier[row[k]];
    }
  }
};

/// Each run's counts become those of the runs before it; loads [E], out, their sum. E x runs additions are less than it takes to wake
/// a thread.
inline void sum_runs(std::int32_t* counts, Index runs, VectorView<Index> loads) {
  Index const experts = loads.size();
  for (Index e = 0; e < experts; ++e) loads[e] = 0;
  for (Index r = 0; r < runs; ++r)
    for (Index e = 0; e < experts; ++e) {
      std::int32_t& here = counts[r * experts + e];
      std::int32_t const n = here;
      here = std::int32_t(loads[e]);
      loads[e] += n;
    }
}

/// Bytes of workspace for the counters.
template <class Exec> std::size_t rank_bytes(Exec const& exec, Index experts) {
  if constexpr (takes_runs<Exec>) return WorkspaceView<>::bytes_for<std::int32_t>(exec.most_runs() * experts);
  return 0;
}

/// Refuses ranks, where there are some, that do not fit, or that Exec could not count in order.
template <class Exec, class Real, class Memory>
void check_ranks(RoutingView<Real, Memory> const& routing, Index experts) {
  if constexpr (!takes_runs<Exec>)
    refuse<ShapeError>("ranks [T, K] of a routing", "an execution whose workers take consecutive rows, such as EigenExec",
                       "one that spreads them: leave ranks and loads empty, and plan_into counts for itself");
  require_ranks_shape(routing, experts);
}

/// Counters of 0 where ranks are wanted, before the rows are routed by a Body.
template <class Body, class Exec, class Real, class Memory>
CountRanks<Memory> start_ranks(Exec const& exec, RoutingView<Real, Memory> const& routing,
                               WorkspaceView<Memory>& workspace) {
  CountRanks<Memory> ranks{routing.expert_ids, routing.ranks};
  if constexpr (takes_runs<Exec>)
    if (routing.has_ranks()) {
      ranks.experts = routing.loads.size();
      ranks.run_rows = exec.template run_rows<Body>(routing.ranks.rows());
      Index const size = ranks.runs() * ranks.experts;
      ranks.counts = workspace.template take<std::int32_t>(size);
      exec.fill(VectorView<std::int32_t>(ranks.counts, size), std::int32_t(0));
    }
  return ranks;
}

/// Ranks of the whole batch, and its loads, when the rows are routed and counted. The loads are the counts of one sequence, which
/// tiles have not counted again.
template <class Exec, class Real, class Memory, class Needs>
void finish_ranks(Exec const& exec, CountRanks<Memory> const& ranks, RoutingView<Real, Memory> const& routing,
                  LoadView<Needs, Memory> const& load) {
  if constexpr (takes_runs<Exec>) {
    sum_runs(ranks.counts, ranks.runs(), routing.loads);
    if (ranks.runs() > 1) exec.for_each(ranks.runs() - 1, AddEarlier<Memory>{ranks});
    if constexpr (Needs::template has<stats::Counts>)
      if (load.data() != nullptr && load.sequences() == 1)
        exec.copy(VectorView<Index const>(routing.loads), load.template get<stats::Counts>());
  }
}

} // namespace detail
} // namespace moebal
