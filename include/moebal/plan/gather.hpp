// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows of tokens into the slots of a plan, and back. Every element is copied or added in one fixed order, so the bits
// are the same everywhere.

#include "../core/execution.hpp"
#include "plan.hpp"

namespace moebal {

/// How a token with several slots comes back.
enum class Scatter {
  Sum,       // the sum over its slots in the order of k: the backward of gather
  FirstKept, // the row of its first kept choice: the inverse of gather, to the bit
};

namespace detail {

/// A job is one row on a host, and one element on a device, where neighbouring threads then touch neighbouring memory.
template <class Exec> constexpr Index columns_per_job(Index columns) {
  return std::same_as<typename Exec::memory, HostMemory> ? columns : 1;
}
struct RowTiles {
  Index columns;
  Index width; // of a tile; divides columns, or is 1
  MOEBAL_FN Index tiles() const { return columns / width; }
  MOEBAL_FN Index row(Index job) const { return job / tiles(); }
  MOEBAL_FN Index column(Index job) const { return job % tiles() * width; }
  template <class Exec> static RowTiles of(Exec const&, Index columns) {
    return {columns, columns_per_job<Exec>(columns) < 1 ? 1 : columns_per_job<Exec>(columns)};
  }
};

template <class T, class Memory> struct GatherRow {
  PlanView<Memory> plan;
  RowTiles tiles;
  MatrixView<T const, Memory> x;
  MatrixView<T, Memory> out;
  MOEBAL_FN void operator()(Index job) const {
    Index const slot = tiles.row(job), column = tiles.column(job);
    Index const pair = plan.order[slot];
    T* const to = out.row(slot) + column;
    if (pair == no_slot) {
      for (Index c = 0; c < tiles.width; ++c) to[c] = T{};
      return;
    }
    T const* const from = x.row(pair / plan.top_k()) + column;
    for (Index c = 0; c < tiles.width; ++c) to[c] = from[c];
  }
};

template <class T, class Memory> struct ScatterRow {
  PlanView<Memory> plan;
  RowTiles tiles;
  Scatter rule;
  MatrixView<T const, Memory> y;
  MatrixView<T, Memory> out;
  MOEBAL_FN void operator()(Index job) const {
    Index const t = tiles.row(job), column = tiles.column(job);
    T* const to = out.row(t) + column;
    bool first = true;
    for (Index k = 0; k < plan.top_k(); ++k) {
      Index const slot = plan.slot_of(t, k);
      if (slot == no_slot) continue;
      T const* const from = y.row(slot) + column;
      if (first) {
        for (Index c = 0; c < tiles.width; ++c) to[c] = from[c];
      } else if constexpr (std::is_arithmetic_v<T>) {
        for (Index c = 0; c < tiles.width; ++c) to[c] = to[c] + from[c];
      }
      first = false;
      if (rule == Scatter::FirstKept) return;
    }
    if (first)
      for (Index c = 0; c < tiles.width; ++c) to[c] = T{};
  }
};

/// Throws unless y has a row for every slot. A host knows how many there are, a device must give all of `order`.
template <class Memory> void require_slots(char const* what, PlanView<Memory> const& plan, Index rows) {
  if constexpr (std::same_as<Memory, HostMemory>) {
    require_at_least(what, plan.offsets[plan.experts()], rows);
    if (rows > plan.order.size()) require_equal(what, plan.order.size(), rows);
  } else {
    require_equal(what, plan.order.size(), rows);
  }
}

} // namespace detail

/// out[s] = x[token of slot s]; the rows of fillers are zero.
/// @param x    [T, D] of any trivially copyable type
/// @param out  [slots, D]; up to plan.order.size() rows, those past the last slot become zero
/// Cost: reads and writes slots * D elements once; one launch. @throws ShapeError
template <execution Exec, matrix_like X, matrix_like Out>
void gather_into(Exec const& exec, PlanView<typename Exec::memory> plan, X&& x, Out&& out) {
  detail::check_matrices<Exec, X, Out>();
  using T = element_of<X>;
  static_assert(std::is_trivially_copyable_v<T>, "moebal: rows of this type cannot be gathered by copying their bits");
  static_assert(std::same_as<T, element_of<Out>>, "moebal: gathered rows keep their type: x and out must agree");
  MatrixView<T const, typename Exec::memory> const from = as_matrix(x);
  MatrixView<T, typename Exec::memory> const to = as_matrix(out);
  require_equal("rows of x [T, D]", plan.tokens(), from.rows());
  require_equal("columns of out [slots, D]", from.cols(), to.cols());
  detail::require_slots("rows of out [slots, D]", plan, to.rows());
  auto const tiles = detail::RowTiles::of(exec, from.cols());
  if (from.cols() > 0)
    exec.for_each(to.rows() * tiles.tiles(), detail::GatherRow<T, typename Exec::memory>{plan, tiles, from, to});
}

/// Back to tokens, without weights. With FirstKept scatter(gather(x)) == x for every token that kept a slot; tokens
/// that kept none become zero. Sum is the backward of gather: d_x from d_out.
/// @param y    [slots, D]
/// @param out  [T, D]
/// @throws ShapeError
template <execution Exec, matrix_like Y, matrix_like Out>
void scatter_into(Exec const& exec, Scatter rule, PlanView<typename Exec::memory> plan, Y&& y, Out&& out) {
  detail::check_matrices<Exec, Y, Out>();
  using T = element_of<Y>;
  static_assert(std::is_trivially_copyable_v<T>, "moebal: rows of this type cannot be scattered by copying their bits");
  static_assert(std::same_as<T, element_of<Out>>, "moebal: scattered rows keep their type: y and out must agree");
  if (!std::is_arithmetic_v<T> && rule == Scatter::Sum)
    detail::refuse<ShapeError>("Scatter::Sum", "a type that can be added", "one that can only be copied");
  MatrixView<T const, typename Exec::memory> const from = as_matrix(y);
  MatrixView<T, typename Exec::memory> const to = as_matrix(out);
  require_equal("rows of out [T, D]", plan.tokens(), to.rows());
  require_equal("columns of y [slots, D]", to.cols(), from.cols());
  detail::require_slots("rows of y [slots, D]", plan, from.rows());
  auto const tiles = detail::RowTiles::of(exec, to.cols());
  if (to.cols() > 0)
    exec.for_each(to.rows() * tiles.tiles(), detail::ScatterRow<T, typename Exec::memory>{plan, tiles, rule, from, to});
}

} // namespace moebal
