// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where statistics are added up: in copies, one for each worker, and then in the load; a single worker adds there at once.

#include "../core/execution.hpp"
#include "../stats/load.hpp"

#include <cstdint>

namespace moebal::detail {

/// int64 from one worker's copy of `slots` sums to the next: no two workers write to one cache line, or to the one that is fetched along.
inline Index copy_stride(Index slots) { return (slots + 15) / 16 * 16; }

/// Bytes of workspace for the copies of `slots` sums.
template <class Exec> std::size_t load_bytes(Exec const& exec, Index slots) {
  return WorkspaceView<>::bytes_for<std::int64_t>(exec.copies() > 1 ? exec.copies() * copy_stride(slots) : 0);
}
/// Sums that are 0 by the time that rows are added: `data` null where nothing is asked for, `stride` 0 where all workers add to the same.
struct LoadCopies {
  std::int64_t* data; // [exec.copies(), S, slots]
  Index stride;       // from copy to copy
};
template <class Exec, class Needs, class Memory>
LoadCopies start_load(Exec const& exec, LoadView<Needs, Memory> const& load, WorkspaceView<Memory>& workspace) {
  if (load.data() == nullptr) return {nullptr, 0};
  Index const copies = exec.copies(), stride = copies > 1 ? copy_stride(load.size()) : 0;
  Index const size = copies > 1 ? copies * stride : load.size();
  std::int64_t* const sums = copies > 1 ? workspace.template take<std::int64_t>(size) : load.data();
  if constexpr (!clears_sums<Exec>) exec.fill(VectorView<std::int64_t, Memory>(sums, size), std::int64_t(0));
  return {sums, stride};
}
/// Their sum, where there are several.
template <class Exec, class Needs, class Memory>
void finish_load(Exec const& exec, LoadCopies copies, LoadView<Needs, Memory> const& load) {
  exec.reduce_columns(MatrixView<std::int64_t const, Memory>(copies.data, exec.copies(), load.size(), copies.stride),
                      VectorView<std::int64_t, Memory>(load.data(), load.size()));
}

} // namespace moebal::detail
