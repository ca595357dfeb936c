// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A caller and the threads of a pool that help it. Work is cut into pieces, which whoever takes part fetches one after the other, so
// that a thread which comes late costs nothing but what it misses: a sleeping thread starts 20 us after it is called, and to call it
// takes the caller 11 us. Hence nobody is called before the first piece says that there is enough to do, and nobody is waited for who
// has not started.

#include "../core/ids.hpp"

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

namespace moebal::detail {

/// Whether the first pieces tell if there is enough to do for others, or that is known. ByAll: every thread has to do a share of its
/// own, whatever that costs.
enum class AskForHelp { WhereItPays, AtOnce, ByAll };

/// Shared by the copies of an execution and by the tasks that it gave to the pool, which may start long after the work is done and its
/// caller gone.
class Crew {
public:
  explicit Crew(Eigen::ThreadPoolInterface* pool)
      : pool_(pool), most_(Index(pool->NumThreads()) + 1), shares_(std::size_t(most_)) {}

  /// Who may take part: the caller, which is worker 0, and the threads of the pool.
  Index workers() const { return most_; }
  /// Whether the calling thread is one of the pool's: it could wait for itself, and works alone.
  bool is_inside() const { return pool_->CurrentThreadId() >= 0; }

  /// Calls part(worker, first, last) for the pieces [0, piece), [piece, 2 piece) ... of [0, n); a worker takes them in ascending order.
  /// Returns when all are done; false, and has done nothing, where another caller has the crew.
  template <class Part> bool share(Index n, Index piece, AskForHelp ask, Part const& part) {
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    part_ = [](void const* of, Index worker, Index first, Index last) {
      (*static_cast<Part const*>(of))(worker, first, last);
    };
    of_ = &part;
    share_out(n, piece, ask);
    return true;
  }

  void hold() { owners_.fetch_add(1, std::memory_order_relaxed); }
  void release() {
    if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

private:
  using Clock = std::chrono::steady_clock;
  static constexpr int closed = 1 << 30; // beside the number of helpers at work
  // Work that pays for a helper, for each who takes part: where it sleeps, and where it has just left (a thread of Eigen's pool looks
  // for more for some 30 us, and then starts at once).
  static constexpr Clock::duration cold_helper = std::chrono::microseconds(80), warm_helper = std::chrono::microseconds(10),
                                   lingers = std::chrono::microseconds(20);
  static constexpr Clock::duration to_tell = std::chrono::microseconds(3); // what a piece takes: the first ones are slower

  [[gnu::noinline]] void share_out(Index n, Index piece, AskForHelp ask) {
    n_ = n;
    piece_ = piece;
    Index const pieces = (n + piece - 1) / piece;
    for (Index w = 0; w < most_; ++w) {
      shares_[std::size_t(w)].next.store((pieces * w + most_ - 1) / most_, std::memory_order_relaxed);
      shares_[std::size_t(w)].end = (pieces * (w + 1) + most_ - 1) / most_; // none is empty before the last of them
    }
    left_.store(pieces, std::memory_order_relaxed);
    joined_.store(1, std::memory_order_relaxed);
    asked_.store(0, std::memory_order_relaxed);
    Together const together(*this);
    auto const start = Clock::now();
    worth_a_helper_ = start - helped_ < lingers ? warm_helper : cold_helper;
    piece_time_ = worth_a_helper_ * most_;
    if (ask == AskForHelp::WhereItPays) {
      Clock::duration spent{};
      for (Index done = 1; spent < to_tell && take_piece(0, shares_[0]); ++done) {
        spent = Clock::now() - start;
        piece_time_ = spent / done;
      }
    }
    by_all_ = ask == AskForHelp::ByAll;
    state_.store(0, std::memory_order_release); // open
    work(0);
    while (by_all_ && left_.load(std::memory_order_relaxed) > 0) std::this_thread::yield();
  }

  struct alignas(64) Share {
    std::atomic<Index> next = 0;
    Index end = 0;
  };

  // Closes the work and waits for the helpers that are in their last piece, however it was left.
  struct Together {
    Crew& crew;
    explicit Together(Crew& of) : crew(of) {}
    ~Together() {
      int inside = crew.state_.fetch_or(closed, std::memory_order_acq_rel) | closed;
      auto const start = Clock::now();
      while (inside != closed) {
        if (Clock::now() - start > cold_helper) crew.state_.wait(inside, std::memory_order_relaxed);
        inside = crew.state_.load(std::memory_order_acquire);
      }
      if (crew.joined_.load(std::memory_order_relaxed) > 1) crew.helped_ = Clock::now();
      crew.busy_.store(false, std::memory_order_release);
    }
  };

  // What a task of the pool does.
  void help() {
    errands_.fetch_sub(1, std::memory_order_relaxed);
    int inside = state_.load(std::memory_order_relaxed);
    do
      if ((inside & closed) != 0) return;
    while (!state_.compare_exchange_weak(inside, inside + 1, std::memory_order_acquire, std::memory_order_relaxed));
    if (Index const worker = joined_.fetch_add(1, std::memory_order_relaxed); worker < most_) work(worker);
    if (state_.fetch_sub(1, std::memory_order_release) == (closed | 1)) state_.notify_one();
  }
  // First the worker's own share, which it had in the last call too and may have in its cache, then what others have left.
  void work(Index worker) {
    for (Index v = 0; v < (by_all_ ? 1 : most_); ++v) {
      Share& share = shares_[std::size_t((worker + v) % most_)];
      do ask_for_help();
      while (take_piece(worker, share));
    }
  }
  bool take_piece(Index worker, Share& share) {
    Index const piece = share.next.fetch_add(1, std::memory_order_relaxed);
    if (piece >= share.end) return false;
    left_.fetch_sub(1, std::memory_order_relaxed);
    part_(of_, worker, piece * piece_, std::min(n_, (piece + 1) * piece_));
    return true;
  }
  // Calls one more thread, where that pays. All who take part do, so that many are soon awake.
  void ask_for_help() {
    Index asked = asked_.load(std::memory_order_relaxed);
    if (asked + 1 >= most_) return;
    if (!by_all_ && left_.load(std::memory_order_relaxed) * piece_time_ < (asked + 1) * worth_a_helper_) return;
    if (!asked_.compare_exchange_strong(asked, asked + 1, std::memory_order_relaxed)) return;
    if (!by_all_ && errands_.load(std::memory_order_relaxed) > asked) return; // tasks of earlier calls have not started yet, and will do
    errands_.fetch_add(1, std::memory_order_relaxed);
    hold();
    pool_->Schedule([this] { // one word: std::function keeps it without allocating
      help();
      release();
    });
  }

  Eigen::ThreadPoolInterface* pool_;
  Index const most_;
  std::atomic<int> owners_ = 1;
  std::atomic<Index> errands_ = 0; // tasks in the pool that have not started
  std::atomic<bool> busy_ = false;
  std::atomic<int> state_ = closed;
  // of the work at hand
  std::vector<Share> shares_;
  std::atomic<Index> left_ = 0, joined_ = 0, asked_ = 0;
  void (*part_)(void const*, Index, Index, Index) = nullptr;
  void const* of_ = nullptr;
  Index n_ = 0, piece_ = 1;
  bool by_all_ = false;
  Clock::duration piece_time_{}, worth_a_helper_{};
  Clock::time_point helped_{}; // when a helper left last
};

/// One of the owners of a crew, or of none.
class CrewHandle {
public:
  CrewHandle() = default;
  explicit CrewHandle(Eigen::ThreadPoolInterface* pool) : crew_(pool != nullptr ? new Crew(pool) : nullptr) {}
  CrewHandle(CrewHandle const& other) noexcept : crew_(other.crew_) {
    if (crew_ != nullptr) crew_->hold();
  }
  CrewHandle(CrewHandle&& other) noexcept : crew_(std::exchange(other.crew_, nullptr)) {}
  CrewHandle& operator=(CrewHandle other) noexcept {
    std::swap(crew_, other.crew_);
    return *this;
  }
  ~CrewHandle() {
    if (crew_ != nullptr) crew_->release();
  }
  Crew* get() const { return crew_; }

private:
  Crew* crew_ = nullptr;
};

} // namespace moebal::detail
