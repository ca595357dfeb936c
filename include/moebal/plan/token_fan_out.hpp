// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The first hop where a token's row goes to each stop once, whatever the number of its pairs that go there, and becomes
// a row for each pair on arrival.

#include "row_exchange.hpp"

#include <algorithm>
#include <vector>

namespace moebal::detail {

/// copies[i] = rows[tokens[i]], or rows[source[from + j]] to to + j for each run.
struct CopyTokens {
  Index const* tokens;
  ConstByteRows x;
  ByteRows to;
  void operator()(Index i) const { copy_rows(x, tokens[i], to, i, 1); }
};
struct FanOutRuns {
  RowRun const* runs;
  Index const* source;
  ConstByteRows from;
  ByteRows to;
  void operator()(Index i) const {
    RowRun const& run = runs[i];
    for (Index j = 0; j < run.rows; ++j) copy_rows(from, source[run.from + j], to, run.to + j, 1);
  }
};

/// One slice's first hop.
class TokenFanOut {
public:
  /// What this rank sends.
  /// @param pairs  [hop.sent] the pair of each slot of the slice
  void plan(Hop const& hop, VectorView<Index const> pairs, Index tokens, Index top_k) {
    number_.resize(std::size_t(pairs.size()));
    if (seen_.size() < std::size_t(tokens)) seen_.resize(std::size_t(tokens));
    tokens_.clear();
    tokens_.reserve(number_.size());
    send_.assign(hop.send.size(), 0);
    Index slot = 0;
    for (std::size_t stop = 0; stop < hop.send.size(); ++stop) {
      Index const first = Index(tokens_.size());
      for (Index const end = slot + hop.send[stop]; slot < end; ++slot) {
        Index const t = pairs[slot] / top_k;
        Index& at = seen_[std::size_t(t)]; // its place in tokens_, if it is there for this stop
        if (at < first || at >= Index(tokens_.size()) || tokens_[std::size_t(at)] != t) {
          at = Index(tokens_.size());
          tokens_.push_back(t);
        }
        number_[std::size_t(slot)] = at - first;
      }
      send_[stop] = Index(tokens_.size()) - first;
    }
  }
  /// Tells the next stop which pairs share a row: 8 bytes a pair.
  template <communicator Comm> typename Comm::Request start_plan(Comm const& comm, Hop const& hop) {
    source_.resize(std::size_t(hop.arrived));
    return comm.start_all_to_all_v(MatrixView<Index const>(number_.data(), Index(number_.size()), 1), hop.send,
                                   MatrixView<Index>(source_.data(), hop.arrived, 1), hop.receive);
  }
  void finish_plan(Hop const& hop) {
    receive_.assign(hop.receive.size(), 0);
    arrived_ = 0;
    Index row = 0;
    for (std::size_t q = 0; q < hop.receive.size(); ++q) {
      Index& rows = receive_[q];
      for (Index const end = row + hop.receive[q]; row < end; ++row) {
        Index& source = source_[std::size_t(row)];
        rows = std::max(rows, source + 1); // each row is somebody's
        source += arrived_;
      }
      arrived_ += rows;
    }
  }

  VectorView<Index const> tokens() const { return tokens_; }   // of the rows sent
  VectorView<Index const> send() const { return send_; }       // [R] rows to each rank
  VectorView<Index const> receive() const { return receive_; } // [R] rows from each rank
  VectorView<Index const> source() const { return source_; }   // [hop.arrived] row of each pair
  Index sent() const { return Index(tokens_.size()); }
  Index arrived() const { return arrived_; }

private:
  std::vector<Index> number_, seen_, tokens_, send_, receive_, source_;
  Index arrived_ = 0;
};

/// The moves of tokens of all slices.
template <communicator Comm> class TokenExchange {
public:
  explicit TokenExchange(Index slices) : slices_(std::size_t(slices)) {}

  /// Two hops or one: only the first is of interest. Collective.
  template <class Exchange> void plan(Comm const& comm, Exchange const& exchange, PlanView<> plan) {
    requests_.clear();
    requests_.reserve(slices_.size());
    for (std::size_t s = 0; s < slices_.size(); ++s) {
      Hop const& hop = exchange.first_hop(Index(s));
      slices_[s].plan(hop, plan.order.part(exchange.first_slot(Index(s)), hop.sent), plan.tokens(), plan.top_k());
      requests_.push_back(slices_[s].start_plan(comm, hop));
    }
    rows_ = 0;
    for (std::size_t s = 0; s < slices_.size(); ++s) {
      requests_[s].wait();
      slices_[s].finish_plan(exchange.first_hop(Index(s)));
      rows_ += slices_[s].sent() + slices_[s].arrived();
    }
  }
  /// x [T, D] -> received.
  template <class Exec, class Exchange>
  void move(Exec const& exec, Comm const& comm, Exchange& exchange, ConstByteRows x, ByteRows received) {
    memory_.prepare(rows_, x.cols(), slices_.size());
    exchange.prepare_there(x.cols());
    Index first = 0;
    for (TokenFanOut const& slice : slices_) {
      ByteRows const sent = memory_.rows(first, slice.sent());
      exec.for_each(slice.sent(), CopyTokens{slice.tokens().data(), x, sent});
      memory_.add(comm.start_all_to_all_v(ConstByteRows(sent), slice.send(),
                                          memory_.rows(first + slice.sent(), slice.arrived()), slice.receive()));
      first += slice.sent() + slice.arrived();
    }
    first = 0;
    for (std::size_t s = 0; s < slices_.size(); ++s) {
      TokenFanOut const& slice = slices_[s];
      memory_.wait(Index(s));
      auto const& runs = exchange.first_hop(Index(s)).runs;
      exec.for_each(Index(runs.size()),
                    FanOutRuns{runs.data(), slice.source().data(), memory_.rows(first + slice.sent(), slice.arrived()),
                               exchange.after_first_hop(Index(s), received)});
      exchange.continue_there(exec, comm, Index(s), received);
      first += slice.sent() + slice.arrived();
    }
  }

private:
  std::vector<TokenFanOut> slices_;
  std::vector<typename Comm::Request> requests_;
  RowsUnderWay<Comm> memory_;
  Index rows_ = 0; // of memory
};

} // namespace moebal::detail
