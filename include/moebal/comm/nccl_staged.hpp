// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// NCCL for data that lies on the host: what a balancer on the host sends, E integers a layer.

#include "nccl.hpp"

#include <algorithm>
#include <cstring>
#include <list>
#include <numeric>
#include <optional>
#include <string>

namespace moebal {

/// The communicator backend of ranks with a GPU each whose views are in host memory. Each verb runs Nccl's on pinned
/// host memory, which the device reaches over the bus: the caller's elements are copied there when it starts, so they
/// may change after that, and the result is copied from there in wait(). Nothing but wait() holds the host, and a
/// wait() no longer than its own verb. Made for statistics, not for tokens. Price: the copies, and pinned memory for
/// each request that is under way (kept for later ones). Errors and order of sums: those of Nccl.
class NcclStaged {
  struct Slot {
    std::size_t const bytes;
    std::byte* data = nullptr;
    bool held = false;                    // by a request
    std::optional<Nccl::Request> running; // the last verb on this memory

    explicit Slot(std::size_t size) : bytes(size) {
      void* memory = nullptr;
      if (size > 0)
        detail::require_cuda_of_comm(cudaHostAlloc(&memory, size, cudaHostAllocDefault),
                             "NCCL: cudaHostAlloc of " + std::to_string(size) + " bytes");
      data = static_cast<std::byte*>(memory);
    }
    Slot(Slot const&) = delete;
    ~Slot() {
      if (data) cudaFreeHost(data);
    }
    bool free() { return !held && (!running || running->done()); }
  };
  // To free pinned memory is to wait for the device, so what runs there is finished or aborted first: nccl goes before
  // the slots.
  struct State {
    std::list<Slot> slots;
    Nccl nccl;

    explicit State(Nccl backend) : nccl(std::move(backend)) {}
    ~State() {
      for (Slot& slot : slots) slot.running.reset();
    }
  };
  struct GiveBack {
    std::shared_ptr<State> state;
    void operator()(Slot* slot) const { slot->held = false; }
  };
  using Held = std::unique_ptr<Slot, GiveBack>;

  // Rows of `bytes` bytes, `stride` apart.
  struct Rows {
    std::byte* data = nullptr;
    std::size_t count = 0, bytes = 0, stride = 0;

    template <class T> static Rows of(MatrixView<T> view, Index count) {
      auto* const data = reinterpret_cast<std::byte*>(const_cast<std::remove_const_t<T>*>(view.data()));
      return {data, std::size_t(count), std::size_t(view.cols()) * sizeof(T),
              std::size_t(view.row_stride()) * sizeof(T)};
    }
    template <class T> static Rows of(VectorView<T> view) { return of(MatrixView<T>(view.data(), 1, view.size()), 1); }

    std::size_t size() const { return count * bytes; }
    void pack(std::byte* to) const {
      for (std::size_t r = 0; bytes > 0 && r < count; ++r) std::memcpy(to + r * bytes, data + r * stride, bytes);
    }
    void unpack(std::byte const* from) const {
      for (std::size_t r = 0; bytes > 0 && r < count; ++r) std::memcpy(data + r * stride, from + r * bytes, bytes);
    }
  };

public:
  using memory = HostMemory;

  class Request {
  public:
    void wait() {
      if (!slot_) return;
      Held const slot = std::move(slot_); // done, whatever comes
      slot->running->wait();
      to_.unpack(slot->data + offset_);
    }
    bool done() { return !slot_ || slot_->running->done(); }

  private:
    friend class NcclStaged;
    Request(Held slot, Rows to, std::size_t offset) : slot_(std::move(slot)), to_(to), offset_(offset) {}
    Held slot_;
    Rows to_;
    std::size_t offset_;
  };

  explicit NcclStaged(NcclOptions const& options) : NcclStaged(Nccl(options)) {}
  explicit NcclStaged(Nccl nccl) : state_(std::make_shared<State>(std::move(nccl))) {}

  Index rank() const { return state_->nccl.rank(); }
  Index size() const { return state_->nccl.size(); }
  Index node_of(Index rank) const { return state_->nccl.node_of(rank); }
  /// As Nccl's.
  NcclStaged within_node() const { return NcclStaged(state_->nccl.within_node()); }
  NcclStaged across_nodes() const { return NcclStaged(state_->nccl.across_nodes()); }

  template <summable T> Request start_all_reduce_sum(VectorView<T> values) const {
    return start(Rows::of(values), Rows::of(values), 0, [&](std::byte* data, std::byte*) {
      return state_->nccl.start_all_reduce_sum(VectorView<T, DeviceMemory>(reinterpret_cast<T*>(data), values.size()));
    });
  }
  template <class T> Request start_all_gather(VectorView<T const> mine, VectorView<T> all) const {
    Rows const from = Rows::of(mine);
    return start(from, Rows::of(all), aligned(from.size()), [&](std::byte* data, std::byte* result) {
      return state_->nccl.start_all_gather(
          VectorView<T const, DeviceMemory>(reinterpret_cast<T const*>(data), mine.size()),
          VectorView<T, DeviceMemory>(reinterpret_cast<T*>(result), all.size()));
    });
  }
  template <class T>
  Request start_all_to_all_v(MatrixView<T const> send, VectorView<Index const> send_rows, MatrixView<T> receive,
                             VectorView<Index const> receive_rows) const {
    Index const out = std::accumulate(send_rows.begin(), send_rows.end(), Index(0));
    Index const in = std::accumulate(receive_rows.begin(), receive_rows.end(), Index(0));
    Rows const from = Rows::of(send, out);
    return start(from, Rows::of(receive, in), aligned(from.size()), [&](std::byte* data, std::byte* result) {
      return state_->nccl.start_all_to_all_v(
          MatrixView<T const, DeviceMemory>(reinterpret_cast<T const*>(data), out, send.cols()), send_rows,
          MatrixView<T, DeviceMemory>(reinterpret_cast<T*>(result), in, receive.cols()), receive_rows);
    });
  }
  Request start_barrier() const {
    return start({}, {}, 0, [&](std::byte*, std::byte*) { return state_->nccl.start_barrier(); });
  }

private:
  static std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

  /// verb(data, data + offset) on pinned memory in which `from` lies; `to` is filled from data + offset in wait().
  template <class F> Request start(Rows from, Rows to, std::size_t offset, F&& verb) const {
    Held slot = take(std::max(from.size(), offset + to.size()));
    from.pack(slot->data);
    slot->running.emplace(verb(slot->data, slot->data + offset));
    return Request(std::move(slot), to, offset);
  }
  // Small ones stay as they are: to free one would be to wait for the device.
  Held take(std::size_t bytes) const {
    auto& slots = state_->slots;
    auto found =
        std::find_if(slots.begin(), slots.end(), [&](Slot& slot) { return slot.bytes >= bytes && slot.free(); });
    if (found == slots.end()) found = slots.emplace(found, bytes);
    found->held = true;
    return Held(&*found, GiveBack{state_});
  }

  std::shared_ptr<State> state_;
};
static_assert(comm_backend<NcclStaged>);

} // namespace moebal
