// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Integers that are added up over the ranks while the rank goes on with other work.

#include "../core/communication.hpp"
#include "../core/errors.hpp"

#include <utility>
#include <vector>

namespace moebal::detail {

/// Rows of integers. The sum of a row over the ranks is started when the row is complete here, and waited for where
/// somebody reads it. Moves with sums under way, since the integers stay where they are, and is copied without: a copy
/// would be one more participant. Dropping it drops them.
template <collective_request Request> class SummedRows {
public:
  SummedRows() = default;
  ~SummedRows() = default;
  SummedRows(SummedRows const& other) : values_(other.values_) {
    if (!other.sums_.empty()) refuse<StateError>("a copy of a balancer", "no sum over the ranks under way", "one");
  }
  SummedRows& operator=(SummedRows const& other) { return *this = SummedRows(other); }
  SummedRows(SummedRows&&) noexcept = default;
  SummedRows& operator=(SummedRows&& other) noexcept {
    sums_.clear(); // they write to what is given away next
    values_ = std::move(other.values_);
    sums_ = std::move(other.sums_);
    settled_ = other.settled_;
    lost_ = other.lost_;
    return *this;
  }

  std::int64_t* data() { return values_.data(); }
  /// Makes room for n integers, while no sum is under way.
  void reserve(Index n) {
    if (Index(values_.size()) < n) values_.resize(std::size_t(n));
  }

  /// Drops the sums under way and makes room for as many new ones.
  void begin(Index sums) {
    drop();
    sums_.reserve(std::size_t(sums));
  }
  void drop() {
    sums_.clear();
    settled_ = 0;
    lost_ = false;
  }
  template <class Comm> void start(Comm const& comm, VectorView<std::int64_t> row) {
    sums_.push_back(comm.start_all_reduce_sum(row));
  }
  /// Waits for the first n sums; f(i) follows each that nobody had waited for. After a failure they are lost.
  template <class F> void settle(Index n, F const& f) {
    if (settled_ >= n) return;
    if (lost_)
      refuse<StateError>("a step of which a sum over the ranks failed", "abandon_step", "a call that reads the sum");
    lost_ = true;
    for (; settled_ < n; ++settled_) {
      sums_[std::size_t(settled_)].wait();
      f(settled_);
    }
    lost_ = false;
  }
  /// Lets the oldest sum under way go on: some transports only move while they are called.
  void poll() {
    if (settled_ < Index(sums_.size())) (void)sums_[std::size_t(settled_)].done();
  }

private:
  std::vector<std::int64_t> values_;
  std::vector<Request> sums_; // after what they write to, so that they go first
  Index settled_ = 0;         // how many were waited for
  bool lost_ = false;
};

} // namespace moebal::detail
