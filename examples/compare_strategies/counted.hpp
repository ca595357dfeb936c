// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A communicator that counts what goes through it: "needs communication" as a measured number.

#include <moebal/comm/threads.hpp>
#include <moebal/communicator.hpp>

#include <memory>

namespace lab {

using moebal::Index;

/// What one rank has handed to collectives.
struct Traffic {
  Index calls = 0;
  Index bytes = 0; // of the elements that the rank brings; what a network makes of them is its own business
};

/// A decorator around a communicator. Copies count into the same Traffic.
template <moebal::communicator Inner> class Counted {
public:
  using memory = typename Inner::memory;
  using Request = typename Inner::Request;

  explicit Counted(Inner inner) : inner_(std::move(inner)), traffic_(std::make_shared<Traffic>()) {}

  Traffic traffic() const { return *traffic_; }
  Inner const& inner() const { return inner_; }
  Index rank() const { return inner_.rank(); }
  Index size() const { return inner_.size(); }
  Index node_of(Index rank) const { return inner_.node_of(rank); }

  template <class X> void all_reduce_sum(X&& values) const { start_all_reduce_sum(values).wait(); }
  template <class X> Request start_all_reduce_sum(X&& values) const {
    count(moebal::as_vector(values));
    return inner_.start_all_reduce_sum(values);
  }
  template <class Mine, class All> void all_gather(Mine&& mine, All&& all) const { start_all_gather(mine, all).wait(); }
  template <class Mine, class All> Request start_all_gather(Mine&& mine, All&& all) const {
    count(moebal::as_vector(mine));
    return inner_.start_all_gather(mine, all);
  }
  template <class Send, class Rows, class Receive, class FromRows>
  void all_to_all_v(Send&& send, Rows&& rows, Receive&& receive, FromRows&& from_rows) const {
    start_all_to_all_v(send, rows, receive, from_rows).wait();
  }
  template <class Send, class Rows, class Receive, class FromRows>
  Request start_all_to_all_v(Send&& send, Rows&& rows, Receive&& receive, FromRows&& from_rows) const {
    auto const view = moebal::as_matrix(send);
    add(view.rows() * view.cols() * Index(sizeof(*view.data())));
    return inner_.start_all_to_all_v(send, rows, receive, from_rows);
  }
  void barrier() const { inner_.barrier(); }
  Request start_barrier() const { return inner_.start_barrier(); }

private:
  template <class View> void count(View view) const { add(view.size() * Index(sizeof(*view.data()))); }
  void add(Index bytes) const {
    if (size() == 1) return; // nobody to talk to
    ++traffic_->calls;
    traffic_->bytes += bytes;
  }

  Inner inner_;
  std::shared_ptr<Traffic> traffic_;
};

using Comm = Counted<moebal::Communicator<moebal::Threads>>;
static_assert(moebal::communicator<Comm>);

} // namespace lab
