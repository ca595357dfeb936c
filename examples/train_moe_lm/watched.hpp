// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the experiment puts around a communicator: a look at how long messages have before somebody waits for them.

#include <moebal/core/communication.hpp>

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

namespace train {

/// A communicator backend around another that notes, of each sum that is waited for, the time from its start to that
/// wait: the time of the caller's own work, under which a message can be hidden.
template <moebal::comm_backend Inner> class Watched {
  using Clock = std::chrono::steady_clock;

public:
  using memory = typename Inner::memory;

  class Request {
  public:
    void wait() {
      if (note_) std::exchange(note_, nullptr)->push_back(Clock::now() - start_);
      inner_.wait();
    }
    bool done() { return inner_.done(); }

  private:
    friend class Watched;
    typename Inner::Request inner_;
    std::shared_ptr<std::vector<Clock::duration>> note_;
    Clock::time_point start_;
    Request(typename Inner::Request inner, std::shared_ptr<std::vector<Clock::duration>> note)
        : inner_(std::move(inner)), note_(std::move(note)), start_(Clock::now()) {}
  };

  explicit Watched(Inner inner) : inner_(std::move(inner)) {}
  Inner const& inner() const { return inner_; }
  /// In the order of waits.
  std::vector<Clock::duration> const& worked() const { return *worked_; }

  moebal::Index rank() const { return inner_.rank(); }
  moebal::Index size() const { return inner_.size(); }
  moebal::Index node_of(moebal::Index rank) const { return inner_.node_of(rank); }

  template <moebal::summable T> Request start_all_reduce_sum(moebal::VectorView<T, memory> values) const {
    return {inner_.start_all_reduce_sum(values), worked_};
  }
  template <class T>
  Request start_all_gather(moebal::VectorView<T const, memory> mine, moebal::VectorView<T, memory> all) const {
    return {inner_.start_all_gather(mine, all), nullptr};
  }
  template <class T>
  Request start_all_to_all_v(moebal::MatrixView<T const, memory> send,
                             moebal::VectorView<moebal::Index const> send_rows, moebal::MatrixView<T, memory> receive,
                             moebal::VectorView<moebal::Index const> receive_rows) const {
    return {inner_.start_all_to_all_v(send, send_rows, receive, receive_rows), nullptr};
  }
  Request start_barrier() const { return {inner_.start_barrier(), nullptr}; }

private:
  Inner inner_;
  std::shared_ptr<std::vector<Clock::duration>> worked_ = std::make_shared<std::vector<Clock::duration>>();
};

} // namespace train
