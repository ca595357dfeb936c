// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The machines whose step times are reckoned: this one as examples/mpi_links has measured it, and the paper's as it is
// published.

#include <moebal/plan/step_time.hpp>

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace moebal::cost {
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Link, latency, message, bandwidth)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Processor, flops, start_rows)
} // namespace moebal::cost

namespace locality {

using moebal::Index;

/// Machine to JSON and back. Its ways are those of ranks that are processes: one processor a rank moves all bytes.
inline nlohmann::json to_json(moebal::cost::Machine const& m) {
  return {
      {"rank", m.network.rank}, {"node", m.network.node}, {"between", m.network.between}, {"processor", m.processor}};
}
inline moebal::cost::Machine machine_of(nlohmann::json const& j) {
  using namespace moebal::cost;
  return {.network = {.rank = j.at("rank").get<Link>(),
                      .node = j.at("node").get<Link>(),
                      .between = j.at("between").get<Link>(),
                      .levels = Levels::InTurn},
          .processor = j.at("processor").get<Processor>()};
}

/// A published figure: what the model takes, within which limits it is varied, and who says so.
struct Figure {
  char const* name;
  char const* unit;
  double value, low, high; // low = high: not varied
  char const* source;
};

/// The Ascend 910A server of the LocMoE paper: 8 devices a node. A rank is a tensor-parallel group: all 8, or an equal
/// part of them. Each device sends its part of a row; what tensor parallelism itself sends is the same for all routers.
namespace ascend {
inline constexpr Figure tflops{
    "peak, fp16", "TFLOP/s a device", 256, 256, 256, "Huawei at Hot Chips 31 (2019): 256 TFLOPS fp16"};
inline constexpr Figure utilisation{"of the peak, in expert products",      "", 0.4, 0.25, 0.55,
                                    "not published for this set-up; varied"};
inline constexpr Figure hccs{
    "inside a node (HCCS)",
    "GB/s a device",
    30,
    15,
    90,
    "Hot Chips 31: 3 ports of 240 Gb/s; groups of 4 joined by HCCS, the two groups of a server by "
    "PCIe (Huawei Cloud, CCE, affinity scheduling of NPUs)"};
inline constexpr Figure roce{
    "between nodes (RoCE v2)",
    "GB/s a device",
    12.5,
    6.25,
    25,
    "Hot Chips 31: RoCE v2 of 2 x 100 Gb/s a chip; one port taken, for want of a figure of what "
    "a server brings out"};
inline constexpr Figure latency{
    "of a message",
    "us",
    20,
    2,
    100,
    "RDMA itself 1 to 2 us one way; what the collective library adds is not published; varied"};
inline constexpr Index devices = 8; // of a node

/// The published values, or others in their place.
struct Values {
  double utilisation = ascend::utilisation.value, hccs = ascend::hccs.value, roce = ascend::roce.value,
         latency = ascend::latency.value;
};
inline moebal::cost::Machine machine(Index ranks_per_node, Values const& values = {}) {
  double const devices_a_rank = double(devices) / double(ranks_per_node), wait = values.latency * 1e-6;
  return {.network = {.node = {wait, 0, devices_a_rank * values.hccs * 1e9},
                      .between = {wait, 0, devices_a_rank * values.roce * 1e9}},
          .processor = {.flops = devices_a_rank * tflops.value * 1e12 * values.utilisation}};
}
/// 40 heads of 128: PanGu's 5120, and 4 times that inside; 16 bits.
inline constexpr moebal::cost::Expert expert{.width = 5120, .hidden = 20480, .matrices = 2, .element_bytes = 2};
} // namespace ascend

} // namespace locality
