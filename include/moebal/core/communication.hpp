// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What it means to be one of R ranks: the verbs that a backend brings (comm/*.hpp) and those that the rest of the
// library calls. The concepts stand here so that a balancer needs neither a backend nor communicator.hpp.

#include "ids.hpp"
#include "views.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace moebal {

/// What ranks can add up. int64 is exact in any order; float and double are added in rank order where the backend says
/// so.
template <class T>
concept summable = std::same_as<T, std::int64_t> || std::same_as<T, float> || std::same_as<T, double>;

/// A collective that has started. wait() returns when this rank's part of it is done, and throws CommError where it
/// failed; a second wait(), or one on a moved-from request, does nothing. done() never blocks: it lets the transport
/// make progress, and is true once wait() would wait for no other rank, be it that it returns or that it throws; also
/// after wait() and on a moved-from request. Only wait() finishes the result, throws, and keeps a time limit. Dropping a
/// request without wait() is safe for this rank and does not disturb the others; what its view then holds is
/// unspecified.
template <class R>
concept collective_request = std::movable<R> && !std::copyable<R> && requires(R& request) {
  { request.wait() } -> std::same_as<void>;
  { request.done() } -> std::same_as<bool>;
};

namespace detail {
// The started verbs, as backends bring them and as Communicator passes them on.
template <class C, class T>
concept starts_sum_of = requires(C const& comm, VectorView<T, typename C::memory> values) {
  { comm.start_all_reduce_sum(values) } -> std::same_as<typename C::Request>;
};
template <class C, class T>
concept starts_exchange_of =
    requires(C const& comm, VectorView<T const, typename C::memory> mine, VectorView<T, typename C::memory> all,
             MatrixView<T const, typename C::memory> send, MatrixView<T, typename C::memory> receive,
             VectorView<Index const> rows) {
      { comm.start_all_gather(mine, all) } -> std::same_as<typename C::Request>;
      { comm.start_all_to_all_v(send, rows, receive, rows) } -> std::same_as<typename C::Request>;
      { comm.start_barrier() } -> std::same_as<typename C::Request>;
    };
template <class C>
concept knows_its_place = requires(C const& comm, Index rank) {
  { comm.rank() } -> std::same_as<Index>;
  { comm.size() } -> std::same_as<Index>;
  { comm.node_of(rank) } -> std::same_as<Index>;
};
} // namespace detail

/// A way for ranks to talk, to be wrapped in a Communicator, which checks arguments before it calls any of these. A
/// cheap handle: copies speak for the same rank. Every verb is the started form; started and blocking calls match each
/// other.
template <class B>
concept comm_backend =
    std::copyable<B> && requires { typename B::memory; } && collective_request<typename B::Request> &&
    detail::knows_its_place<B> && detail::starts_sum_of<B, std::int64_t> && detail::starts_sum_of<B, float> &&
    detail::starts_sum_of<B, double> && detail::starts_exchange_of<B, std::int64_t> &&
    detail::starts_exchange_of<B, std::byte>;

/// What a balancer or a dispatcher asks of its communicator: Communicator<Backend>, or a decorator around one.
template <class C>
concept communicator =
    std::copyable<C> && requires { typename C::memory; } && collective_request<typename C::Request> &&
    detail::knows_its_place<C> && detail::starts_sum_of<C, std::int64_t> && detail::starts_sum_of<C, float> &&
    detail::starts_sum_of<C, double> && detail::starts_exchange_of<C, std::int64_t> &&
    requires(C const& comm, VectorView<std::int64_t, typename C::memory> counts,
             VectorView<double, typename C::memory> sums, VectorView<std::int64_t const, typename C::memory> mine,
             MatrixView<std::int64_t const, typename C::memory> send,
             MatrixView<std::int64_t, typename C::memory> receive, VectorView<Index const> rows) {
      comm.all_reduce_sum(counts);
      comm.all_reduce_sum(sums);
      comm.all_gather(mine, counts);
      comm.all_to_all_v(send, rows, receive, rows);
      comm.barrier();
    };

/// What a Communicator looks at before it sends.
enum class Checks {
  None,          // nothing: arguments that do not fit are undefined
  Cheap,         // the arguments of this rank
  Communicating, // these, and that all ranks call the same (comm/checked.hpp says what that costs)
};

/// Defined in communicator.hpp.
template <comm_backend Backend, Checks level = Checks::Cheap> class Communicator;

namespace detail {
/// sum[i] += more[i]: one rank's turn in a sum in rank order.
template <summable T> void add_to(T const* more, Index n, T* sum) {
  for (Index i = 0; i < n; ++i) sum[i] += more[i];
}
} // namespace detail

} // namespace moebal
