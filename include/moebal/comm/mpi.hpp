// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// R ranks as processes, over MPI 3.1.

#include "../core/communication.hpp"
#include "../core/config.hpp"
#include "../core/errors.hpp"
#include "mpi_calls.hpp"

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <mpi.h>

namespace moebal {

/// The communicator backend of MPI processes: speaks on a duplicate of the caller's communicator, so that its messages
/// never meet the caller's. Made by all ranks of that communicator together; the last copy frees the duplicate, before
/// MPI_Finalize if it can. The caller calls MPI_Init or MPI_Init_thread; MPI_THREAD_SINGLE is enough for one thread.
///
/// Price of sums of float and double: MPI does not promise an order, so all contributions [R, n] are gathered on each
/// rank and added in rank order there: R times the traffic, and R n elements of memory until wait(). Integers are
/// reduced in place. MPI may need calls to make progress between start and wait.
/// Dropping a request waits for it, since MPI still uses its memory; errors are then forgotten.
/// Errors: StateError where MPI is not running; ShapeError for more than 2^31 - 1 elements, rows, or bytes a row;
/// CommError with MPI's words for each failed call. Ranks that disagree about verb, type or size are not found here:
/// that is undefined.
class Mpi {
  struct State {
    MPI_Comm comm = MPI_COMM_NULL;
    Index rank = 0, size = 1;
    std::vector<Index> node_of; // [R]

    State() = default;
    State(State const&) = delete;
    State& operator=(State const&) = delete;
    ~State() {
      if (comm != MPI_COMM_NULL && detail::mpi_is_running()) MPI_Comm_free(&comm);
    }
  };
  /// What must stay where it is while MPI works on it.
  struct Pending {
    std::shared_ptr<State const> state;
    MPI_Request request = MPI_REQUEST_NULL;
    int tested = MPI_SUCCESS; // what done() was told, for wait() to report
    std::vector<int> counts;               // all_to_all_v [4, R]: rows and first row for each rank, sent and received
    std::unique_ptr<std::byte[]> gathered; // sums of float and double: [R, n]
    void (*finish)(Pending const&) = [](Pending const&) {};
    void* values = nullptr;
    Index size = 0;

    explicit Pending(std::shared_ptr<State const> owner) : state(std::move(owner)) {}
    Pending(Pending const&) = delete;
    Pending& operator=(Pending const&) = delete;
    ~Pending() {
      if (request != MPI_REQUEST_NULL && detail::mpi_is_running()) MPI_Wait(&request, MPI_STATUS_IGNORE);
    }
  };

public:
  using memory = HostMemory;

  class Request {
  public:
    void wait() {
      if (!pending_) return;
      auto const pending = std::exchange(pending_, nullptr); // done, whatever comes
      MPI_Request request = std::exchange(pending->request, MPI_REQUEST_NULL);
      detail::require_mpi(pending->tested, "MPI_Test");
      detail::require_mpi(MPI_Wait(&request, MPI_STATUS_IGNORE), "MPI_Wait");
      pending->finish(*pending);
    }
    bool done() {
      if (!pending_ || pending_->tested != MPI_SUCCESS) return true;
      int complete = 0; // then MPI has freed the request, and waiting for none returns at once
      pending_->tested = MPI_Test(&pending_->request, &complete, MPI_STATUS_IGNORE);
      return complete != 0 || pending_->tested != MPI_SUCCESS;
    }

  private:
    friend class Mpi;
    explicit Request(std::unique_ptr<Pending> pending) : pending_(std::move(pending)) {}
    std::unique_ptr<Pending> pending_;
  };

  /// Collective over `comm`, which stays the caller's.
  explicit Mpi(MPI_Comm comm) {
    if (!detail::mpi_is_running())
      detail::refuse<StateError>("MPI", "MPI_Init before and MPI_Finalize after", "a program in which it does not run");
    if (comm == MPI_COMM_NULL) detail::refuse<CommError>("MPI", "a communicator", "MPI_COMM_NULL");
    auto state = std::make_shared<State>();
    detail::require_mpi(MPI_Comm_dup(comm, &state->comm), "MPI_Comm_dup");
    detail::require_mpi(MPI_Comm_set_errhandler(state->comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    int rank = 0, size = 1;
    detail::require_mpi(MPI_Comm_rank(state->comm, &rank), "MPI_Comm_rank");
    detail::require_mpi(MPI_Comm_size(state->comm, &size), "MPI_Comm_size");
    state->rank = rank;
    state->size = size;
    find_nodes(*state);
    state_ = std::move(state);
  }

  Index rank() const { return state_->rank; }
  Index size() const { return state_->size; }
  Index node_of(Index rank) const { return state_->node_of[std::size_t(rank)]; }

  Request start_all_reduce_sum(VectorView<std::int64_t> values) const {
    auto pending = std::make_unique<Pending>(state_);
    int const n = detail::mpi_count("elements of one all_reduce_sum over MPI", values.size());
    detail::require_mpi(
        MPI_Iallreduce(MPI_IN_PLACE, values.data(), n, MPI_INT64_T, MPI_SUM, state_->comm, &pending->request),
        "MPI_Iallreduce");
    return Request(std::move(pending));
  }
  template <summable T>
    requires std::floating_point<T>
  Request start_all_reduce_sum(VectorView<T> values) const {
    auto pending = std::make_unique<Pending>(state_);
    (void)detail::mpi_count("elements of all ranks in one all_reduce_sum over MPI", values.size() * size());
    pending->gathered = std::make_unique_for_overwrite<std::byte[]>(std::size_t(values.size() * size()) * sizeof(T));
    pending->values = values.data();
    pending->size = values.size();
    pending->finish = &add_in_rank_order<T>;
    MPI_Datatype const type = std::same_as<T, float> ? MPI_FLOAT : MPI_DOUBLE;
    detail::require_mpi(MPI_Iallgather(values.data(), int(values.size()), type, pending->gathered.get(),
                                       int(values.size()), type, state_->comm, &pending->request),
                        "MPI_Iallgather");
    return Request(std::move(pending));
  }
  template <class T> Request start_all_gather(VectorView<T const> mine, VectorView<T> all) const {
    auto pending = std::make_unique<Pending>(state_);
    (void)detail::mpi_count("elements of all ranks in one all_gather over MPI", all.size());
    detail::MpiRow const row(sizeof(T), sizeof(T));
    detail::require_mpi(MPI_Iallgather(mine.data(), int(mine.size()), row.type(), all.data(), int(mine.size()),
                                       row.type(), state_->comm, &pending->request),
                        "MPI_Iallgather");
    return Request(std::move(pending));
  }
  template <class T>
  Request start_all_to_all_v(MatrixView<T const> send, VectorView<Index const> send_rows, MatrixView<T> receive,
                             VectorView<Index const> receive_rows) const {
    auto pending = std::make_unique<Pending>(state_);
    auto const ranks = std::size_t(size());
    bool const nothing = send.cols() == 0; // rows of nothing: zero rows say the same
    pending->counts.resize(4 * ranks);
    int* const counts = pending->counts.data();
    auto const lay_out = [&](VectorView<Index const> rows, int* count, int* first) {
      Index sum = 0;
      for (std::size_t r = 0; r < ranks; ++r) {
        Index const n = nothing ? 0 : rows[Index(r)];
        first[r] = detail::mpi_count("rows of one all_to_all_v over MPI", sum);
        count[r] = detail::mpi_count("rows of one all_to_all_v over MPI", n);
        sum += n;
      }
    };
    lay_out(send_rows, counts, counts + ranks);
    lay_out(receive_rows, counts + 2 * ranks, counts + 3 * ranks);
    Index const bytes = send.cols() * Index(sizeof(T));
    detail::MpiRow const from(bytes, send.row_stride() * Index(sizeof(T)));
    detail::MpiRow const to(bytes, receive.row_stride() * Index(sizeof(T)));
    detail::require_mpi(MPI_Ialltoallv(send.data(), counts, counts + ranks, from.type(), receive.data(),
                                       counts + 2 * ranks, counts + 3 * ranks, to.type(), state_->comm,
                                       &pending->request),
                        "MPI_Ialltoallv");
    return Request(std::move(pending));
  }
  Request start_barrier() const {
    auto pending = std::make_unique<Pending>(state_);
    detail::require_mpi(MPI_Ibarrier(state_->comm, &pending->request), "MPI_Ibarrier");
    return Request(std::move(pending));
  }

private:
  // Each rank tells the first rank of its node, and which moebal it was built with.
  static void find_nodes(State& state) {
    MPI_Comm node = MPI_COMM_NULL;
    detail::require_mpi(MPI_Comm_split_type(state.comm, MPI_COMM_TYPE_SHARED, int(state.rank), MPI_INFO_NULL, &node),
                        "MPI_Comm_split_type");
    std::array<std::int64_t, 2> mine{state.rank, MOEBAL_VERSION};
    int const code = MPI_Bcast(mine.data(), 1, MPI_INT64_T, 0, node);
    MPI_Comm_free(&node);
    detail::require_mpi(code, "MPI_Bcast");
    std::vector<std::int64_t> all(2 * std::size_t(state.size));
    detail::require_mpi(MPI_Allgather(mine.data(), 2, MPI_INT64_T, all.data(), 2, MPI_INT64_T, state.comm),
                        "MPI_Allgather");
    Index nodes = 0;
    for (Index r = 0; r < state.size; ++r) {
      Index const leader = all[2 * std::size_t(r)], version = all[2 * std::size_t(r) + 1];
      if (version != all[1])
        throw CommError("moebal: rank " + std::to_string(r) + " has version " + std::to_string(version) +
                        " of moebal, rank 0 has version " + std::to_string(all[1]));
      state.node_of.push_back(leader == r ? nodes++ : state.node_of[std::size_t(leader)]);
    }
  }

  template <class T> static void add_in_rank_order(Pending const& pending) {
    T* const values = static_cast<T*>(pending.values);
    T const* const gathered = reinterpret_cast<T const*>(pending.gathered.get());
    for (Index i = 0; i < pending.size; ++i) values[i] = gathered[i];
    for (Index r = 1; r < pending.state->size; ++r)
      detail::add_to<T>(gathered + r * pending.size, pending.size, values);
  }

  std::shared_ptr<State const> state_;
};
static_assert(comm_backend<Mpi>);

} // namespace moebal
