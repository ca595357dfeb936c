// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One rank. Every verb is a copy or nothing, so a global batch on Self is a micro-batch at the same price.

#include "../core/communication.hpp"
#include "../core/errors.hpp"

#include <algorithm>
#include <string>

namespace moebal {

/// The communicator backend of a program with one rank: Communicator<Self> is empty and its sums compile to nothing.
struct Self {
  using memory = HostMemory;

  /// Nothing is ever under way.
  class Request {
  public:
    Request() = default;
    Request(Request&&) = default;
    Request& operator=(Request&&) = default;
    void wait() {}
    bool done() { return true; }
  };

  Index rank() const { return 0; }
  Index size() const { return 1; }
  Index node_of(Index) const { return 0; }

  template <summable T> Request start_all_reduce_sum(VectorView<T>) const { return {}; }
  template <class T> Request start_all_gather(VectorView<T const> mine, VectorView<T> all) const {
    std::copy_n(mine.data(), mine.size(), all.data());
    return {};
  }
  template <class T>
  Request start_all_to_all_v(MatrixView<T const> send, VectorView<Index const> send_rows, MatrixView<T> receive,
                             VectorView<Index const> receive_rows) const {
    if (send_rows[0] != receive_rows[0])
      throw CommError("moebal: rank 0 sends " + std::to_string(send_rows[0]) + " rows to rank 0, which expects " +
                      std::to_string(receive_rows[0]));
    for (Index r = 0; r < send_rows[0]; ++r) std::copy_n(send.row(r), send.cols(), receive.row(r));
    return {};
  }
  Request start_barrier() const { return {}; }
};
static_assert(comm_backend<Self>);

} // namespace moebal
