// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Inside of the stand-in: the ranks of a communicator, and what they have on their streams. All under the world's lock.

#include "world.hpp"

#include <string>
#include <utility>
#include <vector>

namespace nccl_stand_in {

struct Member;

/// What ranks that call the same collective agree on.
struct Signature {
  std::string verb;
  ncclDataType_t type = ncclInt8;
  std::size_t count = 0;
  friend bool operator==(Signature const&, Signature const&) = default;
};
std::size_t size_of(ncclDataType_t type);

struct NcclOperation : Operation {
  std::shared_ptr<Member> me;
  bool advance() override;
  virtual bool run() = 0;
  virtual void scribble() = 0; // what an abort leaves of a result
};
struct CollectiveOperation : NcclOperation {
  Signature signature;
  std::byte const* send = nullptr;
  std::byte* receive = nullptr;
  std::size_t received = 0;
  bool arrived = false, done = false;
  bool run() override;
  void scribble() override;
};
struct Transfer {
  enum Way { Send, Receive } way;
  int peer;
  std::byte* data;
  std::size_t bytes;
  bool done = false;
};
using Transfers = std::vector<Transfer>;
struct TransferOperation : NcclOperation {
  Transfers transfers;
  bool posted = false;
  bool run() override;
  void scribble() override;
};

/// The ranks of a communicator.
struct Group {
  struct Mail {
    std::deque<Transfer*> sent, wanted;
  };
  struct Piece {
    int color, key;
    std::shared_ptr<Member> child;
  };
  explicit Group(int ranks) : size(ranks), members(std::size_t(ranks)) {}
  void disagree(std::string const& words);

  int size, joined = 0, leaving = 0;
  bool broken = false;                        // a rank has aborted: nothing is completed any more
  std::vector<std::weak_ptr<Member>> members; // [size]
  std::map<std::size_t, std::vector<CollectiveOperation*>> collectives; // those that have arrived, by number
  std::map<std::pair<int, int>, Mail> mail;                             // from, to
  std::map<std::size_t, std::map<int, Piece>> splits;                   // by number and rank
};

/// A communicator as one rank has it. It outlives its handle while something of it is on a stream.
struct Member : std::enable_shared_from_this<Member> {
  std::shared_ptr<Group> group; // none: part of a split that others have not called yet
  int rank = 0;
  ncclResult_t error = ncclSuccess;
  std::string words;
  bool aborted = false, leaving = false;
  int polls = 0, under_way = 0;
  std::size_t collectives = 0, splits = 0; // that it has begun
  std::vector<std::pair<cudaStream_t, std::shared_ptr<NcclOperation>>> launching;

  void join(std::shared_ptr<Group> to, int as);
  void split(int color, int key, std::shared_ptr<Member> child);
  bool ready() const { return group && group->joined == group->size; }
  /// What ncclCommGetAsyncError says. Asking brings a call that is in progress on.
  ncclResult_t state();
  void abort();
};

} // namespace nccl_stand_in

struct ncclComm {
  std::shared_ptr<nccl_stand_in::Member> me = std::make_shared<nccl_stand_in::Member>();
};
