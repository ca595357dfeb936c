// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Runs of rows that change places together: what an exchange between ranks leaves to be done in memory.

#include "../core/bytes.hpp"
#include "../core/execution.hpp"

#include <cstring>
#include <vector>

namespace moebal::detail {

/// Rows [from, from + rows) become rows [to, to + rows). `room` rows are reserved for them where they come from: the
/// rest are fillers.
struct RowRun {
  Index from = 0;
  Index to = 0;
  Index rows = 0;
  Index room = 0;
};

/// Rows of bytes.
using ByteRows = MatrixView<std::byte>;
using ConstByteRows = MatrixView<std::byte const>;

inline void copy_rows(ConstByteRows from, Index first, ByteRows to, Index to_first, Index rows) {
  std::size_t const bytes = std::size_t(from.cols());
  if (rows == 0 || bytes == 0) return;
  if (from.row_stride() == from.cols() && to.row_stride() == to.cols()) {
    std::memcpy(to.row(to_first), from.row(first), std::size_t(rows) * bytes);
    return;
  }
  for (Index r = 0; r < rows; ++r) std::memcpy(to.row(to_first + r), from.row(first + r), bytes);
}

struct MoveRuns {
  RowRun const* runs;
  ConstByteRows from;
  ByteRows to;
  void operator()(Index i) const { copy_rows(from, runs[i].from, to, runs[i].to, runs[i].rows); }
};
struct MoveRunsBack {
  RowRun const* runs;
  ConstByteRows from;
  ByteRows to;
  void operator()(Index i) const {
    RowRun const& run = runs[i];
    copy_rows(from, run.to, to, run.from, run.rows);
    for (Index r = run.rows; r < run.room; ++r)
      if (to.cols() > 0) std::memset(to.row(run.from + r), 0, std::size_t(to.cols())); // fillers
  }
};

template <class Exec>
void move_runs(Exec const& exec, std::vector<RowRun> const& runs, ConstByteRows from, ByteRows to) {
  exec.for_each(Index(runs.size()), MoveRuns{runs.data(), from, to});
}
/// The inverse; fillers become zero.
template <class Exec>
void move_runs_back(Exec const& exec, std::vector<RowRun> const& runs, ConstByteRows from, ByteRows to) {
  exec.for_each(Index(runs.size()), MoveRunsBack{runs.data(), from, to});
}
/// Whether nothing has to move, and there are no fillers.
inline bool stay_in_place(std::vector<RowRun> const& runs) {
  for (RowRun const& run : runs)
    if (run.room > 0 && (run.from != run.to || run.rows != run.room)) return false;
  return true;
}

} // namespace moebal::detail
