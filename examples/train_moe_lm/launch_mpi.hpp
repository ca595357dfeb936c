// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Which processes a run has; and, where the program was built with MPI (TRAIN_MOE_LM_MPI), one rank in each of them.

#include "launch.hpp"
#include "options.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string_view>

#include <unistd.h>

#ifdef TRAIN_MOE_LM_MPI
#include <moebal/comm/mpi.hpp>
#endif

namespace train {

/// Processes that mpirun or the like has started, as the launchers of Open MPI, MPICH and their relatives say; 0: none
/// of them has.
inline Index launched_processes() {
  for (char const* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"})
    if (char const* const size = std::getenv(name)) return std::max(1, std::atoi(size));
  return 0;
}

#ifdef TRAIN_MOE_LM_MPI
class MpiProcesses final : public Processes {
public:
  explicit MpiProcesses(std::chrono::milliseconds timeout) {
    int provided = 0;
    seconds_ = unsigned(std::max<std::int64_t>(1, timeout.count() / 1000));
    moebal::detail::require_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    comm_.emplace(moebal::AnyBackend(moebal::Mpi(MPI_COMM_WORLD, {.timeout = timeout})));
    if (launched_processes() > 0 && launched_processes() != ranks()) // else each of them would be a run of its own
      throw std::invalid_argument("the launcher started " + std::to_string(launched_processes()) +
                                  " processes, which see " + std::to_string(ranks()) +
                                  ": needed the launcher of the MPI that this program was built with");
  }
  ~MpiProcesses() override {
    leave();
    comm_.reset();
    MPI_Finalize();
  }
  Index rank() const override { return comm_->rank(); }
  Index ranks() const override { return comm_->size(); }
  void each_rank(Index, std::function<void(Comm const&)> const& f) override { f(*comm_); }
  void agree(std::vector<moebal::Fact> const& facts) override { moebal::handshake(*comm_, facts); }
  std::string from_process_0(std::string text) override { return from_rank_0(*comm_, std::move(text)); }
  /// The others would wait for this rank until their time is up.
  void give_up(int code) override { MPI_Abort(MPI_COMM_WORLD, code); }

private:
  /// All together, as long as a rank that is missing can be named: MPI_Finalize has neither names nor a time limit.
  void leave() {
    try {
      comm_->barrier();
    } catch (std::exception const& error) {
      std::fprintf(stderr, "train_moe_lm: rank %d: %s\n", int(rank()), error.what());
      give_up(1);
    }
    std::signal(SIGALRM, end_without_the_others);
    alarm(seconds_);
  }
  static void end_without_the_others(int) {
    constexpr std::string_view words =
        "train_moe_lm: all work is done and saved, but a rank did not reach the end of MPI_Finalize in time\n";
    [[maybe_unused]] auto const written = write(STDERR_FILENO, words.data(), words.size());
    _exit(1);
  }

  unsigned seconds_ = 0; // for MPI_Finalize
  std::optional<Comm> comm_;
};
#endif

inline std::unique_ptr<Processes> processes_of(Options const& options) {
  std::chrono::milliseconds const timeout(std::int64_t(1000 * options.timeout));
  bool const mpi =
      options.transport == Transport::Mpi || (options.transport == Transport::Found && launched_processes() > 0);
  if (!mpi) return std::make_unique<OneProcess>(timeout);
#ifdef TRAIN_MOE_LM_MPI
  return std::make_unique<MpiProcesses>(timeout);
#else
  throw std::invalid_argument("--transport mpi (or a launcher of MPI): needed a build with MPI, had one without; "
                              "--transport threads runs the ranks in one process");
#endif
}

} // namespace train
