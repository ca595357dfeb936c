// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What every communicator on host memory must do, as one function that all ranks call: `conformance(comm)`. A rank that
// finds a difference throws (Boost's macros are for one thread), and the program around it makes that a failed test.

#include <moebal/communicator.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace conformance_cases {

using moebal::Index;

inline void check(bool holds, std::string const& what) {
  if (!holds) throw std::logic_error("conformance: " + what);
}
template <class F> void check_refused(F&& f, std::string const& words) {
  try {
    f();
  } catch (moebal::ShapeError const& error) {
    check(std::string(error.what()).find(words) != std::string::npos, "'" + words + "' not in: " + error.what());
    return;
  }
  check(false, "not refused: " + words);
}

inline constexpr std::array<Index, 5> sizes{0, 1, 7, 384, 4097};

/// What rank r brings as element i. Floating sums of these depend on the order.
template <class T> T value(Index rank, Index i) {
  if constexpr (std::is_integral_v<T>) { // of both signs, and too large for the integers of a double
    T const large = (T(1) << 58) + T((rank + 1) * 1'000'000'007 * (i + 1));
    return (rank + i) % 2 == 0 ? large : -large / 3;
  }
  T const magnitude = (rank + i) % 3 == 0 ? T(1e8) : T(1) / T(3 + i + rank);
  return (rank + i) % 2 == 0 ? magnitude : -magnitude;
}
template <class T> std::vector<T> values(Index rank, Index n) {
  std::vector<T> mine;
  for (Index i = 0; i < n; ++i) mine.push_back(value<T>(rank, i));
  return mine;
}
template <class T> std::vector<T> sum_in_rank_order(Index ranks, Index n) {
  std::vector<T> sum = values<T>(0, n);
  for (Index r = 1; r < ranks; ++r)
    for (Index i = 0; i < n; ++i) sum[std::size_t(i)] += value<T>(r, i);
  return sum;
}
template <class T> bool same_bits(std::vector<T> const& a, std::vector<T> const& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <class Comm> void knows_its_place(Comm const& comm) {
  check(comm.size() >= 1 && comm.rank() >= 0 && comm.rank() < comm.size(), "rank in [0, size)");
  std::vector<Index> ranks(std::size_t(comm.size())), nodes(std::size_t(comm.size()));
  comm.all_gather(std::array{comm.rank()}, ranks);
  comm.all_gather(std::array{comm.node_of(comm.rank())}, nodes);
  for (Index r = 0; r < comm.size(); ++r) {
    check(ranks[std::size_t(r)] == r, "ranks are distinct");
    check(nodes[std::size_t(r)] == comm.node_of(r), "ranks agree on nodes");
    check(comm.node_of(r) >= 0 && comm.node_of(r) < comm.size(), "node in [0, ranks)");
  }
  check(comm.node_of(0) == 0, "nodes are numbered from 0");
  check_refused([&] { (void)comm.node_of(comm.size()); }, "rank: needed 0 to");
  check_refused([&] { (void)comm.node_of(-1); }, "rank: needed 0 to");
}

template <class T, class Comm> void sums(Comm const& comm) {
  for (Index const n : sizes) {
    auto const expected = sum_in_rank_order<T>(comm.size(), n);
    auto mine = values<T>(comm.rank(), n);
    comm.all_reduce_sum(mine);
    check(same_bits(mine, expected), "blocking sum of " + std::to_string(n));
    mine = values<T>(comm.rank(), n);
    auto request = comm.start_all_reduce_sum(moebal::VectorView<T>(mine));
    request.wait();
    request.wait(); // nothing more to do
    check(same_bits(mine, expected), "started sum of " + std::to_string(n));
  }
}

template <class Comm> void several_requests(Comm const& comm) {
  auto a = values<std::int64_t>(comm.rank(), 7);
  auto b = values<double>(comm.rank(), 160);
  auto c = values<float>(comm.rank(), 3);
  auto first = comm.start_all_reduce_sum(a);
  auto second = comm.start_all_reduce_sum(b);
  auto third = comm.start_all_reduce_sum(c);
  typename Comm::Request moved = std::move(second);
  first.wait();
  moved.wait();
  second.wait(); // moved from: nothing
  check(same_bits(a, sum_in_rank_order<std::int64_t>(comm.size(), 7)), "first of three requests");
  check(same_bits(b, sum_in_rank_order<double>(comm.size(), 160)), "second of three requests");
  third.wait();
  check(same_bits(c, sum_in_rank_order<float>(comm.size(), 3)), "third of three requests");
}

template <class Comm> void started_meets_blocking(Comm const& comm) {
  auto mine = values<std::int64_t>(comm.rank(), 60);
  if (comm.rank() == 0)
    comm.start_all_reduce_sum(mine).wait();
  else
    comm.all_reduce_sum(mine);
  check(same_bits(mine, sum_in_rank_order<std::int64_t>(comm.size(), 60)), "started on rank 0, blocking elsewhere");
}

template <class Comm> void dropped_request(Comm const& comm) {
  auto unread = values<std::int64_t>(comm.rank(), 60);
  { [[maybe_unused]] auto const dropped = comm.start_all_reduce_sum(unread); }
  auto mine = values<std::int64_t>(comm.rank(), 3);
  comm.all_reduce_sum(mine);
  check(same_bits(mine, sum_in_rank_order<std::int64_t>(comm.size(), 3)), "sum after a dropped request");
}

/// Polls as a caller with work of its own does, gives the core away in between, and gives up after a minute.
template <class Request> void poll(Request& request, std::string const& what) {
  auto const limit = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!request.done()) {
    check(std::chrono::steady_clock::now() < limit, what + ": not done within a minute of polling");
    std::this_thread::yield();
  }
}

template <class Comm> void polled_requests(Comm const& comm) {
  auto const expected = sum_in_rank_order<double>(comm.size(), 384);
  auto a = values<double>(comm.rank(), 384), b = a;
  auto first = comm.start_all_reduce_sum(a);
  auto second = comm.start_all_reduce_sum(b);
  typename Comm::Request moved = std::move(first);
  check(first.done(), "a moved-from request is done");
  poll(second, "the second of two sums");
  check(second.done(), "what was done stays done");
  poll(moved, "a moved sum");
  moved.wait();
  second.wait();
  check(moved.done() && second.done(), "a request is done after wait");
  check(same_bits(a, expected) && same_bits(b, expected), "sums that were polled");

  std::vector<Index> ranks(std::size_t(comm.size()));
  std::array const me{comm.rank()};
  auto gather = comm.start_all_gather(me, ranks);
  poll(gather, "all_gather");
  gather.wait();
  check(ranks.back() == comm.size() - 1, "an all_gather that was polled");
  auto barrier = comm.start_barrier();
  poll(barrier, "barrier"); // and dropped
}

struct Note { // an element that is neither a number nor a multiple of 8 bytes
  std::int16_t rank;
  char words[5];
  friend bool operator==(Note const&, Note const&) = default;
};

template <class Comm> void gathers(Comm const& comm) {
  for (Index const n : sizes) {
    std::vector<float> const mine = values<float>(comm.rank(), n);
    std::vector<float> all(std::size_t(comm.size() * n)), expected;
    for (Index r = 0; r < comm.size(); ++r)
      for (Index i = 0; i < n; ++i) expected.push_back(value<float>(r, i));
    comm.all_gather(mine, all);
    check(same_bits(all, expected), "all_gather of " + std::to_string(n));
  }
  std::vector<Note> all(std::size_t(2 * comm.size()));
  auto const note = [](Index r, char c) { return Note{std::int16_t(r), {c, 'b', 'c', 'd', 'e'}}; };
  std::array const mine{note(comm.rank(), 'x'), note(comm.rank(), 'y')};
  auto request = comm.start_all_gather(mine, all);
  request.wait();
  for (Index r = 0; r < comm.size(); ++r)
    check(all[std::size_t(2 * r)] == note(r, 'x') && all[std::size_t(2 * r + 1)] == note(r, 'y'), "gathered structs");
}

/// Rank s sends rows_of(s, r) rows to rank r; element c of row i says where it comes from.
template <class T, class Comm, class Rows>
void exchange(Comm const& comm, Index cols, Index stride, Index spare_rows, Rows rows_of, std::string const& what) {
  Index const me = comm.rank(), ranks = comm.size();
  auto const word = [](Index from, Index to, Index row, Index c) {
    return T(1 + ((from * 8 + to) * 100 + row) * 10 + c);
  };
  std::vector<Index> send_rows, receive_rows;
  Index sent = 0, received = 0;
  for (Index r = 0; r < ranks; ++r) {
    send_rows.push_back(rows_of(me, r));
    receive_rows.push_back(rows_of(r, me));
    sent += send_rows.back();
    received += receive_rows.back();
  }
  std::vector<T> out(std::size_t((sent + spare_rows) * stride));
  std::vector<T> in(std::size_t((received + spare_rows) * (stride + 1)));
  moebal::MatrixView<T> const send(out.data(), sent + spare_rows, cols, stride);
  moebal::MatrixView<T> const receive(in.data(), received + spare_rows, cols, stride + 1);
  Index row = 0;
  for (Index r = 0; r < ranks; ++r)
    for (Index i = 0; i < send_rows[std::size_t(r)]; ++i, ++row)
      for (Index c = 0; c < cols; ++c) send(row, c) = word(me, r, i, c);
  comm.all_to_all_v(send, send_rows, receive, receive_rows);
  std::vector<T> expected(in.size()); // what was not received is still zero
  moebal::MatrixView<T> const wanted(expected.data(), received + spare_rows, cols, stride + 1);
  row = 0;
  for (Index r = 0; r < ranks; ++r)
    for (Index i = 0; i < receive_rows[std::size_t(r)]; ++i, ++row)
      for (Index c = 0; c < cols; ++c) wanted(row, c) = word(r, me, i, c);
  check(in == expected, "all_to_all_v, " + what);
}

template <class Comm> void exchanges(Comm const& comm) {
  auto const uneven = [](Index s, Index r) { return (2 * s + 3 * r) % 4; };
  exchange<float>(comm, 5, 5, 0, uneven, "uneven");
  exchange<std::int64_t>(comm, 1, 3, 2, uneven, "uneven, strided rows, spare rows");
  exchange<std::uint16_t>(comm, 7, 7, 0, [](Index s, Index) { return s == 0 ? Index(0) : s; }, "rank 0 sends nothing");
  exchange<double>(comm, 3, 4, 1, [](Index, Index r) { return r == 0 ? Index(5) : Index(0); }, "only rank 0 receives");
  exchange<float>(comm, 5, 5, 0, [](Index, Index) { return Index(0); }, "no rows");
  exchange<float>(comm, 0, 0, 0, uneven, "rows of nothing");
  exchange<float>(comm, 129, 131, 0, [](Index s, Index r) { return s == r ? Index(0) : Index(17); }, "others only");
}

/// Rank 0 only sends, then only receives, and the side without rows begins where the other one does.
template <class Comm> void one_sided_exchanges(Comm const& comm) {
  Index const others = comm.size() - 1;
  std::vector<Index> none(std::size_t(comm.size()), 0), from_first(none), one_each(none);
  for (Index r = 1; r <= others; ++r) one_each[std::size_t(r)] = 1;
  from_first[0] = comm.rank() == 0 ? 0 : 1;
  auto data = values<std::int64_t>(comm.rank(), std::max<Index>(others, 1));
  auto const before = data;
  moebal::MatrixView<std::int64_t> const rows(data.data(), Index(data.size()), 1);
  std::vector<std::int64_t> first(1);
  moebal::MatrixView<std::int64_t> const received(first.data(), 1, 1);
  if (comm.rank() == 0)
    comm.all_to_all_v(rows, one_each, rows, none);
  else
    comm.all_to_all_v(rows, none, received, from_first);
  check(data == before, "a rank that receives nothing is left alone");
  check(comm.rank() == 0 || first[0] == value<std::int64_t>(0, comm.rank() - 1), "rows of a rank that only sends");
  if (comm.rank() == 0)
    comm.all_to_all_v(rows, none, rows, one_each);
  else
    comm.all_to_all_v(rows, from_first, received, none);
  for (Index r = 1; comm.rank() == 0 && r <= others; ++r)
    check(data[std::size_t(r - 1)] == value<std::int64_t>(r, 0), "rows of a rank that only receives");
}

template <class Comm> void refusals(Comm const& comm) {
  std::vector<std::int64_t> mine(3), all(std::size_t(comm.size()) * 3 + 1);
  std::vector<Index> const rows(std::size_t(comm.size()), 1), too_few(std::size_t(comm.size()) - 1, 1);
  std::vector<Index> negative(rows);
  negative.back() = -1;
  Index const ranks = comm.size();
  std::vector<float> data(std::size_t(4 * ranks));
  moebal::MatrixView<float> const right(data.data(), ranks, 4), narrow(data.data(), ranks, 3);
  moebal::MatrixView<float> const few(data.data(), ranks - 1, 4);
  check_refused([&] { comm.all_gather(mine, all); }, "all_gather: elements of the result: needed");
  check_refused([&] { comm.all_to_all_v(right, rows, narrow, rows); }, "columns received (as sent): needed 4, had 3");
  check_refused([&] { comm.all_to_all_v(right, too_few, right, rows); }, "entries of send_rows (one per rank)");
  check_refused([&] { comm.all_to_all_v(right, rows, right, too_few); }, "entries of receive_rows (one per rank)");
  check_refused([&] { comm.all_to_all_v(few, rows, right, rows); }, "rows of send: needed at least");
  check_refused([&] { comm.all_to_all_v(right, rows, few, rows); }, "rows of receive: needed at least");
  check_refused([&] { comm.all_to_all_v(right, negative, right, rows); }, "send_rows: needed 0 to");
  comm.all_reduce_sum(mine); // nothing was sent: the ranks are still together
}

} // namespace conformance_cases

/// All ranks call this with their communicator; throws std::logic_error where a promise is broken.
template <class Comm> void conformance(Comm const& comm) {
  static_assert(moebal::communicator<Comm>);
  using namespace conformance_cases;
  knows_its_place(comm);
  comm.barrier();
  sums<std::int64_t>(comm);
  sums<float>(comm);
  sums<double>(comm);
  several_requests(comm);
  polled_requests(comm);
  started_meets_blocking(comm);
  dropped_request(comm);
  gathers(comm);
  exchanges(comm);
  one_sided_exchanges(comm);
  refusals(comm);
  comm.start_barrier().wait();
}

/// The same ranks; `together` is a barrier of theirs that does not go through `comm`.
template <class Comm, class Together> void done_waits_for_the_last_rank(Comm const& comm, Together&& together) {
  using conformance_cases::check;
  if (comm.rank() != 0) together();
  auto request = comm.start_barrier();
  if (comm.rank() == 0) {
    check(request.done() == (comm.size() == 1), "a barrier is done when all have entered it, and not before");
    together();
  }
  conformance_cases::poll(request, "a barrier");
  request.wait();
}
