// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a backend is: a handful of primitives on rows and on vectors of integers. Nothing else in the library knows the machine.

#include "lanes.hpp"
#include "workspace.hpp"

namespace moebal {

namespace detail {
/// The least that for_rows must take: a trivially copyable functor that names the arithmetic of its rows.
struct AnyRowBody {
  using real = float;
  template <class Lanes> MOEBAL_FN void operator()(Lanes, std::byte*, Index, Index) const {}
};
} // namespace detail

/// An execution object: the first argument of everything that works on tokens.
///   memory               what its kernels can reach
///   workers()            rows in flight at most: each has scratch memory of its own
///   copies()             copies of the statistics: one for each worker, or 1 where lanes.add is atomic
///   for_rows(n, bytes, ws, body)  body(lanes, scratch, worker, row) for row in [0, n); `scratch` holds `bytes` bytes that
///                        only this worker uses; a worker takes rows one after the other
///   for_each(n, f)       f(i) for i in [0, n), in any order, in parallel
///   exclusive_scan(v)    in place, element i becomes the sum of those before it
///   reduce_columns(m, v) v[c] = the sum over r of m(r, c)
///   copy(from, to), fill(v, x)
/// Work is ordered after the work submitted before; a host backend returns when it is done.
template <class X>
concept execution =
    requires(X const& exec, Index n, std::size_t bytes, WorkspaceView<typename X::memory> workspace,
             VectorView<std::int64_t, typename X::memory> v, VectorView<std::int64_t const, typename X::memory> cv,
             MatrixView<std::int64_t const, typename X::memory> m) {
      typename X::memory;
      { exec.workers() } -> std::same_as<Index>;
      { exec.copies() } -> std::same_as<Index>;
      exec.for_rows(n, bytes, workspace, detail::AnyRowBody{});
      exec.for_each(n, detail::AnyRow{});
      exec.exclusive_scan(v);
      exec.reduce_columns(m, v);
      exec.copy(cv, v);
      exec.fill(v, std::int64_t{});
    };

/// A body of for_rows that adds integers up: to sums() [sums_size()], or wherever with_sums(p) is told. Null: to nothing.
template <class Body>
concept summing_body = requires(Body const& body, std::int64_t* sums) {
  { body.sums() } -> std::same_as<std::int64_t*>;
  { body.sums_size() } -> std::same_as<Index>;
  { body.with_sums(sums) } -> std::same_as<Body>;
};
/// An execution whose for_rows sets the sums of a summing_body to 0 before it adds, which spares a launch.
template <class Exec>
concept clears_sums = execution<Exec> && requires { requires Exec::clears_sums; };

/// Whether the kernels of Exec can read memory of this kind.
template <class Memory, class Exec>
concept reachable_from = std::same_as<Memory, typename Exec::memory>;

namespace detail {
template <class Exec, class... Memory> constexpr void check_reach() {
  static_assert((reachable_from<Memory, Exec> && ...),
                "moebal: this execution cannot read this memory: give host views to a host execution and device views to "
                "a device execution");
}
/// The sentence for matrices, whoever's type they have.
template <class Exec, class... X> constexpr void check_matrices() {
  check_reach<Exec, typename decltype(as_matrix(std::declval<X>()))::memory...>();
}
} // namespace detail

} // namespace moebal
