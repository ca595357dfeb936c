// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Any way to talk between ranks behind one type, chosen at run time: what calls it is compiled once.

#include "../core/bytes.hpp"
#include "../core/communication.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace moebal {

/// The communicator backend that holds another one on host memory, such as Threads or Mpi. Results, errors and order of
/// sums are those of the backend inside. Elements of all_gather and all_to_all_v travel as bytes: what limits the
/// backend by elements or columns limits here by bytes, and ranks that exchange other types of equal size are not told.
/// Cost beside the backend: two virtual calls and one allocation a verb. Copies share the backend.
class AnyBackend {
  struct Pending {
    virtual ~Pending() = default;
    virtual void wait() = 0;
    virtual bool done() = 0;
  };

public:
  using memory = HostMemory;

  class Request {
  public:
    void wait() {
      if (pending_) pending_->wait();
    }
    bool done() { return !pending_ || pending_->done(); }

  private:
    friend class AnyBackend;
    explicit Request(std::unique_ptr<Pending> pending) : pending_(std::move(pending)) {}
    std::unique_ptr<Pending> pending_;
  };

  template <comm_backend Backend>
    requires(std::same_as<typename Backend::memory, HostMemory> && !std::same_as<Backend, AnyBackend>)
  explicit AnyBackend(Backend backend) : held_(std::make_shared<Held<Backend>>(std::move(backend))) {}

  Index rank() const { return held_->rank(); }
  Index size() const { return held_->size(); }
  Index node_of(Index rank) const { return held_->node_of(rank); }

  template <summable T> Request start_all_reduce_sum(VectorView<T> values) const { return held_->sum(values); }
  template <class T> Request start_all_gather(VectorView<T const> mine, VectorView<T> all) const {
    return held_->gather(detail::as_bytes(mine), detail::as_bytes(all));
  }
  template <class T>
  Request start_all_to_all_v(MatrixView<T const> send, VectorView<Index const> send_rows, MatrixView<T> receive,
                             VectorView<Index const> receive_rows) const {
    return held_->exchange(detail::as_bytes(send), send_rows, detail::as_bytes(receive), receive_rows);
  }
  Request start_barrier() const { return held_->barrier(); }

private:
  struct Verbs {
    virtual ~Verbs() = default;
    virtual Index rank() const = 0;
    virtual Index size() const = 0;
    virtual Index node_of(Index rank) const = 0;
    virtual Request sum(VectorView<std::int64_t> values) const = 0;
    virtual Request sum(VectorView<float> values) const = 0;
    virtual Request sum(VectorView<double> values) const = 0;
    virtual Request gather(VectorView<std::byte const> mine, VectorView<std::byte> all) const = 0;
    virtual Request exchange(MatrixView<std::byte const> send, VectorView<Index const> send_rows,
                             MatrixView<std::byte> receive, VectorView<Index const> receive_rows) const = 0;
    virtual Request barrier() const = 0;
  };
  template <class Backend> struct Held final : Verbs {
    struct Started final : Pending {
      explicit Started(typename Backend::Request started) : request(std::move(started)) {}
      void wait() override { request.wait(); }
      bool done() override { return request.done(); }
      typename Backend::Request request;
    };
    static Request hold(typename Backend::Request request) {
      return Request(std::make_unique<Started>(std::move(request)));
    }

    explicit Held(Backend held) : backend(std::move(held)) {}
    Index rank() const override { return backend.rank(); }
    Index size() const override { return backend.size(); }
    Index node_of(Index rank) const override { return backend.node_of(rank); }
    Request sum(VectorView<std::int64_t> values) const override { return hold(backend.start_all_reduce_sum(values)); }
    Request sum(VectorView<float> values) const override { return hold(backend.start_all_reduce_sum(values)); }
    Request sum(VectorView<double> values) const override { return hold(backend.start_all_reduce_sum(values)); }
    Request gather(VectorView<std::byte const> mine, VectorView<std::byte> all) const override {
      return hold(backend.start_all_gather(mine, all));
    }
    Request exchange(MatrixView<std::byte const> send, VectorView<Index const> send_rows, MatrixView<std::byte> receive,
                     VectorView<Index const> receive_rows) const override {
      return hold(backend.start_all_to_all_v(send, send_rows, receive, receive_rows));
    }
    Request barrier() const override { return hold(backend.start_barrier()); }

    Backend backend;
  };

  std::shared_ptr<Verbs const> held_;
};
static_assert(comm_backend<AnyBackend>);

} // namespace moebal
