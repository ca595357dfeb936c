// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Who is missing? MPI does not say why a collective is not done. So each rank that waited too long asks all others,
// rank by rank, where they are, and tells them what it found. Ranks that wait or poll answer; ranks that are dead,
// stopped or at work elsewhere do not, and that is an answer too.

#include "call.hpp"
#include "mpi_calls.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace moebal::detail {

/// Where this rank is, the messages between single ranks, and the failure once there is one. On a communicator of its
/// own; no message is sent before a time limit has passed. Every letter means failure, and then nothing is freed: MPI
/// may hold a letter to a dead rank for ever. Not safe for several threads: its owner has a lock.
class MpiRollCall {
  enum class Kind : std::int64_t { Question, Answer, Failure };
  struct Letter {
    Kind kind;
    Index number;               // of the collective that the sender is in
    std::array<char, 496> text; // and its name; or the failure

    Letter(Kind what, Index collective, std::string_view words) : kind(what), number(collective), text{} {
      std::copy_n(words.data(), std::min(words.size(), text.size() - 1), text.data());
    }
  };
  static_assert(std::is_trivially_copyable_v<Letter>);

public:
  MpiRollCall(MpiComm comm, Index rank, Index size) : comm_(std::move(comm)), rank_(rank), size_(size) {}
  MpiRollCall(MpiRollCall&&) = delete;
  ~MpiRollCall() {
    if (failed()) comm_.abandon();
  }

  /// This rank enters its next collective: 0, 1, 2, ...
  Index enter(Call const& call) {
    call_ = call;
    return ++number_;
  }

  bool failed() const { return !failure_.empty(); }
  [[noreturn]] void refuse() const { throw CommError("moebal: " + failure_); }
  /// The first failure stays, and all others are told.
  void fail(std::string const& reason) {
    if (failed()) return;
    failure_ = reason;
    write_to_all(Kind::Failure, failure_);
  }

  /// Answers the other ranks and learns of their failure. Never waits.
  void listen() {
    for (int there = 0;;) {
      MPI_Status status{};
      require_mpi(MPI_Iprobe(MPI_ANY_SOURCE, tag, comm_.get(), &there, &status), "MPI_Iprobe");
      if (there == 0) return;
      Letter letter(Kind::Question, 0, "");
      require_mpi(MPI_Recv(&letter, sizeof letter, MPI_BYTE, status.MPI_SOURCE, tag, comm_.get(), MPI_STATUS_IGNORE),
                  "MPI_Recv");
      letter.text.back() = '\0';
      if (letter.kind == Kind::Question) write(status.MPI_SOURCE, Kind::Answer, call_.text());
      if (letter.kind == Kind::Answer) answers_.push_back({status.MPI_SOURCE, letter.number, letter.text.data()});
      if (letter.kind == Kind::Failure && !failed()) failure_ = letter.text.data();
    }
  }

  void ask() { write_to_all(Kind::Question, ""); }
  /// Whether there is nothing more to wait for: all have answered, or one has found out.
  bool answered() const { return failed() || Index(answers_.size()) >= size_ - 1; }

  /// "rank 2 does not answer (dead, stopped or busy); rank 1 has not arrived (its last: collective #4, barrier)".
  std::string report(Call const& call, Index number) const {
    std::string text;
    Index named = 0;
    auto const add = [&](Index rank, std::string const& what) {
      if (++named <= most_named) text += (text.empty() ? "" : "; ") + rank_text(rank) + what;
    };
    for (Index r = 0; r < size_; ++r) {
      auto const answer = std::find_if(answers_.begin(), answers_.end(), [r](Place const& a) { return a.rank == r; });
      if (r == rank_) continue;
      if (answer == answers_.end())
        add(r, " does not answer (dead, stopped or busy)");
      else if (answer->number < number)
        add(r, " has not arrived (its last: collective #" + std::to_string(answer->number) +
                   (answer->call.empty() ? ")" : ", " + answer->call + ")"));
      else if (answer->number == number && answer->call != call.text())
        add(r, " called " + answer->call + " instead");
    }
    if (named > most_named) text += "; and " + std::to_string(named - most_named) + " other ranks";
    return text.empty() ? "all ranks have arrived, but MPI does not finish it" : text;
  }

private:
  static constexpr int tag = 1;
  static constexpr Index most_named = 8; // of maybe thousands

  struct Place {
    Index rank, number;
    std::string call;
  };

  void write(int to, Kind kind, std::string_view text) {
    MPI_Request request = MPI_REQUEST_NULL; // never waited for, like the letter that is never freed
    auto* const letter = new Letter(kind, number_, text);
    MPI_Isend(letter, sizeof *letter, MPI_BYTE, to, tag, comm_.get(), &request); // its code: a rank that cannot be told
  }
  void write_to_all(Kind kind, std::string_view text) {
    for (Index r = 0; r < size_; ++r)
      if (r != rank_) write(int(r), kind, text);
  }

  MpiComm comm_;
  Index rank_, size_;
  Index number_ = -1; // of the last collective that this rank has entered; #0 makes the communicator
  Call call_;         // the last of them
  std::vector<Place> answers_;
  std::string failure_;
};

} // namespace moebal::detail
