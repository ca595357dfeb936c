// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The collected statistics of some tokens: one row of integers for each sequence.

#include "statistic.hpp"

#include <vector>

namespace moebal {

/// Statistics of S sequences over E experts, in the caller's memory: [S, List::slots(E)] contiguous int64.
template <statistic_list List, class Memory = HostMemory> class LoadView {
public:
  LoadView() = default;
  MOEBAL_FN LoadView(std::int64_t* data, Index sequences, Index experts)
      : data_(data), sequences_(sequences), experts_(experts) {}

  MOEBAL_FN std::int64_t* data() const { return data_; }
  MOEBAL_FN Index sequences() const { return sequences_; }
  MOEBAL_FN Index experts() const { return experts_; }
  MOEBAL_FN Index slots() const { return List::slots(experts_); }
  MOEBAL_FN Index size() const { return sequences_ * slots(); }

  MOEBAL_FN std::int64_t& tokens(Index s = 0) const { return data_[s * slots() + List::tokens_slot]; }
  MOEBAL_FN std::int64_t& bad_rows(Index s = 0) const { return data_[s * slots() + List::bad_rows_slot]; }
  /// One statistic of sequence s, e.g. get<stats::Counts>() [E].
  template <class Statistic> MOEBAL_FN VectorView<std::int64_t, Memory> get(Index s = 0) const {
    return {data_ + s * slots() + List::template offset<Statistic>(experts_), Statistic::slots(experts_)};
  }

private:
  std::int64_t* data_ = nullptr;
  Index sequences_ = 0;
  Index experts_ = 0;
};

/// A LoadView with its own memory, all zero at first.
template <statistic_list List> class Load {
public:
  Load() = default;
  Load(Index sequences, Index experts)
      : sequences_(sequences), experts_(experts), data_(std::size_t(sequences * List::slots(experts))) {}

  LoadView<List> view() { return {data_.data(), sequences_, experts_}; }
  Index sequences() const { return sequences_; }
  Index experts() const { return experts_; }
  std::int64_t tokens(Index s = 0) const { return data_[std::size_t(s * List::slots(experts_) + List::tokens_slot)]; }
  std::int64_t bad_rows(Index s = 0) const { return data_[std::size_t(s * List::slots(experts_) + List::bad_rows_slot)]; }
  template <class Statistic> VectorView<std::int64_t const> get(Index s = 0) const {
    return {data_.data() + s * List::slots(experts_) + List::template offset<Statistic>(experts_), Statistic::slots(experts_)};
  }
  VectorView<std::int64_t const> raw() const { return {data_.data(), Index(data_.size())}; }
  friend bool operator==(Load const&, Load const&) = default;

private:
  Index sequences_ = 0;
  Index experts_ = 0;
  std::vector<std::int64_t> data_;
};

} // namespace moebal
