// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// For a job that goes wrong: what the ranks call is compared before it is sent.

#include "../core/communication.hpp"
#include "../core/errors.hpp"
#include "call.hpp"
#include "texts.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace moebal {

/// The communicator backend that lets another one send nothing before all ranks have said the same: verb, type and
/// count, and in all_to_all_v that each rank expects the rows that it is sent. Over Mpi such a difference is undefined
/// without it. `Communicator<Backend, Checks::Communicating>` wraps its backend in this.
///
/// Price: an all_gather of 128 bytes before each verb, two in all_to_all_v, and a started verb waits for the other
/// ranks to start it: what overlapped no longer does. Copies share one count of the verbs. Host memory only.
/// Errors: CommError with the same text on all ranks, "rank 1 called all_reduce_sum of 63 int64, rank 0 called ...";
/// nothing was sent then, and the communicator goes on.
template <comm_backend Inner> class Checked {
public:
  using memory = typename Inner::memory;
  using Request = typename Inner::Request;

  explicit Checked(Inner inner) : inner_(std::move(inner)), number_(std::make_shared<Index>(0)) {}

  Inner const& inner() const { return inner_; }
  Index rank() const { return inner_.rank(); }
  Index size() const { return inner_.size(); }
  Index node_of(Index rank) const { return inner_.node_of(rank); }

  template <summable T> Request start_all_reduce_sum(VectorView<T> values) const {
    compare(detail::Call::of<T>("all_reduce_sum", values.size()));
    return inner_.start_all_reduce_sum(values);
  }
  template <class T> Request start_all_gather(VectorView<T const> mine, VectorView<T> all) const {
    compare(detail::Call::of<T>("all_gather", mine.size()));
    return inner_.start_all_gather(mine, all);
  }
  template <class T>
  Request start_all_to_all_v(MatrixView<T const> send, VectorView<Index const> send_rows, MatrixView<T> receive,
                             VectorView<Index const> receive_rows) const {
    compare(detail::Call::of<T>("all_to_all_v", send.cols()));
    compare_rows(send_rows, receive_rows);
    return inner_.start_all_to_all_v(send, send_rows, receive, receive_rows);
  }
  Request start_barrier() const {
    compare({.verb = "barrier"});
    return inner_.start_barrier();
  }

private:
  void compare(detail::Call const& call) const {
    Index const number = ++*number_;
    auto const all = detail::gather_texts<128>(inner_, call.text());
    for (std::size_t r = 1; r < all.size(); ++r)
      if (all[r] != all[0])
        throw CommError("moebal: " + detail::rank_text(Index(r)) + " called " + all[r] + ", rank 0 called " + all[0] +
                        " as collective #" + std::to_string(number));
  }
  void compare_rows(VectorView<Index const> send_rows, VectorView<Index const> receive_rows) const {
    auto const ranks = std::size_t(size());
    std::vector<Index> mine(send_rows.begin(), send_rows.end()), all(2 * ranks * ranks);
    mine.insert(mine.end(), receive_rows.begin(), receive_rows.end());
    inner_.start_all_gather(VectorView<Index const>(mine), VectorView<Index>(all)).wait();
    for (std::size_t s = 0; s < ranks; ++s)
      for (std::size_t r = 0; r < ranks; ++r) {
        Index const sent = all[s * 2 * ranks + r], expected = all[r * 2 * ranks + ranks + s];
        if (sent != expected)
          throw CommError("moebal: " + detail::rank_text(Index(s)) + " sends " + std::to_string(sent) + " rows to " +
                          detail::rank_text(Index(r)) + ", which expects " + std::to_string(expected) +
                          ", in all_to_all_v #" + std::to_string(*number_));
      }
  }

  Inner inner_;
  std::shared_ptr<Index> number_;
};

} // namespace moebal
