// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// dispatch_plan: the local part of a dispatch, from ids to who sends what where, against grouping the pairs alone.

#include "counting_sort.hpp"
#include "entries.hpp"

#include <moebal/backend/eigen.hpp>
#include <moebal/communicator.hpp>
#include <moebal/plan/dispatcher.hpp>

#include <memory>

namespace bench {
namespace {

using namespace moebal;

/// Rank 0 of 8 ranks on two nodes, where the others bring what it brings, in no time.
struct Mirror {
  using memory = HostMemory;
  using Request = Self::Request;
  Index rank() const { return 0; }
  Index size() const { return 8; }
  Index node_of(Index rank) const { return rank / 4; }
  template <summable T> Request start_all_reduce_sum(VectorView<T>) const { return {}; }
  template <class T> Request start_all_gather(VectorView<T const> mine, VectorView<T> all) const {
    for (Index r = 0; r < size(); ++r) std::copy_n(mine.data(), mine.size(), all.data() + r * mine.size());
    return {};
  }
  template <class T>
  Request start_all_to_all_v(MatrixView<T const> send, VectorView<Index const> send_rows, MatrixView<T> receive,
                             VectorView<Index const>) const {
    for (Index r = 0; r < size() * send_rows[0]; ++r)
      std::copy_n(send.row(r % send_rows[0]), send.cols(), receive.row(r));
    return {};
  }
  Request start_barrier() const { return {}; }
};

template <class Path> auto plan_with(Model const& m, Path path) {
  Communicator<Mirror> const comm(Mirror{});
  return [d = std::make_shared<Dispatcher<Communicator<Mirror>, ExactCounts, Path>>(
              comm, topology_of(comm, m.experts), ExactCounts{}, path)](Ours& o, Index first) {
    d->plan(EigenExec(), MatrixView<ExpertId const>(o.routing.expert_ids().row(first), o.tokens, o.model.top_k));
  };
}
auto counting_sort(Ours& ours) {
  route_all(ours);
  return sorted_ids(ours.model);
}

Part const part([](Pairs const& pairs) {
  each_size(pairs, 1024, [&](Model const& m, Index n) {
    if (m.experts % 8 != 0) return;
    add(pairs, "dispatch_plan", m, n, "counting_sort", plan_with(m, path::Flat{}), counting_sort);
    add(pairs, "dispatch_plan_two_level", m, n, "counting_sort", plan_with(m, path::BetweenFirst{}), counting_sort);
  });
});

} // namespace
} // namespace bench
