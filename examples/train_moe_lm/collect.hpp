// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Ranks share no memory: what one has and another needs travels by the verbs of a communicator.

#include <moebal/comm/any.hpp>
#include <moebal/communicator.hpp>

#include <string>
#include <vector>

namespace train {

using Comm = moebal::Communicator<moebal::AnyBackend>;
using Index = std::int64_t;

/// Rows [rows[r], cols] of each rank, one rank after another, at rank 0; nothing elsewhere. rows [R] is known to all.
template <class T>
std::vector<T> to_rank_0(Comm const& comm, std::vector<T> const& mine, Index cols, std::vector<Index> const& rows) {
  std::vector<Index> out(std::size_t(comm.size()), 0), in(out);
  out[0] = rows[std::size_t(comm.rank())];
  if (comm.rank() == 0) in = rows;
  Index received = 0;
  for (Index const n : in) received += n;
  std::vector<T> all(std::size_t(received * cols));
  comm.all_to_all_v(moebal::MatrixView<T const>(mine.data(), out[0], cols), out,
                    moebal::MatrixView<T>(all.data(), received, cols), in);
  return all;
}

/// The n elements that rank 0 has, at all ranks. n is known to all.
template <class T> void from_rank_0(Comm const& comm, Index n, T* values) {
  std::vector<Index> out(std::size_t(comm.size()), comm.rank() == 0 ? 1 : 0), in(out.size(), 0);
  in[0] = 1;
  std::vector<T> copies;
  if (comm.rank() == 0)
    for (Index r = 0; r < comm.size(); ++r) copies.insert(copies.end(), values, values + n);
  comm.all_to_all_v(moebal::MatrixView<T const>(copies.data(), comm.rank() == 0 ? comm.size() : 0, n), out,
                    moebal::MatrixView<T>(values, 1, n), in);
}
inline std::string from_rank_0(Comm const& comm, std::string text) {
  Index size = Index(text.size());
  from_rank_0(comm, 1, &size);
  text.resize(std::size_t(size));
  from_rank_0(comm, size, text.data());
  return text;
}

} // namespace train
