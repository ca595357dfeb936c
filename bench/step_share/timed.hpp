// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A communicator backend around another, with a watch.

#include "../../examples/train_moe_lm/clock.hpp"

#include <moebal/core/communication.hpp>

#include <memory>
#include <utility>

namespace bench {

using moebal::Index;
using moebal::MatrixView;
using moebal::VectorView;

/// What a rank spent in verbs, in seconds.
struct Spent {
  double sending = 0;               // wall: starting, asking, and taking what had come
  double waiting = 0;               // wall: where some rank was late, or the message was
  double cpu = 0, waiting_cpu = 0;  // of the processor: in both; in the latter
};

/// Adds the time inside start, done and wait to what all copies share.
template <moebal::comm_backend Inner> class Timed {
  class Watch {
  public:
    Watch(double& wall, double& cpu) : wall_(wall), cpu_(cpu) {
      wall_ -= train::wall_seconds(), cpu_ -= train::thread_seconds();
    }
    ~Watch() { wall_ += train::wall_seconds(), cpu_ += train::thread_seconds(); }
    Watch(Watch const&) = delete;
    Watch& operator=(Watch const&) = delete;

  private:
    double &wall_, &cpu_;
  };

public:
  using memory = typename Inner::memory;

  class Request {
  public:
    void wait() {
      bool const here = done();
      double waiting_cpu = 0;
      {
        Watch const watch(here ? spent_->sending : spent_->waiting, waiting_cpu);
        inner_.wait();
      }
      spent_->cpu += waiting_cpu;
      if (!here) spent_->waiting_cpu += waiting_cpu;
    }
    bool done() {
      Watch const watch(spent_->sending, spent_->cpu);
      return inner_.done();
    }

  private:
    friend class Timed;
    Request(typename Inner::Request inner, std::shared_ptr<Spent> spent)
        : inner_(std::move(inner)), spent_(std::move(spent)) {}
    typename Inner::Request inner_;
    std::shared_ptr<Spent> spent_;
  };

  explicit Timed(Inner inner) : inner_(std::move(inner)), spent_(std::make_shared<Spent>()) {}
  Spent const& spent() const { return *spent_; }
  Index rank() const { return inner_.rank(); }
  Index size() const { return inner_.size(); }
  Index node_of(Index rank) const { return inner_.node_of(rank); }

  template <class T> Request start_all_reduce_sum(VectorView<T> values) const {
    return timed([&] { return inner_.start_all_reduce_sum(values); });
  }
  template <class T> Request start_all_gather(VectorView<T const> mine, VectorView<T> all) const {
    return timed([&] { return inner_.start_all_gather(mine, all); });
  }
  template <class T>
  Request start_all_to_all_v(MatrixView<T const> send, VectorView<Index const> send_rows, MatrixView<T> receive,
                             VectorView<Index const> receive_rows) const {
    return timed([&] { return inner_.start_all_to_all_v(send, send_rows, receive, receive_rows); });
  }
  Request start_barrier() const {
    return timed([&] { return inner_.start_barrier(); });
  }

private:
  template <class F> Request timed(F const& start) const {
    Watch const watch(spent_->sending, spent_->cpu);
    return Request(start(), spent_);
  }
  Inner inner_;
  std::shared_ptr<Spent> spent_;
};

} // namespace bench
