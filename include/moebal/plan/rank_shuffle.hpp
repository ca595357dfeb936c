// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/communication.hpp"
#include "../core/errors.hpp"
#include "../core/random.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

namespace moebal {

/// Deals the tokens of all ranks out at random, and takes them back: BASE (arXiv 2103.16716) does so in training before
/// each rank assigns its own share (Auction, or any batch-wise selection), since the tokens of one rank are of a few
/// sequences and like the same experts. Each rank puts its tokens in a random order and sends every rank an equal part
/// of them; where R does not divide T, the parts that have one more begin at the rank itself.
///   RankShuffle shuffle(comm, T, seed);      there(x, y), route y [received(), D], back(result, x)
/// The order follows from (seed, rank, T) alone: the same on every machine; change the seed at every step.
/// back(there(x)) is x, bit for bit. Gradient: both are permutations, so each is the other's. Communicated: T rows each
/// way, and one integer a rank when it is made. Collective, all of it; ShapeError before anything is sent, CommError.
/// Memory: one buffer of T rows that grows to the largest seen.
template <communicator Comm> class RankShuffle {
public:
  RankShuffle(Comm comm, Index tokens, std::uint64_t seed) : comm_(comm) {
    require_at_least("rank shuffle: tokens", 0, tokens);
    order_.resize(std::size_t(tokens));
    std::iota(order_.begin(), order_.end(), Index(0));
    std::uint64_t const own_seed = random::bits(seed, std::uint64_t(comm.rank()));
    for (Index i = tokens - 1; i > 0; --i) // Fisher and Yates
      std::swap(order_[std::size_t(i)], order_[std::size_t(random::below(own_seed, std::uint64_t(i), i + 1))]);
    std::int64_t const mine = tokens;
    std::vector<std::int64_t> all(std::size_t(comm.size()));
    comm_.all_gather(VectorView<std::int64_t const>(&mine, 1), VectorView<std::int64_t>(all));
    for (Index r = 0; r < comm.size(); ++r) {
      out_.push_back(part(tokens, comm.rank(), r));
      in_.push_back(part(all[std::size_t(r)], r, comm.rank()));
    }
  }

  /// Tokens that this rank gets: the sum over ranks is that of what they gave.
  Index received() const { return std::accumulate(in_.begin(), in_.end(), Index(0)); }

  /// y [received(), D] out: the tokens dealt to this rank, of x [T, D].
  template <class T> void there(MatrixView<T const> x, MatrixView<T> y) {
    check(x, y);
    MatrixView<T> const ordered = buffer<T>(x.cols());
    for (Index i = 0; i < ordered.rows(); ++i) std::copy_n(x.row(order_[std::size_t(i)]), x.cols(), ordered.row(i));
    comm_.all_to_all_v(MatrixView<T const>(ordered), out_, y, in_);
  }
  /// x [T, D] out: the rows that belong to this rank's tokens, of y [received(), D].
  template <class T> void back(MatrixView<T const> y, MatrixView<T> x) {
    check(x, y);
    MatrixView<T> const ordered = buffer<T>(x.cols());
    comm_.all_to_all_v(y, in_, ordered, out_);
    for (Index i = 0; i < ordered.rows(); ++i) std::copy_n(ordered.row(i), x.cols(), x.row(order_[std::size_t(i)]));
  }

private:
  /// Rows of `tokens` that go from one rank to another.
  Index part(Index tokens, Index from, Index to) const {
    Index const ranks = comm_.size(), place = (to - from + ranks) % ranks;
    return tokens / ranks + (place < tokens % ranks ? 1 : 0);
  }
  template <class X, class Y> void check(X const& x, Y const& y) const {
    require_equal("rank shuffle: x [T, D], rows", Index(order_.size()), x.rows());
    require_equal("rank shuffle: y [received(), D], rows", received(), y.rows());
    require_equal("rank shuffle: y [received(), D], columns", x.cols(), y.cols());
  }
  template <class T> MatrixView<T> buffer(Index columns) {
    constexpr std::size_t word = sizeof(std::max_align_t);
    std::size_t const words = (order_.size() * std::size_t(columns) * sizeof(T) + word - 1) / word;
    if (buffer_.size() < words) buffer_.resize(words);
    return {reinterpret_cast<T*>(buffer_.data()), Index(order_.size()), columns};
  }

  Comm comm_;
  std::vector<Index> order_;    // [T] the token that stands at each place of what is sent
  std::vector<Index> out_, in_; // [R] rows to and from each rank
  std::vector<std::max_align_t> buffer_;
};

} // namespace moebal
