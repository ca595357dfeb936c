// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where ranks run: as threads of this process, or each in a process of its own that an MPI launcher has started. The
// program is the same on both; here is what differs.

#include "collect.hpp"

#include <moebal/comm/handshake.hpp>
#include <moebal/comm/threads.hpp>

#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace train {

inline constexpr std::chrono::milliseconds default_timeout = std::chrono::minutes(5);

/// Runs f on R threads; rethrows what one of them throws.
inline void on_threads(Index ranks, std::chrono::milliseconds timeout, std::function<void(Comm const&)> const& f) {
  moebal::run_ranks(ranks,
                    [&](moebal::Communicator<moebal::Threads> comm) { f(Comm(moebal::AnyBackend(comm.backend()))); },
                    {.timeout = timeout});
}

/// The processes of a run. Process 0 speaks, reads and writes; it has rank 0.
class Processes {
public:
  virtual ~Processes() = default;
  virtual Index rank() const = 0;  // of this process among them
  virtual Index ranks() const = 0; // that the launcher has started; 0: as many as the settings say
  /// Calls f once for each rank of this process, at the same time. Collective.
  virtual void each_rank(Index ranks, std::function<void(Comm const&)> const& f) = 0;
  /// Collective: an error on all that names the process which differs.
  virtual void agree(std::vector<moebal::Fact> const&) {}
  /// What process 0 has. Collective.
  virtual std::string from_process_0(std::string text) = 0;
  /// After an error that the other processes may not have seen: ends them too, where there are any.
  virtual void give_up(int) {}
  bool speaks() const { return rank() == 0; }
};

/// This process alone.
class OneProcess final : public Processes {
public:
  explicit OneProcess(std::chrono::milliseconds timeout) : timeout_(timeout) {}
  Index rank() const override { return 0; }
  Index ranks() const override { return 0; }
  void each_rank(Index ranks, std::function<void(Comm const&)> const& f) override { on_threads(ranks, timeout_, f); }
  std::string from_process_0(std::string text) override { return text; }

private:
  std::chrono::milliseconds timeout_;
};

} // namespace train
