// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Ranks of the stand-in: threads, each with a stream of its own.

#include "mutants.hpp"
#include "stand_in.hpp"

#include <moebal/comm/nccl_staged.hpp>
#include <moebal/comm/threads.hpp>
#include <moebal/communicator.hpp>

#include <array>
#include <chrono>
#include <string>
#include <vector>

namespace nccl_stand_in {

struct OwnStream {
  cudaStream_t stream = nullptr;
  OwnStream() { cudaStreamCreate(&stream); }
  OwnStream(OwnStream const&) = delete;
  ~OwnStream() { cudaStreamDestroy(stream); }
};

/// f(threads, options) on each of R ranks: a communicator of these threads beside NCCL, and who the rank is there.
template <class F>
void run_nccl(moebal::Index ranks, F&& f, std::chrono::milliseconds timeout = std::chrono::seconds(60),
              moebal::Index ranks_per_node = 0) {
  auto const rank = [&](moebal::Communicator<moebal::Threads> const& threads) {
    OwnStream const own;
    std::array<ncclUniqueId, 1> const mine{threads.rank() == 0 ? moebal::Nccl::make_id() : ncclUniqueId{}};
    std::vector<ncclUniqueId> all(std::size_t(threads.size()));
    threads.all_gather(mine, all);
    f(threads, moebal::NcclOptions{.id = all[0],
                                   .rank = threads.rank(),
                                   .size = threads.size(),
                                   .stream = own.stream,
                                   .ranks_per_node = ranks_per_node,
                                   .timeout = timeout});
  };
  moebal::run_ranks(ranks, rank, {.ranks_per_node = ranks_per_node});
}

/// What f throws, or nothing.
template <class F> std::string thrown_by(F&& f) {
  try {
    f();
  } catch (moebal::CommError const& error) {
    return error.what();
  }
  return "";
}

} // namespace nccl_stand_in
