// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "memory.hpp"

#include <functional>
#include <memory>
#include <string>

namespace bench {

/// From x [T, D] and W [E, D] to ids and weights, for a model's shape.
struct GateRoute {
  moebal::Index tokens, hidden, experts;
  float const *x, *w;
  std::function<void()> ours, ours_packed, eigen;
};
std::shared_ptr<GateRoute> gate_route(std::string const& shape, moebal::Index tokens);
inline constexpr char const* gate_shapes[] = {"mixtral", "olmoe", "qwen3", "gptoss", "switch", "deepseek_v3", "kimi_k2"};

} // namespace bench
