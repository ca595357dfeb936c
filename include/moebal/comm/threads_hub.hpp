// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where the ranks of run_ranks meet (comm/threads.hpp): one mutex, one condition variable, and the collectives that
// some rank has entered and another has not. Nobody spins: ranks often outnumber cores.

#include "../core/communication.hpp"
#include "../core/errors.hpp"
#include "call.hpp"
#include "patience.hpp"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moebal::detail {

/// What one rank brings to a collective.
struct Contribution {
  std::unique_ptr<std::byte[]> bytes;
  std::vector<Index> send_rows, receive_rows; // all_to_all_v only, [R]
};

/// One collective: filled under the hub's lock until all ranks have arrived, read by all without a lock from then on.
struct Exchange {
  Call call;
  Index number = 0; // 1, 2, ... in the order of calls
  Index opener = 0; // the rank that came first
  Index arrived = 0;
  std::vector<Contribution> from; // [R]
  std::once_flag summed;          // all_reduce_sum: done by the first rank that waits, into from[0]

  std::string name() const { return std::string(call.verb) + " #" + std::to_string(number); }
};

class Hub {
public:
  Hub(Index ranks, Index ranks_per_node, std::chrono::milliseconds timeout)
      : ranks_(ranks), ranks_per_node_(ranks_per_node), timeout_(timeout), called_(std::size_t(ranks)),
        left_(std::size_t(ranks)) {}

  Index ranks() const { return ranks_; }
  Index node_of(Index rank) const { return ranks_per_node_ == 0 ? 0 : rank / ranks_per_node_; }

  /// Enters the rank's next collective with its contribution; does not wait.
  std::shared_ptr<Exchange> arrive(Index rank, Call const& call, Contribution contribution) {
    std::lock_guard const lock(mutex_);
    if (failure_) throw CommError(reason_);
    Index const number = ++called_[std::size_t(rank)];
    Index const position = number - completed_ - 1;
    if (position == Index(open_.size())) {
      auto fresh = std::make_shared<Exchange>();
      fresh->call = call;
      fresh->number = number;
      fresh->opener = rank;
      fresh->from.resize(std::size_t(ranks_));
      open_.push_back(std::move(fresh));
    }
    std::shared_ptr<Exchange> const exchange = open_[std::size_t(position)];
    if (!(exchange->call == call))
      refuse_locked(rank_text(rank) + " called " + call.text() + ", " + rank_text(exchange->opener) + " called " +
                    exchange->call.text() + " as collective #" + std::to_string(number));
    for (Index r = 0; r < ranks_; ++r)
      if (left_[std::size_t(r)] && called_[std::size_t(r)] < number)
        refuse_locked(rank_text(r) + " returned before " + exchange->name() + ", which " + rank_text(rank) + " called");
    exchange->from[std::size_t(rank)] = std::move(contribution);
    if (exchange->arrived + 1 == ranks_)
      complete_locked(*exchange);
    else
      ++exchange->arrived;
    return exchange;
  }

  /// Returns when all ranks have entered the collective.
  void await(Exchange const& exchange) {
    std::unique_lock lock(mutex_);
    auto const deadline = std::chrono::steady_clock::now() + timeout_;
    bool const in_time =
        changed_.wait_until(lock, deadline, [&] { return exchange.arrived == ranks_ || failure_ != nullptr; });
    if (exchange.arrived == ranks_) return;
    if (in_time) throw CommError(reason_);
    std::string missing;
    for (Index r = 0; r < ranks_; ++r)
      if (called_[std::size_t(r)] < exchange.number) missing += (missing.empty() ? "" : ", ") + rank_text(r);
    refuse_locked(missing + " did not arrive at " + exchange.name() + " within " + duration_text(timeout_));
  }

  /// Whether await() would return or throw at once.
  bool settled(Exchange const& exchange) {
    std::lock_guard const lock(mutex_);
    return exchange.arrived == ranks_ || failure_ != nullptr;
  }

  /// The rank has returned: whoever still needs it fails now.
  void leave(Index rank) {
    std::lock_guard const lock(mutex_);
    left_[std::size_t(rank)] = true;
    Index const next = called_[std::size_t(rank)] - completed_;
    if (next < Index(open_.size()))
      fail_locked(rank_text(rank) + " returned before " + open_[std::size_t(next)]->name() + ", which " +
                      rank_text(open_[std::size_t(next)]->opener) + " called",
                  nullptr);
  }

  /// The rank has thrown. What it threw because another failed before it is forgotten.
  void fail(Index rank, std::string_view reason, std::exception_ptr exception) {
    std::lock_guard const lock(mutex_);
    fail_locked(rank_text(rank) + " " + std::string(reason), std::move(exception));
  }

  /// Throws the first failure, if there was one. Called when all ranks have returned.
  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

private:
  void complete_locked(Exchange& exchange) {
    if (!exchange.from[0].send_rows.empty())
      for (Index s = 0; s < ranks_; ++s)
        for (Index r = 0; r < ranks_; ++r) {
          Index const sent = exchange.from[std::size_t(s)].send_rows[std::size_t(r)];
          Index const expected = exchange.from[std::size_t(r)].receive_rows[std::size_t(s)];
          if (sent != expected)
            refuse_locked(rank_text(s) + " sends " + std::to_string(sent) + " rows to " + rank_text(r) +
                          ", which expects " + std::to_string(expected) + ", in " + exchange.name());
        }
    exchange.arrived = ranks_;
    open_.pop_front(); // ranks enter in order, so the oldest is complete first
    ++completed_;
    changed_.notify_all();
  }
  void fail_locked(std::string const& reason, std::exception_ptr exception) {
    if (failure_) return;
    reason_ = "moebal: " + reason;
    failure_ = exception ? std::move(exception) : std::make_exception_ptr(CommError(reason_));
    changed_.notify_all();
  }
  [[noreturn]] void refuse_locked(std::string const& reason) {
    fail_locked(reason, nullptr);
    throw CommError(reason_);
  }

  Index const ranks_;
  Index const ranks_per_node_;
  std::chrono::milliseconds const timeout_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Index> called_;                  // collectives that each rank has entered
  std::vector<bool> left_;                     // ranks that have returned
  Index completed_ = 0;                        // collectives that all ranks have entered
  std::deque<std::shared_ptr<Exchange>> open_; // those after them
  std::exception_ptr failure_;                 // the first failure, and what the other ranks are told
  std::string reason_;
};

} // namespace moebal::detail
