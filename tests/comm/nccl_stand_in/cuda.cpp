// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A stand-in, for tests alone, of a part of the CUDA runtime (stand_in.hpp).
#include "world.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <utility>

using namespace nccl_stand_in;
using Lock = std::lock_guard<std::mutex>;

struct CUevent_st {
  std::shared_ptr<bool> reached = std::make_shared<bool>(true);
};

namespace {

struct Marker : Operation {
  std::shared_ptr<bool> reached = std::make_shared<bool>(false);
  bool advance() override { return *reached = true; }
};

/// Until the streams of which mine(stream) holds are done with their work, or for 2 s.
template <class Mine> cudaError_t wait_for(Mine mine) {
  auto const limit = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  for (;;) {
    {
      Lock const lock(world().mutex);
      world().advance();
      auto const& streams = world().streams;
      auto const busy = [&](cudaStream_t stream) { return !stream->work.empty() && mine(stream); };
      if (std::none_of(streams.begin(), streams.end(), busy)) return cudaSuccess;
      if (std::chrono::steady_clock::now() > limit) {
        ++world().hangs;
        return cudaErrorLaunchTimeout;
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}
cudaError_t wait_for_device() {
  return wait_for([](cudaStream_t stream) { return stream->device == std::this_thread::get_id(); });
}

cudaError_t allocate(char const* function, void** data, std::size_t bytes) {
  Lock const lock(world().mutex);
  if (int const code = world().fault(function, -1)) return cudaError_t(code);
  *data = std::calloc(std::max<std::size_t>(bytes, 1), 1); // untouched pages cost nothing
  if (!*data) return cudaErrorMemoryAllocation;
  world().memory[static_cast<std::byte*>(*data)] = bytes;
  return cudaSuccess;
}
cudaError_t release(void* data) {
  if (!data) return cudaSuccess;
  if (cudaError_t const waited = wait_for_device(); waited != cudaSuccess) return waited;
  Lock const lock(world().mutex);
  if (world().memory.erase(static_cast<std::byte*>(data)) == 0) return cudaErrorInvalidValue;
  std::free(data);
  return cudaSuccess;
}

} // namespace

namespace nccl_stand_in {

World& world() {
  static World one;
  return one;
}
void World::advance() {
  for (bool moved = true; moved;) {
    moved = false;
    for (cudaStream_t const stream : streams)
      while (!stream->work.empty() && stream->work.front()->advance()) {
        stream->work.pop_front();
        moved = true;
      }
  }
}
bool World::holds(void const* data, std::size_t bytes) const {
  auto const* const first = static_cast<std::byte const*>(data);
  auto const after = memory.upper_bound(first);
  if (after == memory.begin()) return false;
  auto const& [start, size] = *std::prev(after);
  return std::size_t(first - start) + bytes <= size;
}
int World::fault(std::string const& function, int rank) {
  for (auto it = faults.begin(); it != faults.end(); ++it)
    if (it->function == function && (it->rank < 0 || it->rank == rank) && it->skipped-- == 0) {
      int const code = it->code;
      faults.erase(it);
      return code;
    }
  return 0;
}
cudaStream_t stream_of(cudaStream_t stream) {
  if (stream) return stream;
  CUstream_st& own = world().own[std::this_thread::get_id()];
  world().streams.insert(&own);
  return &own;
}

void reset() {
  Lock const lock(world().mutex);
  world().faults.clear();
  world().calls.clear();
  world().devices = 8;
  world().version = NCCL_VERSION_CODE;
  world().polls = 2;
  world().hangs = world().misuses = 0;
  forget_communicators();
  for (auto const& [data, bytes] : world().memory) std::free(const_cast<std::byte*>(data));
  world().memory.clear();
}
void set_devices(int devices) { world().devices = devices; }
void set_version(int code) { world().version = code; }
void set_polls(int polls) { world().polls = polls; }
void fail(std::string function, int rank, int code, int skipped) {
  Lock const lock(world().mutex);
  world().faults.push_back({std::move(function), rank, code, skipped});
}
std::vector<Call> calls() {
  Lock const lock(world().mutex);
  return world().calls;
}
int allocations() {
  Lock const lock(world().mutex);
  return int(world().memory.size());
}
int events() {
  Lock const lock(world().mutex);
  return world().events;
}
int hangs() {
  Lock const lock(world().mutex);
  return world().hangs;
}
int misuses() {
  Lock const lock(world().mutex);
  return world().misuses;
}

} // namespace nccl_stand_in

cudaError_t cudaGetDeviceCount(int* count) {
  Lock const lock(world().mutex);
  *count = world().devices;
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
char const* cudaGetErrorString(cudaError_t error) {
  if (error == cudaErrorNoDevice) return "no CUDA-capable device is detected";
  if (error == cudaErrorMemoryAllocation) return "out of memory";
  return error == cudaSuccess ? "no error" : "an error of the stand-in's CUDA";
}

cudaError_t cudaMalloc(void** data, std::size_t bytes) { return allocate("cudaMalloc", data, bytes); }
cudaError_t cudaHostAlloc(void** data, std::size_t bytes, unsigned) { return allocate("cudaHostAlloc", data, bytes); }
cudaError_t cudaFree(void* data) { return release(data); }
cudaError_t cudaFreeHost(void* data) { return release(data); }
cudaError_t cudaMemset(void* data, int value, std::size_t bytes) {
  Lock const lock(world().mutex);
  if (!world().holds(data, bytes)) return cudaErrorInvalidValue;
  std::memset(data, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, void const* from, std::size_t bytes, cudaMemcpyKind) {
  cudaError_t const waited = wait_for([](cudaStream_t stream) { return stream == stream_of(nullptr); });
  Lock const lock(world().mutex);
  std::memcpy(to, from, bytes);
  return waited;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  Lock const lock(world().mutex);
  world().streams.insert(*stream = new CUstream_st);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  cudaError_t const waited = wait_for([&](cudaStream_t other) { return other == stream; });
  Lock const lock(world().mutex);
  world().streams.erase(stream);
  delete stream;
  return waited;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return wait_for([&](cudaStream_t other) { return other == stream_of(stream); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  Lock const lock(world().mutex);
  if (int const code = world().fault("cudaEventCreateWithFlags", -1)) return cudaError_t(code);
  *event = new CUevent_st;
  ++world().events;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  Lock const lock(world().mutex);
  --world().events;
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Lock const lock(world().mutex);
  if (int const code = world().fault("cudaEventRecord", -1)) return cudaError_t(code);
  auto marker = std::make_shared<Marker>();
  event->reached = marker->reached;
  stream_of(stream)->work.push_back(std::move(marker));
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  Lock const lock(world().mutex);
  if (int const code = world().fault("cudaEventQuery", -1)) return cudaError_t(code);
  world().advance();
  return *event->reached ? cudaSuccess : cudaErrorNotReady;
}
