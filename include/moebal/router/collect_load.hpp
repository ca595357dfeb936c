// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where statistics are added up: in copies, one for each worker, and then in the load; a single worker adds there at once.

#include "../core/execution.hpp"
#include "../stats/load.hpp"

#include <cstdint>

namespace moebal::detail {

/// Bytes of workspace for the copies of `slots` sums.
template <class Exec> std::size_t load_bytes(Exec const& exec, Index slots) {
  return WorkspaceView<>::bytes_for<std::int64_t>(exec.copies() > 1 ? exec.copies() * slots : 0);
}
/// The copies [exec.copies(), S, slots], all 0 by the time that rows are added; null where nothing is asked for.
template <class Exec, class Needs, class Memory>
std::int64_t* start_load(Exec const& exec, LoadView<Needs, Memory> load, WorkspaceView<Memory>& workspace) {
  if (load.data() == nullptr) return nullptr;
  Index const copies = exec.copies(), size = copies * load.size();
  std::int64_t* const sums = copies > 1 ? workspace.template take<std::int64_t>(size) : load.data();
  if constexpr (!clears_sums<Exec>) exec.fill(VectorView<std::int64_t, Memory>(sums, size), std::int64_t(0));
  return sums;
}
template <class Exec, class Needs, class Memory>
void finish_load(Exec const& exec, std::int64_t const* copies, LoadView<Needs, Memory> load) {
  if (copies == nullptr || exec.copies() == 1) return;
  exec.reduce_columns(MatrixView<std::int64_t const, Memory>(copies, exec.copies(), load.size()),
                      VectorView<std::int64_t, Memory>(load.data(), load.size()));
}

} // namespace moebal::detail
