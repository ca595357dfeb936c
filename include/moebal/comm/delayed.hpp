// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A slow network in front of a fast one: to measure what is hidden behind computation, and what is not.

#include "../core/communication.hpp"
#include "../core/errors.hpp"
#include "self.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <thread>
#include <utility>

namespace moebal {

/// A message of b bytes takes latency + b / bytes_per_second, however many are under way.
struct DelayOptions {
  std::chrono::nanoseconds latency{0};                               // at least 0, at most an hour
  double bytes_per_second = std::numeric_limits<double>::infinity(); // above 0
};

/// A comm_backend whose requests are done only a given time after this rank started them, and never before those of
/// the backend that they are passed on to. Bytes are those of the elements that this rank brings. What the inner
/// backend writes may be written before that time; wait() sleeps the rest of it and does not spin.
/// Errors: ShapeError for an impossible option; those of the inner backend, without delay.
template <comm_backend Inner> class Delayed {
  using Clock = std::chrono::steady_clock;

public:
  using memory = typename Inner::memory;

  class Request {
  public:
    Request(Request&& other) noexcept
        : inner_(std::move(other.inner_)), due_(std::exchange(other.due_, Clock::time_point())) {}
    Request& operator=(Request&& other) noexcept {
      inner_ = std::move(other.inner_);
      due_ = std::exchange(other.due_, Clock::time_point());
      return *this;
    }
    void wait() {
      auto const due = std::exchange(due_, Clock::time_point()); // done, whatever comes
      inner_.wait();
      std::this_thread::sleep_until(due);
    }
    bool done() { return inner_.done() && Clock::now() >= due_; } // the inner one first: asking may move it on

  private:
    friend class Delayed;
    Request(typename Inner::Request inner, Clock::time_point due) : inner_(std::move(inner)), due_(due) {}
    typename Inner::Request inner_;
    Clock::time_point due_; // of a request that is waited for or moved from: long ago
  };

  explicit Delayed(Inner inner, DelayOptions options = {}) : inner_(std::move(inner)), options_(options) {
    using namespace std::chrono_literals;
    require_within("DelayOptions::latency in nanoseconds", 0, std::chrono::nanoseconds(1h).count(),
                   options.latency.count());
    if (!(options.bytes_per_second > 0))
      detail::refuse<ShapeError>("DelayOptions::bytes_per_second", "more than 0",
                                 std::to_string(options.bytes_per_second));
  }

  Inner const& inner() const { return inner_; }
  DelayOptions const& options() const { return options_; }

  Index rank() const { return inner_.rank(); }
  Index size() const { return inner_.size(); }
  Index node_of(Index rank) const { return inner_.node_of(rank); }

  template <summable T> Request start_all_reduce_sum(VectorView<T, memory> values) const {
    auto const due = due_after(values.size() * Index(sizeof(T)));
    return {inner_.start_all_reduce_sum(values), due};
  }
  template <class T> Request start_all_gather(VectorView<T const, memory> mine, VectorView<T, memory> all) const {
    auto const due = due_after(mine.size() * Index(sizeof(T)));
    return {inner_.start_all_gather(mine, all), due};
  }
  template <class T>
  Request start_all_to_all_v(MatrixView<T const, memory> send, VectorView<Index const> send_rows,
                             MatrixView<T, memory> receive, VectorView<Index const> receive_rows) const {
    Index const rows = std::accumulate(send_rows.begin(), send_rows.end(), Index(0));
    auto const due = due_after(rows * send.cols() * Index(sizeof(T)));
    return {inner_.start_all_to_all_v(send, send_rows, receive, receive_rows), due};
  }
  Request start_barrier() const {
    auto const due = due_after(0);
    return {inner_.start_barrier(), due};
  }

private:
  Clock::time_point due_after(Index bytes) const {
    double const seconds = std::min(double(bytes) / options_.bytes_per_second, 3600.0); // so that it fits a time point
    return Clock::now() + options_.latency + std::chrono::nanoseconds(std::llround(1e9 * seconds));
  }

  Inner inner_;
  DelayOptions options_;
};
static_assert(comm_backend<Delayed<Self>>);

} // namespace moebal
