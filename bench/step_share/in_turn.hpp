// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A communicator backend that sums in several ways, in turn: what is compared lies milliseconds apart.

#include <moebal/comm/any.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace bench {

using moebal::AnyBackend;
using moebal::Index;
using moebal::MatrixView;
using moebal::VectorView;

/// Each way holds for `turn` sums; copies count together.
class InTurn {
public:
  using memory = moebal::HostMemory;
  using Request = AnyBackend::Request;

  InTurn(AnyBackend ranks, std::vector<AnyBackend> ways, Index turn)
      : ranks_(std::move(ranks)), ways_(std::move(ways)), turn_(turn), sums_(std::make_shared<Index>(0)) {}

  Index rank() const { return ranks_.rank(); }
  Index size() const { return ranks_.size(); }
  Index node_of(Index rank) const { return ranks_.node_of(rank); }

  template <class T> Request start_all_reduce_sum(VectorView<T> values) const {
    return ways_[std::size_t((*sums_)++ / turn_) % ways_.size()].start_all_reduce_sum(values);
  }
  template <class T> Request start_all_gather(VectorView<T const> mine, VectorView<T> all) const {
    return ranks_.start_all_gather(mine, all);
  }
  template <class T>
  Request start_all_to_all_v(MatrixView<T const> send, VectorView<Index const> send_rows, MatrixView<T> receive,
                             VectorView<Index const> receive_rows) const {
    return ranks_.start_all_to_all_v(send, send_rows, receive, receive_rows);
  }
  Request start_barrier() const { return ranks_.start_barrier(); }

private:
  AnyBackend ranks_; // for every other verb
  std::vector<AnyBackend> ways_;
  Index turn_;
  std::shared_ptr<Index> sums_;
};

} // namespace bench
