// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// R ranks as processes, over MPI 3.1.

#include "../core/communication.hpp"
#include "../core/errors.hpp"
#include "call.hpp"
#include "mpi_calls.hpp"
#include "mpi_handle.hpp"

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <mpi.h>

namespace moebal {

/// The communicator backend of MPI processes: speaks on duplicates of the caller's communicator, so that its messages
/// never meet the caller's. Made by all ranks of that communicator together; the last copy frees the duplicates, before
/// MPI_Finalize if it can. The caller calls MPI_Init or MPI_Init_thread: with MPI_THREAD_SINGLE and _FUNNELED the
/// thread that did so makes all calls, with _SERIALIZED any thread may, where nothing else in the program calls MPI
/// meanwhile.
///
/// Price of sums of float and double: MPI does not promise an order, so all contributions [R, n] are gathered on each
/// rank and added in rank order there: R times the traffic, and R n elements of memory until wait(). Integers are
/// reduced in a copy. MPI may need calls to make progress between start and wait: done() is one.
/// Waits poll and give the core away (detail::Patience). Dropping a request waits for it, since MPI still uses its
/// memory; errors are then forgotten.
///
/// Errors: StateError where MPI is not running or does not allow this thread; ShapeError for more than 2^31 - 1 rows of
/// an all_to_all_v; CommError with MPI's words for each failed call, and where ranks do not come within
/// MpiOptions::timeout, with the ranks that do not answer, or are elsewhere, by number. After a CommError the
/// communicator refuses all further verbs on all ranks with the same reason, and nothing of it is freed: MPI cannot
/// take back what has started, and may still write to the results of all_gather and all_to_all_v. A program that cannot
/// go on without the missing rank ends by MPI_Abort: MPI_Finalize would wait for it.
/// Ranks that disagree about verb, type or size are not found here, unless they wait for one another: that is
/// undefined.
class Mpi {
  /// What must stay where it is while MPI works on it.
  struct Pending {
    std::shared_ptr<detail::MpiHandle> handle;
    detail::Call call;
    Index number = 0;
    std::vector<MPI_Request> requests = {}; // one for each piece
    std::vector<int> counts = {};           // all_to_all_v [4, R]: rows and first row for each rank, sent and received
    std::unique_ptr<std::byte[]> buffer = {}; // sums: [n] integers, or [R, n] elements, piece by piece
    void (*finish)(Pending const&) = [](Pending const&) {};
    void* values = nullptr;
    Index size = 0;
  };
  struct Drop {
    void operator()(Pending* pending) const {
      std::unique_ptr<Pending> owned(pending);
      try {
        pending->handle->await(pending->requests, pending->call, pending->number);
      } catch (Error const&) {
        (void)owned.release(); // it is never done: MPI may use it for ever
      }
    }
  };
  using Owned = std::unique_ptr<Pending, Drop>;

public:
  using memory = HostMemory;

  class Request {
  public:
    void wait() {
      if (!pending_) return;
      Owned const pending = std::move(pending_); // done, whatever comes
      pending->handle->await(pending->requests, pending->call, pending->number);
      pending->finish(*pending);
    }
    bool done() { return !pending_ || pending_->handle->settled(pending_->requests); }

  private:
    friend class Mpi;
    explicit Request(Owned pending) : pending_(std::move(pending)) {}
    Owned pending_;
  };

  /// Collective over `comm`, which stays the caller's.
  explicit Mpi(MPI_Comm comm, MpiOptions const& options = {})
      : handle_(std::make_shared<detail::MpiHandle>(comm, options)) {
    gather(detail::Call{.verb = "making the communicator"}, handle_->own_place(), handle_->all_places()).wait();
    handle_->take_places();
  }

  Index rank() const { return handle_->rank(); }
  Index size() const { return handle_->size(); }
  Index node_of(Index rank) const { return handle_->node_of(rank); }

  Request start_all_reduce_sum(VectorView<std::int64_t> values) const {
    Owned pending = prepare(detail::Call::of<std::int64_t>("all_reduce_sum", values.size()));
    auto* const sums = buffer_of<std::int64_t>(*pending, values, values.size(), [](Pending const& done) {
      std::copy_n(reinterpret_cast<std::int64_t const*>(done.buffer.get()), done.size, to<std::int64_t>(done));
    });
    std::copy_n(values.data(), values.size(), sums);
    return start(
        std::move(pending), values.size(), largest(), [&](Index first, int n, MPI_Comm comm, MPI_Request* request) {
          detail::require_mpi(MPI_Iallreduce(MPI_IN_PLACE, sums + first, n, MPI_INT64_T, MPI_SUM, comm, request),
                              "MPI_Iallreduce");
        });
  }
  template <summable T>
    requires std::floating_point<T>
  Request start_all_reduce_sum(VectorView<T> values) const {
    MPI_Datatype const type = std::same_as<T, float> ? MPI_FLOAT : MPI_DOUBLE;
    Owned pending = prepare(detail::Call::of<T>("all_reduce_sum", values.size()));
    T* const gathered = buffer_of<T>(*pending, values, size() * values.size(), &add_in_rank_order<T>);
    auto const gather_piece = [&](Index first, int n, MPI_Comm comm, MPI_Request* request) {
      T* const piece = gathered + size() * first; // [R, n]
      std::copy_n(values.data() + first, n, piece + rank() * n);
      detail::require_mpi(MPI_Iallgather(MPI_IN_PLACE, 0, type, piece, n, type, comm, request), "MPI_Iallgather");
    };
    return start(std::move(pending), values.size(), largest_of_all(*handle_), gather_piece);
  }
  template <class T> Request start_all_gather(VectorView<T const> mine, VectorView<T> all) const {
    return gather(detail::Call::of<T>("all_gather", mine.size()), mine, all);
  }
  template <class T>
  Request start_all_to_all_v(MatrixView<T const> send, VectorView<Index const> send_rows, MatrixView<T> receive,
                             VectorView<Index const> receive_rows) const {
    Owned pending = prepare(detail::Call::of<T>("all_to_all_v", send.cols()));
    auto const ranks = std::size_t(size());
    pending->counts.resize(4 * ranks);
    int* const counts = pending->counts.data();
    auto const lay_out = [ranks](VectorView<Index const> rows, int* count, int* first) {
      Index sum = 0;
      for (std::size_t r = 0; r < ranks; sum += rows[Index(r++)]) {
        first[r] = detail::mpi_count("rows of one all_to_all_v over MPI", sum);
        count[r] = detail::mpi_count("rows of one all_to_all_v over MPI", rows[Index(r)]);
      }
      return sum;
    };
    lay_out(send_rows, counts, counts + ranks);
    Index const received = lay_out(receive_rows, counts + 2 * ranks, counts + 3 * ranks);
    auto const* out = reinterpret_cast<std::byte const*>(send.data());
    auto* in = reinterpret_cast<std::byte*>(receive.data());
    // Where one side has no rows their addresses may be equal, which Open MPI takes for MPI_IN_PLACE.
    if (out == in && received == 0)
      in = reinterpret_cast<std::byte*>(counts);
    else if (out == in)
      out = reinterpret_cast<std::byte*>(counts);
    Index const bytes = Index(sizeof(T)); // of an element; a piece is some columns of all rows
    auto const exchange_piece = [&](Index first, int n, MPI_Comm comm, MPI_Request* request) {
      detail::MpiType from = detail::mpi_row(n, send.row_stride() * bytes);
      detail::MpiType to = detail::mpi_row(n, receive.row_stride() * bytes);
      detail::require_mpi(MPI_Ialltoallv(out + first, counts, counts + ranks, from.get(), in + first,
                                         counts + 2 * ranks, counts + 3 * ranks, to.get(), comm, request),
                          "MPI_Ialltoallv");
      from.free("MPI_Type_free");
      to.free("MPI_Type_free");
    };
    return start(std::move(pending), send.cols() * bytes, largest(), exchange_piece);
  }
  Request start_barrier() const {
    return start(prepare({.verb = "barrier"}), 1, 1, [](Index, int, MPI_Comm comm, MPI_Request* request) {
      detail::require_mpi(MPI_Ibarrier(comm, request), "MPI_Ibarrier");
    });
  }

private:
  Index largest() const { return handle_->options().largest_message; }
  /// Of a gather, which holds all ranks' elements.
  static Index largest_of_all(detail::MpiHandle const& handle) {
    return std::max(Index(1), handle.options().largest_message / handle.size());
  }

  Owned prepare(detail::Call const& call) const { return Owned(new Pending{.handle = handle_, .call = call}); }
  /// Sums work on a copy, so that a rank which gives up leaves MPI nothing of the caller's to write to.
  template <class T>
  static T* buffer_of(Pending& pending, VectorView<T> values, Index elements, void (*finish)(Pending const&)) {
    pending.buffer = std::make_unique_for_overwrite<std::byte[]>(std::size_t(elements) * sizeof(T));
    pending.values = values.data();
    pending.size = values.size();
    pending.finish = finish;
    return reinterpret_cast<T*>(pending.buffer.get());
  }
  template <class T> static T* to(Pending const& pending) { return static_cast<T*>(pending.values); }

  /// f(first, n, communicator, request) starts each piece, of at most `most` of `all`.
  template <class F> Request start(Owned pending, Index all, Index most, F&& f) const {
    pending->requests.assign(std::size_t((all + most - 1) / most), MPI_REQUEST_NULL);
    pending->number = handle_->start(pending->call, [&](MPI_Comm comm) {
      MPI_Request* request = pending->requests.data();
      for (Index first = 0; first < all; first += most) f(first, int(std::min(most, all - first)), comm, request++);
    });
    return Request(std::move(pending));
  }

  template <class T> Request gather(detail::Call const& call, VectorView<T const> mine, VectorView<T> all) const {
    auto const* const from = reinterpret_cast<std::byte const*>(mine.data());
    auto* const to = reinterpret_cast<std::byte*>(all.data());
    Index const bytes = mine.size() * Index(sizeof(T));
    return start(prepare(call), bytes, largest(), [&](Index first, int n, MPI_Comm comm, MPI_Request* request) {
      detail::MpiType row = detail::mpi_row(n, bytes); // one from each rank
      detail::require_mpi(MPI_Iallgather(from + first, n, MPI_BYTE, to + first, 1, row.get(), comm, request),
                          "MPI_Iallgather");
      row.free("MPI_Type_free");
    });
  }

  template <class T> static void add_in_rank_order(Pending const& pending) {
    T* const values = to<T>(pending);
    auto const* const gathered = reinterpret_cast<T const*>(pending.buffer.get());
    Index const n = pending.size, ranks = pending.handle->size(), most = largest_of_all(*pending.handle);
    for (Index first = 0; first < n; first += most) {
      T const* const piece = gathered + ranks * first;
      Index const m = std::min(most, n - first);
      std::copy_n(piece, m, values + first);
      for (Index r = 1; r < ranks; ++r) detail::add_to<T>(piece + r * m, m, values + first);
    }
  }

  std::shared_ptr<detail::MpiHandle> handle_;
};
static_assert(comm_backend<Mpi>);

} // namespace moebal
