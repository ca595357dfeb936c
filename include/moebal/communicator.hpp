// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The one front of every way to talk between ranks: arguments are checked here, once, and the backend does the rest.

#include "comm/checked.hpp"
#include "comm/self.hpp"
#include "core/communication.hpp"
#include "core/errors.hpp"
#include "core/views.hpp"

#include <concepts>
#include <string_view>
#include <type_traits>
#include <utility>

namespace moebal {

/// One of R ranks that work on the same batch. A cheap handle: copies speak for the same rank, as a view does for its
/// memory. Every rank calls the same verbs in the same order. A verb may be started on one rank and called blocking on
/// another.
///
/// level: what is looked at before anything is sent.
/// Errors: ShapeError before anything is sent, where the arguments of this rank do not fit; CommError where another
/// rank failed, never arrived or disagrees (which of these a backend can tell stands in its header).
/// Example: examples/train_moe_lm.
template <comm_backend Backend, Checks level> class Communicator {
  static constexpr bool communicating = level == Checks::Communicating, looks = level != Checks::None;
  using Channel = std::conditional_t<communicating, Checked<Backend>, Backend>;

public:
  using memory = typename Backend::memory;
  using Request = typename Backend::Request;

  Communicator()
    requires std::default_initializable<Backend>
  = default;
  explicit Communicator(Backend backend) : channel_(std::move(backend)) {}

  /// What is wrapped: where a backend or a decorator of one has state of its own to be read.
  Backend const& backend() const {
    if constexpr (communicating)
      return channel_.inner();
    else
      return channel_;
  }

  /// This rank, in [0, size()).
  Index rank() const { return channel_.rank(); }
  /// R, the number of ranks, at least 1.
  Index size() const { return channel_.size(); }
  /// The node (ranks that share memory), in [0, nodes), of a rank in [0, size()).
  Index node_of(Index rank) const {
    if constexpr (looks) require_within("rank", 0, size() - 1, rank);
    return channel_.node_of(rank);
  }

  /// Adds `values` [n] of all ranks, in place; each rank ends with the same bits. n and the type are equal on all
  /// ranks. int64 sums are exact. float and double are added in rank order (((rank 0 + rank 1) + rank 2) + ...), so a
  /// sum is the same in every run and on every host backend; Nccl states its own order.
  template <vector_like X> void all_reduce_sum(X&& values) const { start_all_reduce_sum(values).wait(); }
  /// The same, started: the elements are neither read nor written by the caller until wait() of the request has
  /// returned.
  template <vector_like X> [[nodiscard]] Request start_all_reduce_sum(X&& values) const {
    auto view = as_vector(values);
    using View = decltype(view);
    static_assert(summable<typename View::element>,
                  "moebal: ranks add int64, float or double in place: pass a vector of one of these that is not const");
    check_memory<View>();
    return channel_.start_all_reduce_sum(view);
  }

  /// Writes `mine` [n] of rank r to all[r n, (r + 1) n): `all` is [R n]. n and the type are equal on all ranks, and
  /// `mine` and `all` do not overlap.
  template <vector_like Mine, vector_like All> void all_gather(Mine&& mine, All&& all) const {
    start_all_gather(mine, all).wait();
  }
  /// The same, started: `mine` stays as it is and `all` is left alone until wait() has returned.
  template <vector_like Mine, vector_like All> [[nodiscard]] Request start_all_gather(Mine&& mine, All&& all) const {
    using T = typename decltype(as_vector(all))::element;
    static_assert(std::is_trivially_copyable_v<T>, "moebal: ranks exchange trivially copyable elements only");
    check_memory<decltype(as_vector(all))>();
    VectorView<T const, memory> const from = as_vector(mine);
    VectorView<T, memory> const to = as_vector(all);
    if constexpr (looks) require_equal("all_gather: elements of the result", size() * from.size(), to.size());
    return channel_.start_all_gather(from, to);
  }

  /// Sends rows of `send` [rows, cols] to the ranks that should have them: the first send_rows[0] rows to rank 0, the
  /// next send_rows[1] to rank 1, and so on; rows from rank 0 come first in `receive` [rows, cols], receive_rows[r] of
  /// them from rank r. Both lists are [R] in host memory, and receive_rows[r] is what rank r names for this rank. Zero
  /// rows are fine, rows beyond the sums are left alone, the matrices do not overlap.
  template <matrix_like Send, vector_like SendRows, matrix_like Receive, vector_like ReceiveRows>
  void all_to_all_v(Send&& send, SendRows&& send_rows, Receive&& receive, ReceiveRows&& receive_rows) const {
    start_all_to_all_v(send, send_rows, receive, receive_rows).wait();
  }
  /// The same, started: `send` stays as it is and `receive` is left alone until wait() has returned; the lists are
  /// copied.
  template <matrix_like Send, vector_like SendRows, matrix_like Receive, vector_like ReceiveRows>
  [[nodiscard]] Request start_all_to_all_v(Send&& send, SendRows&& send_rows, Receive&& receive,
                                           ReceiveRows&& receive_rows) const {
    using T = typename decltype(as_matrix(receive))::element;
    static_assert(std::is_trivially_copyable_v<T>, "moebal: ranks exchange trivially copyable elements only");
    check_memory<decltype(as_matrix(receive))>();
    MatrixView<T const, memory> const from = as_matrix(send);
    MatrixView<T, memory> const to = as_matrix(receive);
    VectorView<Index const> const out = as_vector(send_rows), in = as_vector(receive_rows);
    if constexpr (looks) {
      require_equal("all_to_all_v: columns received (as sent)", from.cols(), to.cols());
      require_equal("all_to_all_v: entries of send_rows (one per rank)", size(), out.size());
      require_equal("all_to_all_v: entries of receive_rows (one per rank)", size(), in.size());
      require_at_least("all_to_all_v: rows of send", sum_of("all_to_all_v: send_rows", out), from.rows());
      require_at_least("all_to_all_v: rows of receive", sum_of("all_to_all_v: receive_rows", in), to.rows());
    }
    return channel_.start_all_to_all_v(from, out, to, in);
  }

  /// Returns when every rank has called it.
  void barrier() const { start_barrier().wait(); }
  /// The same, started.
  [[nodiscard]] Request start_barrier() const { return channel_.start_barrier(); }

private:
  template <class View> static constexpr void check_memory() {
    static_assert(std::same_as<typename View::memory, memory>,
                  "moebal: this communicator reaches host memory or device memory, and the view is of the other kind");
  }
  static Index sum_of(std::string_view name, VectorView<Index const> rows) {
    constexpr Index most = Index(1) << 62; // so that no sum of two overflows
    Index sum = 0;
    for (Index const n : rows) {
      require_within(name, 0, most - sum, n);
      sum += n;
    }
    return sum;
  }

  [[no_unique_address]] Channel channel_;
};

static_assert(communicator<Communicator<Self>>);
static_assert(std::is_empty_v<Communicator<Self>>);

} // namespace moebal
