// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// R ranks with a GPU each, over NCCL. Host C++ only: no kernel, no nvcc.

#include "../core/communication.hpp"
#include "../core/errors.hpp"
#include "nccl_handle.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

namespace moebal {

/// The communicator backend of ranks with a GPU each: device views, on the caller's stream. A started verb is enqueued,
/// and what the caller enqueues on the same stream after it sees its result without wait(); wait(), and so each
/// blocking verb, holds the host until the device is done, while it polls for errors of other ranks. Dropping a request
/// waits for nothing.
///
/// Sums of float and double are in NCCL's own order: equal on all ranks, and the same from run to run only as far as
/// NCCL chooses the same algorithm and ring. int64 sums are exact. Rows of all_to_all_v are packed (row_stride = cols).
/// NCCL counts in 64 bits, so no size is too large.
/// Errors: CommError where there is no device, where libnccl is older than the header that this was compiled with, and
/// with NCCL's or CUDA's words where a call fails; at the first failure, or when ranks do not take part within the
/// timeout, the communicator is aborted and refuses all later verbs and waits with the reason. NCCL does not say which
/// rank is missing. All ranks construct it together, and destroy it together (who does not is waited for as long as the
/// timeout). One GPU holds one rank.
class Nccl {
public:
  using memory = DeviceMemory;

  class Request {
  public:
    Request(Request&& other) noexcept
        : handle_(std::move(other.handle_)), event_(std::exchange(other.event_, nullptr)), verb_(other.verb_) {}
    Request& operator=(Request&& other) noexcept {
      std::swap(handle_, other.handle_);
      std::swap(event_, other.event_);
      std::swap(verb_, other.verb_);
      return *this;
    }
    ~Request() {
      if (event_) cudaEventDestroy(event_); // CUDA keeps what it still needs
    }
    void wait() {
      if (!handle_) return;
      auto const handle = std::exchange(handle_, nullptr); // done, whatever comes
      handle->await(event_, verb_);
    }
    bool done() { return !handle_ || handle_->settled(event_); }

  private:
    friend class Nccl;
    Request(std::shared_ptr<detail::NcclHandle> handle, std::string_view verb)
        : handle_(std::move(handle)), verb_(verb) {
      detail::require_cuda_of_comm(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "NCCL: cudaEventCreate");
    }
    std::shared_ptr<detail::NcclHandle> handle_;
    cudaEvent_t event_ = nullptr;
    std::string_view verb_;
  };

  /// A new name for a group of ranks. CommError where NCCL cannot make one.
  static ncclUniqueId make_id() {
    ncclUniqueId id{};
    ncclResult_t const result = ncclGetUniqueId(&id);
    if (result != ncclSuccess)
      detail::fail_nccl("NCCL: ncclGetUniqueId", ncclGetErrorString(result), detail::nccl_words(nullptr));
    return id;
  }

  explicit Nccl(NcclOptions const& options) {
    require_within("NcclOptions::size", 1, 1 << 30, options.size);
    require_within("NcclOptions::rank", 0, options.size - 1, options.rank);
    require_at_least("NcclOptions::ranks_per_node", 0, options.ranks_per_node);
    require_within("NcclOptions::timeout in milliseconds", 1, Index(365) * 24 * 3600 * 1000, options.timeout.count());
    handle_ = std::make_shared<detail::NcclHandle>(options);
  }

  Index rank() const { return handle_->options().rank; }
  Index size() const { return handle_->options().size; }
  Index node_of(Index rank) const {
    Index const block = handle_->options().ranks_per_node;
    return block == 0 ? 0 : rank / block;
  }

  /// The ranks of this rank's node, in their order. All ranks call it together; it waits for what is under way.
  Nccl within_node() const { return part(node_of(rank()), 0); }
  /// One rank of each node, in the order of nodes: those with the same place within theirs. As within_node().
  Nccl across_nodes() const {
    Index const block = handle_->options().ranks_per_node;
    return part(block == 0 ? rank() : rank() % block, 1);
  }

  template <summable T> Request start_all_reduce_sum(VectorView<T, DeviceMemory> values) const {
    return enqueue("NCCL: all_reduce_sum", [&](ncclComm_t comm, cudaStream_t stream) {
      if (!values.empty())
        handle_->follow(ncclAllReduce(values.data(), values.data(), std::size_t(values.size()), type_of<T>(), ncclSum,
                                      comm, stream),
                        "NCCL: ncclAllReduce");
    });
  }
  template <class T>
  Request start_all_gather(VectorView<T const, DeviceMemory> mine, VectorView<T, DeviceMemory> all) const {
    return enqueue("NCCL: all_gather", [&](ncclComm_t comm, cudaStream_t stream) {
      if (!mine.empty())
        handle_->follow(
            ncclAllGather(mine.data(), all.data(), std::size_t(mine.size()) * sizeof(T), ncclUint8, comm, stream),
            "NCCL: ncclAllGather");
    });
  }
  template <class T>
  Request start_all_to_all_v(MatrixView<T const, DeviceMemory> send, VectorView<Index const> send_rows,
                             MatrixView<T, DeviceMemory> receive, VectorView<Index const> receive_rows) const {
    require_equal("all_to_all_v over NCCL: row stride of send (rows are packed)", send.cols(), send.row_stride());
    require_equal("all_to_all_v over NCCL: row stride of receive (rows are packed)", receive.cols(),
                  receive.row_stride());
    return enqueue("NCCL: all_to_all_v", [&](ncclComm_t comm, cudaStream_t stream) {
      handle_->follow(ncclGroupStart(), "NCCL: ncclGroupStart");
      ncclResult_t result = ncclSuccess; // the first failure: the group ends in any case
      auto const step = [&result](ncclResult_t next) {
        if (result == ncclSuccess && next != ncclInProgress) result = next;
      };
      Index out = 0, in = 0;
      for (Index r = 0; r < size(); ++r) {
        auto const row_bytes = std::size_t(send.cols()) * sizeof(T);
        std::size_t const sent = std::size_t(send_rows[r]) * row_bytes;
        std::size_t const received = std::size_t(receive_rows[r]) * row_bytes;
        if (sent > 0) step(ncclSend(send.row(out), sent, ncclUint8, int(r), comm, stream));
        if (received > 0) step(ncclRecv(receive.row(in), received, ncclUint8, int(r), comm, stream));
        out += send_rows[r];
        in += receive_rows[r];
      }
      ncclResult_t const ended = ncclGroupEnd();
      handle_->follow(result == ncclSuccess ? ended : result, "NCCL: grouped ncclSend and ncclRecv");
    });
  }
  Request start_barrier() const {
    return enqueue("NCCL: barrier", [&](ncclComm_t comm, cudaStream_t stream) {
      handle_->follow(ncclAllReduce(handle_->scratch(), handle_->scratch(), 1, ncclInt64, ncclSum, comm, stream),
                      "NCCL: ncclAllReduce of a barrier");
    });
  }

private:
  template <summable T> static constexpr ncclDataType_t type_of() {
    if constexpr (std::same_as<T, float>) return ncclFloat32;
    return std::same_as<T, double> ? ncclFloat64 : ncclInt64;
  }
  explicit Nccl(std::shared_ptr<detail::NcclHandle> handle) : handle_(std::move(handle)) {}

  Nccl part(Index color, Index ranks_per_node) const {
    start_barrier().wait(); // NCCL splits only what is at rest
    return Nccl(std::make_shared<detail::NcclHandle>(*handle_, color, ranks_per_node));
  }
  template <class F> Request enqueue(std::string_view verb, F&& f) const {
    Request request(handle_, verb);
    cudaStream_t const stream = handle_->options().stream;
    f(handle_->comm(), stream);
    detail::require_cuda_of_comm(cudaEventRecord(request.event_, stream), "NCCL: cudaEventRecord");
    return request;
  }

  std::shared_ptr<detail::NcclHandle> handle_;
};
static_assert(comm_backend<Nccl>);

} // namespace moebal
