// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Sums of integers that several callers start, as one message: the statistics of all layers of a model.

#include "../core/communication.hpp"
#include "../core/errors.hpp"
#include "handshake.hpp"
#include "self.hpp"

#include <concepts>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace moebal {

/// A communicator backend around another, in which `parts` sums of int64 travel as one message: started when the last
/// of them is there, or when somebody waits for one of them before, or polls it. Each request delivers its own part.
/// Every other verb starts what is open first and passes through, so the order of messages is the order of calls.
///
///   Communicator<Packed<Mpi>> comm{Packed{Mpi{MPI_COMM_WORLD}, L}};
///   std::vector<Balancer<...>> layers; // L of them, each with a copy of comm
///
/// Copies are one mailbox; they and their requests belong to one thread. Where the callers have rules or scopes of
/// their own, `parts` is the number of sums of one micro-batch, or of one step; any other number is right too, but not
/// one message.
///
/// All ranks start, wait for, poll for the first time and drop in the same order: it decides what a message holds.
/// Balancers do so where all ranks call them in the same order. What was dropped still travels with its message; what
/// is open when the last copy and the last request go is not sent.
/// Cost: two copies of the values. Messages are used again: after the first of a size nothing is allocated here.
/// Errors: those of the backend, for each part of a message that failed; ShapeError for less than one part.
template <comm_backend Inner> class Packed {
  static_assert(std::same_as<typename Inner::memory, HostMemory>,
                "moebal: Packed copies in host memory: give it a backend of host memory, such as NcclStaged");

  struct Message {
    std::vector<std::int64_t> values;
    Index parts = 0;
    std::optional<typename Inner::Request> request; // after the values, so that it goes first; empty: not started
    std::exception_ptr failure;
  };

  class Mailbox {
  public:
    Mailbox(Inner inner, Index parts) : inner_(std::move(inner)), parts_(parts) {
      require_at_least("parts of a packed message", 1, parts);
    }
    Inner const& inner() const { return inner_; }

    /// The message with the values as its last part; started if it is full.
    std::shared_ptr<Message> put(VectorView<std::int64_t const> values) {
      if (!open_) open_ = fresh();
      auto const message = open_;
      message->values.insert(message->values.end(), values.begin(), values.end());
      if (++message->parts == parts_) start();
      return message;
    }
    void start() {
      if (!open_) return;
      auto const message = std::exchange(open_, nullptr);
      keeping_failure(*message, [&] {
        message->request.emplace(inner_.start_all_reduce_sum(VectorView<std::int64_t>(message->values)));
      });
    }
    void wait(Message& message) {
      if (open_.get() == &message) start();
      if (message.failure) std::rethrow_exception(message.failure);
      keeping_failure(message, [&] { message.request->wait(); }); // does nothing where another part has waited
    }
    bool done(Message& message) {
      try {
        if (open_.get() == &message) start();
      } catch (...) { // wait throws it
      }
      return message.failure || message.request->done();
    }

  private:
    template <class F> static void keeping_failure(Message& message, F const& f) {
      try {
        f();
      } catch (...) {
        message.failure = std::current_exception();
        throw;
      }
    }
    /// One that nobody reads any more, or a new one.
    std::shared_ptr<Message> fresh() {
      for (auto const& message : messages_) {
        if (message.use_count() > 1) continue;
        message->request.reset();
        message->failure = nullptr;
        message->values.clear();
        message->parts = 0;
        return message;
      }
      return messages_.emplace_back(std::make_shared<Message>());
    }

    Inner inner_;
    Index parts_;
    std::vector<std::shared_ptr<Message>> messages_;
    std::shared_ptr<Message> open_; // the one that takes parts; null: the next part opens one
  };

public:
  using memory = HostMemory;

  class Request {
  public:
    void wait() {
      if (other_) return other_->wait();
      if (!message_) return;
      auto const message = std::exchange(message_, nullptr); // done, whatever comes
      mailbox_->wait(*message);
      for (Index i = 0; i < to_.size(); ++i) to_[i] = message->values[std::size_t(first_ + i)];
    }
    bool done() {
      if (other_) return other_->done();
      return !message_ || mailbox_->done(*message_);
    }

  private:
    friend class Packed;
    explicit Request(typename Inner::Request other) : other_(std::move(other)) {}
    Request(std::shared_ptr<Mailbox> mailbox, VectorView<std::int64_t> values)
        : mailbox_(std::move(mailbox)), message_(mailbox_->put(values)),
          first_(Index(message_->values.size()) - values.size()), to_(values) {}

    std::optional<typename Inner::Request> other_; // of a verb that passed through; else:
    std::shared_ptr<Mailbox> mailbox_;
    std::shared_ptr<Message> message_; // null: nothing to wait for
    Index first_ = 0;                  // where this part starts
    VectorView<std::int64_t> to_;
  };

  /// parts >= 1: how many sums make a message full. Collective where there are several ranks: a handshake finds the
  /// rank that names another number.
  Packed(Inner inner, Index parts) : mailbox_(std::make_shared<Mailbox>(std::move(inner), parts)) {
    if (size() > 1) handshake(this->inner(), {{"parts of a packed message", parts}});
  }
  Inner const& inner() const { return mailbox_->inner(); }

  Index rank() const { return inner().rank(); }
  Index size() const { return inner().size(); }
  Index node_of(Index rank) const { return inner().node_of(rank); }

  Request start_all_reduce_sum(VectorView<std::int64_t> values) const { return Request(mailbox_, values); }
  template <summable T>
    requires std::floating_point<T>
  Request start_all_reduce_sum(VectorView<T> values) const {
    return Request(after_what_is_open().start_all_reduce_sum(values));
  }
  template <class T> Request start_all_gather(VectorView<T const> mine, VectorView<T> all) const {
    return Request(after_what_is_open().start_all_gather(mine, all));
  }
  template <class T>
  Request start_all_to_all_v(MatrixView<T const> send, VectorView<Index const> send_rows, MatrixView<T> receive,
                             VectorView<Index const> receive_rows) const {
    return Request(after_what_is_open().start_all_to_all_v(send, send_rows, receive, receive_rows));
  }
  Request start_barrier() const { return Request(after_what_is_open().start_barrier()); }

private:
  Inner const& after_what_is_open() const {
    mailbox_->start();
    return mailbox_->inner();
  }

  std::shared_ptr<Mailbox> mailbox_;
};
static_assert(comm_backend<Packed<Self>>);

} // namespace moebal
