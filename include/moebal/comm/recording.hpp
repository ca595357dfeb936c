// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a rank hands to collectives, counted: "one all-reduce of L E integers per optimizer step" as an assertion.

#include "../core/communication.hpp"
#include "../core/errors.hpp"
#include "self.hpp"

#include <array>
#include <cstddef>
#include <memory>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace moebal {

/// The verbs of a comm_backend.
enum class CommVerb { all_reduce_sum, all_gather, all_to_all_v, barrier };

/// One call of a verb, started or blocking.
struct CommCall {
  CommVerb verb = CommVerb::barrier;
  Index elements = 0; // that the rank brings: values of a sum or gather, send_rows times columns of an exchange
  Index element_bytes = 0;

  Index bytes() const { return elements * element_bytes; }
  friend bool operator==(CommCall const&, CommCall const&) = default;
};

/// The calls of one rank since the last reset(). `bytes` are those of the elements that the rank brings; what a network
/// makes of them is its own business. One rank alone is counted like any other.
class CommRecord {
public:
  /// The first `log_size` >= 0 calls are also kept one by one; counting allocates nothing after this.
  explicit CommRecord(Index log_size) {
    require_at_least("calls in the log of a CommRecord", 0, log_size);
    log_.reserve(std::size_t(log_size));
  }

  Index calls() const { return std::accumulate(calls_.begin(), calls_.end(), Index(0)); }
  Index calls(CommVerb verb) const { return calls_[std::size_t(verb)]; }
  Index bytes() const { return std::accumulate(bytes_.begin(), bytes_.end(), Index(0)); }
  Index bytes(CommVerb verb) const { return bytes_[std::size_t(verb)]; }
  /// In the order of calls; the first log_size of them.
  std::span<CommCall const> log() const { return log_; }

  void reset() {
    calls_ = {};
    bytes_ = {};
    log_.clear();
  }
  void add(CommCall const& call) {
    ++calls_[std::size_t(call.verb)];
    bytes_[std::size_t(call.verb)] += call.bytes();
    if (log_.size() < log_.capacity()) log_.push_back(call);
  }

private:
  std::array<Index, 4> calls_{}, bytes_{}; // by verb
  std::vector<CommCall> log_;
};

/// A comm_backend that passes every verb on to another and counts it, before it is sent: a call that fails is counted.
/// Copies share one record, so the one that went into a balancer is read through the one that was kept:
///
///   Communicator comm{Recording{Threads...}};
///   ...
///   comm.backend().record().bytes()
///
/// A record belongs to one rank and, like the rank's verbs, to one thread at a time.
template <comm_backend Inner> class Recording {
public:
  using memory = typename Inner::memory;
  using Request = typename Inner::Request;

  explicit Recording(Inner inner, Index log_size = 256)
      : inner_(std::move(inner)), record_(std::make_shared<CommRecord>(log_size)) {}

  Inner const& inner() const { return inner_; }
  /// Not const: a record may be reset through any copy.
  CommRecord& record() const { return *record_; }

  Index rank() const { return inner_.rank(); }
  Index size() const { return inner_.size(); }
  Index node_of(Index rank) const { return inner_.node_of(rank); }

  template <summable T> Request start_all_reduce_sum(VectorView<T, memory> values) const {
    add<T>(CommVerb::all_reduce_sum, values.size());
    return inner_.start_all_reduce_sum(values);
  }
  template <class T> Request start_all_gather(VectorView<T const, memory> mine, VectorView<T, memory> all) const {
    add<T>(CommVerb::all_gather, mine.size());
    return inner_.start_all_gather(mine, all);
  }
  template <class T>
  Request start_all_to_all_v(MatrixView<T const, memory> send, VectorView<Index const> send_rows,
                             MatrixView<T, memory> receive, VectorView<Index const> receive_rows) const {
    add<T>(CommVerb::all_to_all_v, send.cols() * std::accumulate(send_rows.begin(), send_rows.end(), Index(0)));
    return inner_.start_all_to_all_v(send, send_rows, receive, receive_rows);
  }
  Request start_barrier() const {
    record_->add({});
    return inner_.start_barrier();
  }

private:
  template <class T> void add(CommVerb verb, Index elements) const { record_->add({verb, elements, Index(sizeof(T))}); }

  Inner inner_;
  std::shared_ptr<CommRecord> record_;
};
static_assert(comm_backend<Recording<Self>>);

} // namespace moebal
