// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A stand-in, for tests alone, of NCCL (stand_in.hpp).
#include "group.hpp"

#include <cstring>
#include <utility>

using namespace nccl_stand_in;
using Lock = std::lock_guard<std::mutex>;

namespace {

std::set<ncclComm_t> handles;               // alive
std::map<int, std::weak_ptr<Group>> groups; // by what is in their unique id
int next_id = 0;
std::string last_words;

thread_local int depth = 0;                                                    // of ncclGroupStart
thread_local std::map<ncclComm_t, std::pair<cudaStream_t, Transfers>> grouped; // until ncclGroupEnd

ncclResult_t refused(ncclComm_t comm, std::string const& words) {
  ++world().misuses;
  last_words = "stand-in: " + words;
  if (comm) comm->me->words = last_words;
  return ncclInvalidUsage;
}
/// What a call that enqueues something has to find.
ncclResult_t admit(ncclComm_t comm) {
  if (comm->me->error != ncclSuccess) return comm->me->error;
  if (!comm->me->ready()) return refused(comm, "a call on a communicator that is not ready");
  if (!comm->me->launching.empty()) return refused(comm, "a call while another one is in progress");
  return ncclSuccess;
}
ncclResult_t launch(ncclComm_t comm, cudaStream_t stream, std::shared_ptr<NcclOperation> operation) {
  operation->me = comm->me;
  comm->me->launching.emplace_back(stream_of(stream), std::move(operation));
  comm->me->polls = world().polls;
  return comm->me->state();
}
ncclResult_t collective(char const* function, ncclComm_t comm, cudaStream_t stream, Signature const& signature,
                        void const* send, std::size_t sent, void* receive, std::size_t received) {
  Lock const lock(world().mutex);
  if (int const code = world().fault(function, comm->me->rank)) return ncclResult_t(code);
  if (ncclResult_t const result = admit(comm); result != ncclSuccess) return result;
  if (depth > 0) return refused(comm, "only ncclSend and ncclRecv are grouped");
  if (!world().holds(send, sent) || !world().holds(receive, received))
    return refused(comm, "a pointer that is not the device's");
  world().calls.push_back({function, comm->me->rank, -1, signature.count});
  auto operation = std::make_shared<CollectiveOperation>();
  operation->signature = signature;
  operation->send = static_cast<std::byte const*>(send);
  operation->receive = static_cast<std::byte*>(receive);
  operation->received = received;
  return launch(comm, stream, std::move(operation));
}
ncclResult_t transfer(char const* function, ncclComm_t comm, cudaStream_t stream, Transfer const& one) {
  Lock const lock(world().mutex);
  if (int const code = world().fault(function, comm->me->rank)) return ncclResult_t(code);
  if (ncclResult_t const result = admit(comm); result != ncclSuccess) return result;
  if (!world().holds(one.data, one.bytes)) return refused(comm, "a pointer that is not the device's");
  world().calls.push_back({function, comm->me->rank, one.peer, one.bytes});
  if (depth > 0) {
    auto& [where, transfers] = grouped[comm];
    where = stream;
    transfers.push_back(one);
    return world().polls > 0 ? ncclInProgress : ncclSuccess;
  }
  auto operation = std::make_shared<TransferOperation>();
  operation->transfers = {one};
  return launch(comm, stream, std::move(operation));
}
ncclComm_t new_handle() {
  auto* const comm = new ncclComm;
  handles.insert(comm);
  return comm;
}
void end(ncclComm_t comm) {
  handles.erase(comm);
  delete comm;
}
ncclResult_t check_config(ncclConfig_t const* config) {
  if (!config || config->blocking != 0) return refused(nullptr, "a communicator that would block");
  return ncclSuccess;
}

} // namespace

namespace nccl_stand_in {
void report(int rank, ncclResult_t error) {
  Lock const lock(world().mutex);
  for (ncclComm_t const comm : handles)
    if (comm->me->rank == rank) {
      comm->me->error = error;
      comm->me->words = "stand-in: as the test wants it";
    }
}
void forget_communicators() {
  for (ncclComm_t const comm : handles) delete comm;
  handles.clear();
}
int communicators() {
  Lock const lock(world().mutex);
  return int(handles.size());
}
} // namespace nccl_stand_in

ncclResult_t ncclGetVersion(int* version) {
  Lock const lock(world().mutex);
  if (int const code = world().fault("ncclGetVersion", -1)) return ncclResult_t(code);
  *version = world().version;
  return ncclSuccess;
}
char const* ncclGetErrorString(ncclResult_t result) {
  if (result == ncclRemoteError) return "remote process exited or there was a network error";
  if (result == ncclSystemError) return "unhandled system error";
  if (result == ncclInvalidUsage) return "invalid usage";
  return result == ncclInProgress ? "NCCL operation in progress" : "an error of the stand-in's NCCL";
}
char const* ncclGetLastError(ncclComm_t comm) {
  Lock const lock(world().mutex);
  return comm ? comm->me->words.c_str() : last_words.c_str();
}
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  Lock const lock(world().mutex);
  if (int const code = world().fault("ncclGetUniqueId", -1)) return ncclResult_t(code);
  int const number = ++next_id;
  std::memcpy(id->internal, &number, sizeof number);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int size, ncclUniqueId id, int rank, ncclConfig_t* config) {
  Lock const lock(world().mutex);
  if (int const code = world().fault("ncclCommInitRankConfig", rank)) return ncclResult_t(code);
  if (ncclResult_t const result = check_config(config); result != ncclSuccess) return result;
  int number = 0;
  std::memcpy(&number, id.internal, sizeof number);
  auto group = groups[number].lock();
  if (!group) groups[number] = group = std::make_shared<Group>(size);
  if (size != group->size || !group->members[std::size_t(rank)].expired())
    return refused(nullptr, "ranks that disagree about who they are");
  *comm = new_handle();
  (*comm)->me->join(group, rank);
  return (*comm)->me->state();
}
ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* child, ncclConfig_t* config) {
  Lock const lock(world().mutex);
  if (int const code = world().fault("ncclCommSplit", comm->me->rank)) return ncclResult_t(code);
  if (ncclResult_t const result = admit(comm); result != ncclSuccess) return result;
  if (ncclResult_t const result = check_config(config); result != ncclSuccess) return result;
  if (comm->me->under_way > 0) return refused(comm, "a split of a communicator that is at work");
  *child = new_handle();
  comm->me->split(color, key, (*child)->me);
  return comm->me->state();
}
ncclResult_t ncclCommUserRank(ncclComm_t const comm, int* rank) {
  Lock const lock(world().mutex);
  *rank = comm->me->rank;
  return ncclSuccess;
}
ncclResult_t ncclCommCount(ncclComm_t const comm, int* count) {
  Lock const lock(world().mutex);
  *count = comm->me->group->size;
  return ncclSuccess;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* result) {
  Lock const lock(world().mutex);
  if (int const code = world().fault("ncclCommGetAsyncError", comm->me->rank)) return ncclResult_t(code);
  world().advance();
  *result = comm->me->state();
  return ncclSuccess;
}
ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  Lock const lock(world().mutex);
  if (int const code = world().fault("ncclCommFinalize", comm->me->rank)) return ncclResult_t(code);
  if (ncclResult_t const result = admit(comm); result != ncclSuccess) return result;
  comm->me->leaving = true;
  ++comm->me->group->leaving;
  world().advance();
  return comm->me->state();
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  Lock const lock(world().mutex);
  bool const orderly = comm->me->leaving && comm->me->state() == ncclSuccess;
  if (!orderly) comm->me->abort();
  end(comm);
  return orderly ? ncclSuccess : refused(nullptr, "a communicator that is destroyed before it has come to rest");
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  Lock const lock(world().mutex);
  comm->me->abort();
  end(comm);
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(void const* send, void* receive, std::size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
  if (op != ncclSum) return ncclInvalidArgument;
  std::size_t const bytes = count * size_of(type);
  return collective("ncclAllReduce", comm, stream, {"sum", type, count}, send, bytes, receive, bytes);
}
ncclResult_t ncclAllGather(void const* send, void* receive, std::size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  std::size_t const bytes = count * size_of(type);
  return collective("ncclAllGather", comm, stream, {"gather", type, count}, send, bytes, receive,
                    bytes * std::size_t(comm->me->group->size));
}
ncclResult_t ncclSend(void const* data, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  auto* const bytes = static_cast<std::byte*>(const_cast<void*>(data));
  return transfer("ncclSend", comm, stream, {Transfer::Send, peer, bytes, count * size_of(type)});
}
ncclResult_t ncclRecv(void* data, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return transfer("ncclRecv", comm, stream,
                  {Transfer::Receive, peer, static_cast<std::byte*>(data), count * size_of(type)});
}
ncclResult_t ncclGroupStart() {
  Lock const lock(world().mutex);
  if (int const code = world().fault("ncclGroupStart", -1)) return ncclResult_t(code);
  ++depth;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  Lock const lock(world().mutex);
  if (depth == 0) return refused(nullptr, "ncclGroupEnd without ncclGroupStart");
  if (--depth > 0) return ncclSuccess;
  auto const all = std::exchange(grouped, {});
  if (int const code = world().fault("ncclGroupEnd", -1)) return ncclResult_t(code);
  ncclResult_t result = ncclSuccess;
  for (auto const& [comm, work] : all) {
    auto operation = std::make_shared<TransferOperation>();
    operation->transfers = work.second;
    ncclResult_t const launched = launch(comm, work.first, std::move(operation));
    if (launched != ncclSuccess) result = launched;
  }
  return result;
}
