// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Times on one NVIDIA GPU: route (forward with statistics), backward, plan, and all of them with the balancing between, for the
// shapes of published models, replayed as a CUDA graph. Beside each the floor: the bytes that must move over the bandwidth of a
// copy, and an empty launch. Prints a JSON array. Build and run: tests/gpu.sh.
#include <moebal/backend/cuda_view.hpp>
#include <moebal/backend/thrust.hpp>
#include <moebal/balance/loss_free_bias.hpp>
#include <moebal/balance/on_stream.hpp>
#include <moebal/balance/switch_loss.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/plan/group.hpp>
#include <moebal/router.hpp>
#include <moebal/select/group_limited_top_k.hpp>
#include <moebal/select/top_k.hpp>

#include <algorithm>
#include <cstdio>
#include <random>
#include <vector>

namespace {

using namespace moebal;
using M = DeviceMemory;

void check(cudaError_t status, char const* what) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "bench gpu: %s: %s\n", what, cudaGetErrorString(status));
  std::exit(1);
}
template <class T> using Device = thrust::device_vector<T>;
template <class T> T* raw(Device<T>& v) { return thrust::raw_pointer_cast(v.data()); }
template <class T> MatrixView<T, M> matrix(Device<T>& v, Index rows, Index cols) { return device_matrix(raw(v), rows, cols); }

struct EmptyKernel {
  MOEBAL_FN void operator()(Index) const {}
};

/// Microseconds of one `work`, in the median of nine replays of a graph that holds it `times` times.
template <class Work> double replayed(cudaStream_t stream, int times, Work const& work) {
  work(); // whatever is set up once
  check(cudaStreamSynchronize(stream), "a first run");
  cudaGraph_t graph{};
  cudaGraphExec_t launchable{};
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "begin of a capture");
  for (int i = 0; i < times; ++i) work();
  check(cudaStreamEndCapture(stream, &graph), "end of a capture");
  check(cudaGraphInstantiate(&launchable, graph, 0), "a graph");
  cudaEvent_t from{}, to{};
  check(cudaEventCreate(&from), "an event"), check(cudaEventCreate(&to), "an event");
  std::vector<float> ms;
  for (int run = 0; run < 11; ++run) {
    check(cudaEventRecord(from, stream), "an event");
    check(cudaGraphLaunch(launchable, stream), "a graph");
    check(cudaEventRecord(to, stream), "an event");
    check(cudaEventSynchronize(to), "an event");
    float t = 0;
    check(cudaEventElapsedTime(&t, from, to), "a time");
    if (run >= 2) ms.push_back(t); // the clock has risen
  }
  std::sort(ms.begin(), ms.end());
  cudaEventDestroy(from), cudaEventDestroy(to), cudaGraphExecDestroy(launchable), cudaGraphDestroy(graph);
  return 1e3 * double(ms[ms.size() / 2]) / times;
}

struct Floors {
  double launch_us = 0, bytes_per_us = 0;
};
Floors floors(cudaStream_t stream) {
  ThrustExec const exec{stream};
  std::size_t const bytes = std::size_t(256) << 20; // far past the caches
  Device<std::byte> from(bytes), to(bytes);
  double const us = replayed(stream, 4, [&] {
    check(cudaMemcpyAsync(raw(to), raw(from), bytes, cudaMemcpyDeviceToDevice, stream), "a copy");
  });
  return {replayed(stream, 64, [&] { exec.for_each(1, EmptyKernel{}); }), 2.0 * double(bytes) / us};
}

bool first = true;
void print(char const* op, char const* model, Index T, Index E, Index K, double us, double bytes, Floors const& floor) {
  std::printf("%s\n  {\"op\": \"%s\", \"model\": \"%s\", \"T\": %lld, \"E\": %lld, \"K\": %lld, \"us\": %.3f, \"copy_us\": %.3f, "
              "\"launch_us\": %.3f}",
              first ? "[" : ",", op, model, static_cast<long long>(T), static_cast<long long>(E), static_cast<long long>(K), us,
              bytes / floor.bytes_per_us, floor.launch_us);
  std::fflush(stdout);
  first = false;
}

template <class Router>
void layer(char const* model, Router router, Index T, Index E, cudaStream_t stream, Floors const& floor) {
  constexpr Index K = Router::top_k;
  using Needs = SwitchLoss<>::needs;
  using Pooled = SwitchLoss<>::pooled;
  ThrustExec const exec{stream};
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<BFloat16> drawn(std::size_t(T * E));
  for (auto& x : drawn) {
    float const f = normal(random);
    std::uint32_t bits;
    __builtin_memcpy(&bits, &f, 4);
    std::uint16_t const high = std::uint16_t(bits >> 16);
    __builtin_memcpy(&x, &high, 2);
  }
  Device<BFloat16> logits(drawn);
  Device<float> bias(E), weights(T * K), d_weights(T * K, 1.0f), slopes(E), d_logits(T * E);
  Device<ExpertId> ids(T * K);
  Device<std::int64_t> load(Needs::slots(E)), pooled(Pooled::slots(E));
  Device<Index> offsets(E + 1), order(T * K), slot_of(T * K), loads(E), kept(E);
  std::size_t const bytes = std::max(router.template workspace_bytes<Needs, BFloat16>(exec, T, E),
                                     plan_workspace_bytes<float>(exec, PlanPolicy<>{}, T, K, E));
  Device<std::byte> scratch(bytes);
  WorkspaceView<M> const workspace(raw(scratch), bytes);
  MatrixView<BFloat16 const, M> const z(raw(logits), T, E);
  RowOptions<M> const options{.bias = {raw(bias), E}};
  RoutingView<float, M> const routing{matrix(ids, T, K), matrix(weights, T, K)};
  LoadView<Needs, M> const load_view(raw(load), 1, E);
  LoadView<Pooled, M> const window(raw(pooled), 1, E);
  PlanTarget<M> const plan{{raw(offsets), E + 1}, {raw(order), T * K}, matrix(slot_of, T, K), {raw(loads), E}, {raw(kept), E}};

  auto const route = [&] { router.template route_into<Needs>(exec, z, options, routing, load_view, workspace); };
  auto const backward = [&] {
    router.backward_into(exec, z, options, MatrixView<ExpertId const, M>(routing.expert_ids),
                         RouterGradient<float, M>{.d_weights = matrix(d_weights, T, K), .slopes = matrix(slopes, 1, E)},
                         matrix(d_logits, T, E), workspace);
  };
  auto const group = [&] { plan_into(exec, PlanPolicy<>{}, E, routing, plan, workspace); };
  auto const pipeline = [&] {
    exec.fill(VectorView<std::int64_t, M>(raw(pooled), window.size()), std::int64_t(0));
    route();
    add_to_window(exec, SwitchLoss<>{}, load_view, window);
    group();
    slopes_into(exec, SwitchLoss<>{}, {.top_k = K}, load_view, window, matrix(slopes, 1, E));
    backward();
    move_bias_into(exec, LossFreeBias{.rate = 0}, {.top_k = K}, window, VectorView<float, M>(raw(bias), E));
  };
  double const read = 2.0 * double(T * E), chosen = double(T * K), written = 4.0 * double(T * E);
  int const times = T <= 4096 ? 20 : 5;
  print("route", model, T, E, K, replayed(stream, times, route), read + 8 * chosen, floor);
  print("backward", model, T, E, K, replayed(stream, times, backward), read + written + 8 * chosen, floor);
  print("plan", model, T, E, K, replayed(stream, times, group), 4 * chosen + 16 * chosen, floor);
  print("pipeline", model, T, E, K, replayed(stream, times, pipeline), 2 * read + written + 36 * chosen, floor);
}

} // namespace

int main() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) return 77;
  cudaStream_t stream{};
  check(cudaStreamCreate(&stream), "a stream");
  Floors const floor = floors(stream);
  for (Index const T : {1, 64, 1024, 4096, 16384, 65536}) {
    layer("mixtral", Router{TopK<2>{}, SoftmaxOverChosen{}}, T, 8, stream, floor);
    layer("qwen3", Router{TopK<8>{}, Softmax{.normalise = Normalise::OverChosen}}, T, 128, stream, floor);
    layer("plain_256", Router{TopK<8>{}, Softmax{}}, T, 256, stream, floor);
    layer("deepseek_v3", Router{GroupLimitedTopK<8>{.groups = 8, .kept = 4}, Sigmoid{.scale = 2.5f}}, T, 256, stream, floor);
    layer("kimi_k2", Router{TopK<8>{}, Sigmoid{.scale = 2.827f}}, T, 384, stream, floor);
  }
  std::printf("\n]\n");
}
