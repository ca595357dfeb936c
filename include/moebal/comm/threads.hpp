// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// R ranks as threads of one process: for tests, for examples, and for machines with a rank per core or device.

#include "../core/communication.hpp"
#include "../core/errors.hpp"
#include "threads_hub.hpp"

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace moebal {

/// The communicator backend of ranks that run_ranks starts. Sums of float and double are in rank order. What a rank
/// brings is copied when its call starts: after that it may change nothing, do other work, and even return.
///
/// Errors: when a rank throws, returns while others need it, does not arrive in time, or calls another verb, type or
/// size, the collective and all later ones fail on every rank with a CommError that names the rank and the difference.
class Threads {
public:
  using memory = HostMemory;

  class Request {
  public:
    Request(Request&&) = default;
    Request& operator=(Request&&) = default;
    void wait() {
      if (!exchange_) return;
      auto const exchange = std::exchange(exchange_, nullptr); // done, whatever comes
      hub_->await(*exchange);
      deliver_(*this, *exchange);
    }
    bool done() { return !exchange_ || hub_->settled(*exchange_); }

  private:
    friend class Threads;
    using Deliver = void (*)(Request const&, detail::Exchange&);
    Request(Threads const& comm, detail::Call const& call, detail::Contribution contribution, Deliver deliver)
        : hub_(comm.hub_), exchange_(hub_->arrive(comm.rank_, call, std::move(contribution))), deliver_(deliver),
          rank_(comm.rank_) {}

    std::shared_ptr<detail::Hub> hub_;
    std::shared_ptr<detail::Exchange> exchange_;
    Deliver deliver_;
    Index rank_;
    std::byte* to_ = nullptr; // where the result goes: rows of row_bytes_, stride_bytes_ apart
    Index row_bytes_ = 0;
    Index stride_bytes_ = 0;
  };

  Threads(std::shared_ptr<detail::Hub> hub, Index rank) : hub_(std::move(hub)), rank_(rank) {}

  Index rank() const { return rank_; }
  Index size() const { return hub_->ranks(); }
  Index node_of(Index rank) const { return hub_->node_of(rank); }

  template <summable T> Request start_all_reduce_sum(VectorView<T> values) const {
    Request request(*this, detail::Call::of<T>("all_reduce_sum", values.size()),
                    contribution(MatrixView<T const>(values.data(), 1, values.size())), &deliver_sum<T>);
    return aimed(std::move(request), MatrixView<T>(values.data(), 1, values.size()));
  }
  template <class T> Request start_all_gather(VectorView<T const> mine, VectorView<T> all) const {
    Request request(*this, detail::Call::of<T>("all_gather", mine.size()),
                    contribution(MatrixView<T const>(mine.data(), 1, mine.size())), &deliver_gathered);
    return aimed(std::move(request), MatrixView<T>(all.data(), size(), mine.size()));
  }
  template <class T>
  Request start_all_to_all_v(MatrixView<T const> send, VectorView<Index const> send_rows, MatrixView<T> receive,
                             VectorView<Index const> receive_rows) const {
    Index const rows = std::accumulate(send_rows.begin(), send_rows.end(), Index(0));
    auto mine = contribution(MatrixView<T const>(send.data(), rows, send.cols(), send.row_stride()));
    mine.send_rows.assign(send_rows.begin(), send_rows.end());
    mine.receive_rows.assign(receive_rows.begin(), receive_rows.end());
    Request request(*this, detail::Call::of<T>("all_to_all_v", send.cols()), std::move(mine), &deliver_rows);
    return aimed(std::move(request), receive);
  }
  Request start_barrier() const {
    return Request(*this, detail::Call{.verb = "barrier"}, {}, [](Request const&, detail::Exchange&) {});
  }

private:
  template <class T> static detail::Contribution contribution(MatrixView<T const> rows) {
    detail::Contribution mine;
    Index const row_bytes = rows.cols() * Index(sizeof(T));
    mine.bytes = std::make_unique_for_overwrite<std::byte[]>(std::size_t(rows.rows() * row_bytes));
    for (Index r = 0; r < rows.rows(); ++r)
      copy(reinterpret_cast<std::byte const*>(rows.row(r)), row_bytes, mine.bytes.get() + r * row_bytes);
    return mine;
  }
  template <class T> static Request aimed(Request request, MatrixView<T> to) {
    request.to_ = reinterpret_cast<std::byte*>(to.data());
    request.row_bytes_ = to.cols() * Index(sizeof(T));
    request.stride_bytes_ = to.row_stride() * Index(sizeof(T));
    return request;
  }
  static void copy(std::byte const* from, Index bytes, std::byte* to) {
    if (bytes > 0) std::memcpy(to, from, std::size_t(bytes));
  }

  template <summable T> static void deliver_sum(Request const& request, detail::Exchange& exchange) {
    auto values = [&](std::size_t r) { return reinterpret_cast<T*>(exchange.from[r].bytes.get()); };
    std::call_once(exchange.summed, [&] {
      for (std::size_t r = 1; r < exchange.from.size(); ++r)
        detail::add_to<T>(values(r), request.row_bytes_ / Index(sizeof(T)), values(0));
    });
    copy(exchange.from[0].bytes.get(), request.row_bytes_, request.to_);
  }
  static void deliver_gathered(Request const& request, detail::Exchange& exchange) {
    for (std::size_t r = 0; r < exchange.from.size(); ++r)
      copy(exchange.from[r].bytes.get(), request.row_bytes_, request.to_ + Index(r) * request.stride_bytes_);
  }
  static void deliver_rows(Request const& request, detail::Exchange& exchange) {
    std::byte* to = request.to_;
    for (detail::Contribution const& from : exchange.from) {
      auto const mine = from.send_rows.begin() + request.rank_;
      Index const skipped = std::accumulate(from.send_rows.begin(), mine, Index(0));
      std::byte const* row = from.bytes.get() + skipped * request.row_bytes_;
      for (Index r = 0; r < *mine; ++r, row += request.row_bytes_, to += request.stride_bytes_)
        copy(row, request.row_bytes_, to);
    }
  }

  std::shared_ptr<detail::Hub> hub_;
  Index rank_;
};
static_assert(comm_backend<Threads>);

struct ThreadsOptions {
  std::chrono::milliseconds timeout = std::chrono::seconds(60); // the longest wait for another rank at a collective
  Index ranks_per_node = 0;                                     // 0: all ranks share one node
};

namespace detail {
// A dependent name, since the caller includes communicator.hpp, which stands above this header.
template <class Backend, class> struct CommunicatorFor {
  using type = Communicator<Backend>;
};
} // namespace detail

/// Runs f(Communicator<Threads>) on R threads, one per rank, and returns when all have returned.
///
/// `ranks` R >= 1. `f` is shared by the threads: what it captures by reference is theirs together.
/// Errors: ShapeError for an impossible R or option; else rethrows the first failure as it was thrown, whichever rank
/// threw it; the other ranks get a CommError that says so from the collective that they are in or enter next. A rank
/// that is stuck in its own code is not killed (threads cannot be): the others fail at the timeout, and run_ranks
/// returns when the stuck one does. Include <moebal/communicator.hpp> too.
template <class F> void run_ranks(Index ranks, F&& f, ThreadsOptions options = {}) {
  using Comm = typename detail::CommunicatorFor<Threads, F>::type;
  static_assert(requires { sizeof(Comm); }, "moebal: run_ranks needs #include <moebal/communicator.hpp>");
  static_assert(std::invocable<F&, Comm>, "moebal: run_ranks calls f(Communicator<Threads>) once per rank");
  require_at_least("ranks of run_ranks", 1, ranks);
  require_at_least("ThreadsOptions::ranks_per_node", 0, options.ranks_per_node);
  require_at_least("ThreadsOptions::timeout in milliseconds", 1, options.timeout.count());
  constexpr std::chrono::milliseconds year = std::chrono::hours(24 * 365); // a deadline must fit a time point
  options.timeout = std::min(options.timeout, year);

  auto const hub = std::make_shared<detail::Hub>(ranks, options.ranks_per_node, options.timeout);
  auto const run = [&f, &hub](Index rank) noexcept {
    try {
      f(Comm(Threads(hub, rank)));
      hub->leave(rank);
    } catch (std::exception const& error) {
      hub->fail(rank, std::string("threw: ") + error.what(), std::current_exception());
    } catch (...) {
      hub->fail(rank, "threw something that is not a std::exception", std::current_exception());
    }
  };
  {
    std::vector<std::jthread> threads; // joined at the end of this block
    threads.reserve(std::size_t(ranks));
    Index started = 0;
    try {
      for (; started < ranks; ++started) threads.emplace_back(run, started);
    } catch (std::exception const& error) {
      hub->fail(started, std::string("could not be started: ") + error.what(), std::current_exception());
    }
  }
  hub->rethrow();
}

} // namespace moebal
