// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A stand-in, for tests alone, of NCCL (stand_in.hpp): what its ranks do together.
#include "group.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <tuple>

namespace nccl_stand_in {

namespace {

template <class T> std::vector<std::byte> sum_of(std::vector<CollectiveOperation*> const& ranks, std::size_t bytes) {
  std::vector<std::byte> result(ranks[0]->send, ranks[0]->send + bytes);
  T* const sum = reinterpret_cast<T*>(result.data());
  for (std::size_t r = 1; r < ranks.size(); ++r)
    for (std::size_t i = 0; i < bytes / sizeof(T); ++i) sum[i] += reinterpret_cast<T const*>(ranks[r]->send)[i];
  return result;
}
void add(std::vector<CollectiveOperation*> const& ranks, ncclDataType_t type, std::size_t bytes) {
  if (ranks.size() == 1 && ranks[0]->send == ranks[0]->receive) return; // the memory may be larger than this machine's
  auto const sum = type == ncclFloat32   ? sum_of<float>(ranks, bytes)
                   : type == ncclFloat64 ? sum_of<double>(ranks, bytes)
                                         : sum_of<std::int64_t>(ranks, bytes);
  for (CollectiveOperation* const rank : ranks) std::memcpy(rank->receive, sum.data(), bytes);
}
void gather(std::vector<CollectiveOperation*> const& ranks, std::size_t bytes) {
  for (CollectiveOperation* const to : ranks)
    for (std::size_t r = 0; r < ranks.size(); ++r) std::memcpy(to->receive + r * bytes, ranks[r]->send, bytes);
}

} // namespace

std::size_t size_of(ncclDataType_t type) {
  if (type == ncclFloat32) return 4;
  return type == ncclUint8 ? 1 : 8;
}

void Group::disagree(std::string const& what) {
  for (auto const& weak : members)
    if (auto const member = weak.lock()) {
      member->error = ncclInvalidUsage;
      member->words = "stand-in: " + what;
    }
}

bool NcclOperation::advance() {
  if (me->aborted) return true;
  if (me->error != ncclSuccess || !run()) return false; // what has failed stays where it is until the abort
  --me->under_way;
  return true;
}

bool CollectiveOperation::run() {
  Group& group = *me->group;
  if (!arrived) {
    arrived = true;
    std::size_t const number = ++me->collectives;
    auto& ranks = group.collectives[number];
    ranks.resize(std::size_t(group.size));
    for (CollectiveOperation const* const other : ranks)
      if (other && !(other->signature == signature)) group.disagree("ranks call different collectives");
    ranks[std::size_t(me->rank)] = this;
    if (me->error == ncclSuccess && !group.broken && std::count(ranks.begin(), ranks.end(), nullptr) == 0) {
      std::size_t const bytes = signature.count * size_of(signature.type);
      if (signature.verb == "sum")
        add(ranks, signature.type, bytes);
      else
        gather(ranks, bytes);
      for (CollectiveOperation* const rank : ranks) rank->done = true;
      group.collectives.erase(number);
    }
  }
  return done;
}
void CollectiveOperation::scribble() {
  if (!done) std::memset(receive, 0xee, received);
}

bool TransferOperation::run() {
  Group& group = *me->group;
  if (!posted) {
    posted = true;
    for (Transfer& one : transfers)
      if (one.way == Transfer::Send)
        group.mail[{me->rank, one.peer}].sent.push_back(&one);
      else
        group.mail[{one.peer, me->rank}].wanted.push_back(&one);
  }
  for (auto& [who, mail] : group.mail)
    while (!group.broken && !mail.sent.empty() && !mail.wanted.empty()) {
      Transfer &from = *mail.sent.front(), &to = *mail.wanted.front();
      if (from.bytes != to.bytes) {
        group.disagree("ranks send and expect different sizes");
        return false;
      }
      std::memcpy(to.data, from.data, from.bytes);
      from.done = to.done = true;
      mail.sent.pop_front();
      mail.wanted.pop_front();
    }
  return std::all_of(transfers.begin(), transfers.end(), [](Transfer const& one) { return one.done; });
}
void TransferOperation::scribble() {
  for (Transfer const& one : transfers)
    if (one.way == Transfer::Receive && !one.done) std::memset(one.data, 0xee, one.bytes);
}

void Member::join(std::shared_ptr<Group> to, int as) {
  group = std::move(to);
  rank = as;
  group->members[std::size_t(rank)] = weak_from_this();
  ++group->joined;
}
void Member::split(int color, int key, std::shared_ptr<Member> child) {
  auto& pieces = group->splits[splits++];
  pieces[rank] = {color, key, std::move(child)};
  if (int(pieces.size()) < group->size) return;
  std::vector<std::tuple<int, int, int>> order; // color, key, rank
  for (auto const& [r, piece] : pieces) order.emplace_back(piece.color, piece.key, r);
  std::sort(order.begin(), order.end());
  for (auto first = order.begin(); first != order.end();) {
    auto const last =
        std::find_if(first, order.end(), [&](auto const& other) { return std::get<0>(other) != std::get<0>(*first); });
    auto const part = std::make_shared<Group>(int(last - first));
    for (int as = 0; first != last; ++first, ++as) pieces[std::get<2>(*first)].child->join(part, as);
  }
  group->splits.erase(splits - 1);
}
ncclResult_t Member::state() {
  if (error != ncclSuccess) return error;
  if (!ready() || group->splits.contains(splits - 1)) return ncclInProgress;
  if (!launching.empty()) {
    if (polls-- > 0) return ncclInProgress;
    for (auto& [stream, operation] : launching) stream->work.push_back(std::move(operation)), ++under_way;
    launching.clear();
  }
  if (leaving && (under_way > 0 || group->leaving < group->size)) return ncclInProgress;
  return ncclSuccess;
}
void Member::abort() {
  aborted = true;
  if (group) {
    group->broken = true;
    for (auto& [number, ranks] : group->collectives) ranks[std::size_t(rank)] = nullptr;
  }
  launching.clear();
  for (cudaStream_t const stream : world().streams)
    for (auto const& work : stream->work)
      if (auto const mine = std::dynamic_pointer_cast<NcclOperation>(work); mine && mine->me.get() == this)
        mine->scribble();
}

} // namespace nccl_stand_in
