// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One communicator of MPI that never hangs its caller (comm/mpi.hpp has its verbs).

#include "../core/config.hpp"
#include "../core/errors.hpp"
#include "../core/views.hpp"
#include "call.hpp"
#include "mpi_calls.hpp"
#include "mpi_roll_call.hpp"
#include "patience.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <mpi.h>

namespace moebal {

struct MpiOptions {
  std::chrono::milliseconds timeout = std::chrono::minutes(10); // the longest wait for other ranks at a collective
  std::chrono::milliseconds answers = std::chrono::seconds(5);  // to say where they are then; at most the timeout
  Index largest_message = std::numeric_limits<int>::max(); // elements of a sum, bytes of a row: more goes in pieces
};

namespace detail {

/// What each rank tells the others when it makes the communicator.
struct MpiPlace {
  std::int64_t leader = 0, version = 0; // the first rank of its node, and MOEBAL_VERSION
};

/// Every call of MPI on these two duplicates is made here or by start()'s argument, under one lock: so
/// MPI_THREAD_SERIALIZED is enough for threads that share a communicator.
class MpiHandle {
public:
  MpiHandle(MPI_Comm comm, MpiOptions const& options) : options_(options) {
    constexpr auto year = Index(365) * 24 * 3600 * 1000; // a deadline must fit a time point
    require_within("MpiOptions::timeout in milliseconds", 1, year, options.timeout.count());
    require_within("MpiOptions::answers in milliseconds", 1, year, options.answers.count());
    require_within("MpiOptions::largest_message", 1, std::numeric_limits<int>::max(), options.largest_message);
    require_mpi_callable();
    if (comm == MPI_COMM_NULL) refuse<CommError>("MPI", "a communicator", "MPI_COMM_NULL");
    comm_ = duplicate(comm);
    int rank = 0, size = 1;
    require_mpi(MPI_Comm_rank(comm_.get(), &rank), "MPI_Comm_rank");
    require_mpi(MPI_Comm_size(comm_.get(), &size), "MPI_Comm_size");
    rank_ = rank;
    size_ = size;
    roll_call_.emplace(duplicate(comm_.get()), rank_, size_);
    own_ = {mpi_node_leader(comm_.get(), rank), MOEBAL_VERSION};
    all_.resize(std::size_t(size_));
  }
  MpiHandle(MpiHandle const&) = delete;
  ~MpiHandle() {
    if (roll_call_ && roll_call_->failed()) comm_.abandon();
  }

  Index rank() const { return rank_; }
  Index size() const { return size_; }
  Index node_of(Index rank) const { return node_of_[std::size_t(rank)]; }
  /// To be gathered before anything else.
  VectorView<MpiPlace const> own_place() const { return {&own_, 1}; }
  VectorView<MpiPlace> all_places() { return all_; }
  void take_places() {
    Index nodes = 0;
    for (Index r = 0; r < size_; ++r) {
      auto const [leader, version] = all_[std::size_t(r)];
      if (version != all_[0].version)
        throw CommError("moebal: " + rank_text(r) + " has version " + std::to_string(version) +
                        " of moebal, rank 0 has version " + std::to_string(all_[0].version));
      node_of_.push_back(leader == r ? nodes++ : node_of_[std::size_t(leader)]);
    }
  }
  MpiOptions const& options() const { return options_; }

  /// Starts this rank's next collective: f(communicator) makes the calls of MPI. Returns its number.
  template <class F> Index start(Call const& call, F&& f) {
    require_mpi_callable();
    std::lock_guard const lock(mutex_);
    if (roll_call_->failed()) roll_call_->refuse();
    Index const number = roll_call_->enter(call);
    report_errors([&] { f(comm_.get()); });
    return number;
  }

  /// Returns when MPI has done what it was asked for.
  void await(std::vector<MPI_Request>& requests, Call const& call, Index number) {
    require_mpi_callable();
    Patience const patience(options_.timeout);
    for (; !complete(requests); patience.pause())
      if (patience.over()) call_the_roll(call, number);
  }
  /// Whether await() would return or throw at once.
  bool settled(std::vector<MPI_Request>& requests) {
    try {
      require_mpi_callable();
      return complete(requests);
    } catch (Error const&) {
      return true; // and await() says it again
    }
  }

private:
  template <class F> void report_errors(F&& f) {
    try {
      f();
    } catch (CommError const& error) {
      std::string_view words = error.what();
      words.remove_prefix(std::string_view("moebal: ").size());
      roll_call_->fail(rank_text(rank_) + ": " + std::string(words));
      roll_call_->refuse();
    }
  }

  bool complete(std::vector<MPI_Request>& requests) {
    std::lock_guard const lock(mutex_);
    std::size_t done = 0;
    auto const skip = [&] {
      for (; done < requests.size() && requests[done] == MPI_REQUEST_NULL; ++done) {
      }
    };
    skip();
    if (done == requests.size()) return true;
    if (roll_call_->failed()) roll_call_->refuse(); // no more progress: it might write to memory that is gone
    report_errors([&] {
      for (int flag = 1; done < requests.size() && flag != 0; skip())
        require_mpi(MPI_Test(&requests[done], &flag, MPI_STATUS_IGNORE), "MPI_Test");
      if (done < requests.size()) roll_call_->listen();
    });
    if (done < requests.size() && roll_call_->failed()) roll_call_->refuse();
    return done == requests.size();
  }

  [[noreturn]] void call_the_roll(Call const& call, Index number) {
    Patience const patience(std::min(options_.answers, options_.timeout));
    std::unique_lock lock(mutex_);
    report_errors([&] {
      for (roll_call_->ask(); !roll_call_->answered() && !patience.over();) {
        lock.unlock();
        patience.pause();
        lock.lock();
        roll_call_->listen();
      }
    });
    roll_call_->fail(call.text() + ", collective #" + std::to_string(number) + ", is not done after " +
                     duration_text(options_.timeout) + ": " + roll_call_->report(call, number));
    roll_call_->refuse();
  }

  /// Collective, in the time limit. Nobody can be asked yet.
  MpiComm duplicate(MPI_Comm comm) {
    auto copy = std::make_unique<MPI_Comm>(MPI_COMM_NULL);
    MPI_Request request = MPI_REQUEST_NULL;
    require_mpi(MPI_Comm_idup(comm, copy.get(), &request), "MPI_Comm_idup");
    Patience const patience(options_.timeout);
    for (int done = 0;; patience.pause()) {
      require_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
      if (done != 0) break;
      if (!patience.over()) continue;
      (void)copy.release(); // MPI may still write there
      refuse<CommError>("MPI", "all ranks of the communicator to make theirs from it",
                        "some that did not within " + duration_text(options_.timeout));
    }
    MpiComm result(*copy);
    require_mpi(MPI_Comm_set_errhandler(result.get(), MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    return result;
  }

  MpiOptions options_;
  MpiComm comm_;
  Index rank_ = 0, size_ = 1;
  MpiPlace own_;
  std::vector<MpiPlace> all_;  // [R]
  std::vector<Index> node_of_; // [R]
  std::mutex mutex_;
  std::optional<MpiRollCall> roll_call_;
};

} // namespace detail
} // namespace moebal
