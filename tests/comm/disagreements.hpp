// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What must be found where ranks differ, as functions that all ranks call, with 2 or more ranks. The last rank is the
// one that differs. Every case must end on all ranks with the same sentence, and leave them together for the next.

#include "conformance.hpp"

#include <moebal/comm/handshake.hpp>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace disagreements {

using conformance_cases::check;
using moebal::Index;

template <class F> void check_told(F&& f, std::string const& words) {
  try {
    f();
  } catch (moebal::CommError const& error) {
    check(error.what() == "moebal: " + words, "needed '" + words + "', had: " + error.what());
    return;
  }
  check(false, "not found: " + words);
}
template <class Comm> std::string last(Comm const& comm) { return "rank " + std::to_string(comm.size() - 1); }

/// comm: a communicator with Checks::Communicating.
template <class Comm> void calls(Comm const& comm) {
  bool const odd = comm.rank() == comm.size() - 1;
  Index number = 0;
  auto const both = [&](auto&& usual, auto&& other, std::string const& called, std::string const& instead) {
    ++number;
    check_told([&] { odd ? other() : usual(); }, last(comm) + " called " + instead + ", rank 0 called " + called +
                                                     " as collective #" + std::to_string(number));
  };
  auto const add = [&]<class T>(Index n, T) {
    return [&comm, n] {
      std::vector<T> values(std::size_t(n), T(1));
      comm.all_reduce_sum(values);
    };
  };
  auto const gather = [&](Index n) {
    return [&comm, n] {
      std::vector<std::int64_t> mine(static_cast<std::size_t>(n)), all(std::size_t(n * comm.size()));
      comm.all_gather(mine, all);
    };
  };
  auto const exchange = [&](Index cols, Index sent, Index expected) {
    return [&comm, cols, sent, expected] {
      std::vector<Index> const to(std::size_t(comm.size()), sent), from(std::size_t(comm.size()), expected);
      std::vector<float> out(std::size_t(comm.size() * 3 * cols)), in(out);
      comm.all_to_all_v(moebal::MatrixView<float>(out.data(), comm.size() * 3, cols), to,
                        moebal::MatrixView<float>(in.data(), comm.size() * 3, cols), from);
    };
  };
  auto const meet = [&] { comm.barrier(); };
  std::int64_t const integer = 0;
  both(add(64, integer), meet, "all_reduce_sum of 64 int64", "barrier");
  both(add(64, integer), add(63, integer), "all_reduce_sum of 64 int64", "all_reduce_sum of 63 int64");
  both(add(64, 0.0f), add(64, 0.0), "all_reduce_sum of 64 float", "all_reduce_sum of 64 double");
  both(add(192, integer), gather(192), "all_reduce_sum of 192 int64", "all_gather of 192 int64");
  both(gather(3), gather(4), "all_gather of 3 int64", "all_gather of 4 int64");
  both(exchange(5, 1, 1), exchange(6, 1, 1), "all_to_all_v of 5 float", "all_to_all_v of 6 float");
  ++number;
  check_told(exchange(5, odd ? 2 : 1, 1),
             last(comm) + " sends 2 rows to rank 0, which expects 1, in all_to_all_v #" + std::to_string(number));
  ++number;
  check_told(exchange(5, 1, odd ? 0 : 1),
             "rank 0 sends 1 rows to " + last(comm) + ", which expects 0, in all_to_all_v #" + std::to_string(number));
  comm.barrier();
}

/// comm: any communicator.
template <class Comm> void facts(Comm const& comm) {
  using moebal::Fact;
  using Facts = std::vector<Fact>;
  bool const odd = comm.rank() == comm.size() - 1;
  auto const both = [&](Facts const& usual, Facts const& other, std::string const& words) {
    check_told([&] { moebal::handshake(comm, odd ? other : usual); }, last(comm) + words);
  };
  Facts const usual{{"experts", 60}, {"dtype", "float"}};
  moebal::handshake(comm, usual);
  both(usual, {{"experts", 64}, {"dtype", "float"}}, " has experts = 64, rank 0 has 60");
  both(usual, {{"experts", 60}, {"dtype", "double"}}, " has dtype = double, rank 0 has float");
  both(usual, {{"experts", 60}}, " has dtype = nothing of the kind, rank 0 has float");
  both(usual, {{"experts", 60}, {"dtype", "float"}, {"layers", 2}}, " has layers = 2, rank 0 has nothing of the kind");
  both(usual, {}, " has experts = nothing of the kind, rank 0 has 60");
  both(usual, {{"dtype", "float"}, {"experts", 60}}, " has the facts of rank 0 in another order");
  both({{"note", ""}}, {{"note", "x"}}, " has note = x, rank 0 has ");
  std::string const text(5000, 'x'); // differs only beyond what is sent
  auto const same = [&] { moebal::handshake(comm, {{"text", text}}); };
  same();
  bool found = false;
  try {
    moebal::handshake(comm, {{"text", text + (odd ? "b" : "a")}});
  } catch (moebal::CommError const&) {
    found = true;
  }
  check(found, "facts that differ after 5000 characters");
  comm.barrier();
}

} // namespace disagreements
