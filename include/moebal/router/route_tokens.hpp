// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Routing tokens by their activations: the logits of a few rows are made and routed while they are in cache.

#include "../core/lanes.hpp"
#include "../core/packed_gate.hpp"

namespace moebal::detail {

/// Rows whose logits are made at once: blocks where the execution takes blocks.
template <class Exec> constexpr Index block_rows_of() {
  if constexpr (requires { Exec::block_rows; }) return Exec::block_rows;
  return 0;
}
template <class Exec> Index rows_at_once(Index tokens) {
  Index const most = block_rows_of<Exec>() < tokens ? block_rows_of<Exec>() : tokens;
  return most < 1 ? 1 : most;
}
/// Bytes for each worker, with those that routing takes.
template <class Real, class Exec> std::size_t tokens_scratch(std::size_t of_route, Index tokens, Index experts) {
  Index const floats =
      rows_at_once<Exec>(tokens) * filled_experts(experts) + (block_rows_of<Exec>() > 0 ? gate_block_scratch : 0);
  return of_route + (sizeof(Real) * std::size_t(floats) + 63) / 64 * 64;
}

/// In place of a RouteRow: nothing is routed yet.
template <class Real, class Memory> struct LogitsOnly {
  using real = Real;
  MatrixView<Real const, Memory> logits;
  Index first_row = 0;
  MOEBAL_FN std::size_t scratch_bytes() const { return 0; }
  MOEBAL_FN std::int64_t* sums() const { return nullptr; }
  MOEBAL_FN Index sums_size() const { return 0; }
  MOEBAL_FN LogitsOnly with_sums(std::int64_t*) const { return *this; }
  template <class Lanes> MOEBAL_FN void operator()(Lanes, std::byte*, Index, Index) const {}
};

/// A body of rows of x that makes their logits, then does with them what Route, a body of rows of logits, does.
template <class Route, class X, class Weight, class Memory> struct TokenRows {
  using real = typename Route::real;
  static constexpr char const* region = "moebal::Router::route_tokens"; // as profilers show it

  Route route;
  MatrixView<X const, Memory> x;       // [T, D]
  Weight weight;                       // [E, D]
  MatrixView<real, Memory> logits;     // [T, E], or empty: not asked for
  Index rows;                          // whose logits are made at once

  /// One row: the oracle of the blocks, and what other machines do. Each lane follows the chains of its experts.
  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte* memory, Index worker, Index t) const {
    real* const z = made(memory);
    X const* const row = x.row(t);
    lanes.each_one(weight.rows(), [=, w = weight](Index e) {
      real sum = 0;
      for (Index from = 0; from < w.cols(); from += gate_run) {
        real run = 0;
        Index const to = from + gate_run < w.cols() ? from + gate_run : w.cols();
        for (Index d = from; d < to; ++d) run = math::fma(real(widen(row[d])), real(widen(w(e, d))), run);
        sum = sum + run;
      }
      z[e] = sum;
    });
    write(lanes, z, t);
    routing(z, t)(lanes, memory, worker, t);
  }

  /// Rows [first, last) in blocks; route_rows(body, memory, worker, from, to) routes one of them.
  template <class Product, class RouteRows>
    requires(std::same_as<real, float> && Product::width > 1)
  void blocks(Product, std::byte* memory, Index worker, Index first, Index last, RouteRows route_rows) const {
    float* const z = made(memory);
    Index const stride = filled_experts(weight.rows());
    for (; first < last; first += rows) {
      Index const n = rows < last - first ? rows : last - first;
      MatrixView<X const, Memory> const part(x.row(first), n, x.cols(), x.row_stride());
      Product::block(part, weight, z, stride, z + rows * stride);
      for (Index t = 0; t < n; ++t) write(typename Product::lanes{}, z + t * stride, first + t);
      route_rows(routing(z, first), memory, worker, first, first + n);
    }
  }

  MOEBAL_FN std::int64_t* sums() const { return route.sums(); }
  MOEBAL_FN Index sums_size() const { return route.sums_size(); }
  MOEBAL_FN TokenRows with_sums(std::int64_t* sums) const {
    TokenRows body = *this;
    body.route = route.with_sums(sums);
    return body;
  }

private:
  MOEBAL_FN real* made(std::byte* memory) const { return reinterpret_cast<real*>(memory + route.scratch_bytes()); }
  /// The body that routes rows whose logits lie in z, token `first` first.
  MOEBAL_FN Route routing(real const* z, Index first) const {
    Route body = route;
    body.logits = {z, rows, weight.rows(), filled_experts(weight.rows())};
    body.first_row = first;
    return body;
  }
  template <class Lanes> MOEBAL_FN void write(Lanes lanes, real const* z, Index t) const {
    if (logits.empty()) return;
    real* const out = logits.row(t);
    lanes.each(weight.rows(), [=](auto e) {
      auto const value = load(z, e);
      store(out, e, math::keep_nan(value, value)); // one NaN everywhere
    });
  }
};

} // namespace moebal::detail
