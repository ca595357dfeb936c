// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How the balancers of the layers send their statistics.

#include "collect.hpp"

#include <moebal/comm/packed.hpp>

#include <utility>

namespace train {

enum class BalancerMessages {
  Packed,  // those of all layers in one message
  ByLayer, // one each, waited for where a rule reads it
  Blocking // one each, waited for at once: for comparison
};

/// A communicator backend that waits for each verb where it is started.
template <moebal::comm_backend Inner> class Blocking {
public:
  using memory = typename Inner::memory;
  using Request = typename Inner::Request;

  explicit Blocking(Inner inner) : inner_(std::move(inner)) {}
  Index rank() const { return inner_.rank(); }
  Index size() const { return inner_.size(); }
  Index node_of(Index rank) const { return inner_.node_of(rank); }

  template <moebal::summable T> Request start_all_reduce_sum(moebal::VectorView<T, memory> values) const {
    return waited(inner_.start_all_reduce_sum(values));
  }
  template <class T>
  Request start_all_gather(moebal::VectorView<T const, memory> mine, moebal::VectorView<T, memory> all) const {
    return waited(inner_.start_all_gather(mine, all));
  }
  template <class T>
  Request start_all_to_all_v(moebal::MatrixView<T const, memory> send, moebal::VectorView<Index const> send_rows,
                             moebal::MatrixView<T, memory> receive,
                             moebal::VectorView<Index const> receive_rows) const {
    return waited(inner_.start_all_to_all_v(send, send_rows, receive, receive_rows));
  }
  Request start_barrier() const { return waited(inner_.start_barrier()); }

private:
  static Request waited(Request request) {
    request.wait();
    return request;
  }
  Inner inner_;
};

/// What all balancers of a rank talk through: copies share one mailbox.
inline Comm balancers_comm(Comm const& comm, BalancerMessages messages, Index layers) {
  moebal::AnyBackend const& any = comm.backend();
  switch (messages) {
  case BalancerMessages::Packed:
    return Comm(moebal::AnyBackend(moebal::Packed(any, layers)));
  case BalancerMessages::Blocking:
    return Comm(moebal::AnyBackend(Blocking(any)));
  case BalancerMessages::ByLayer:
    break;
  }
  return comm;
}

} // namespace train
