// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "group_limited_top_k.hpp"

namespace moebal {

/// Device-limited routing of DeepSeek-V2 (arXiv 2405.04434): the K best experts on the `kept` devices whose best
/// expert is best, so that a token is sent to at most `kept` devices. It is GroupLimitedTopK with the groups being
/// devices and GroupScore::Max; 8 and 3 are the paper's, which found 3 or more close to no limit. With Softmax.
/// Losses that go with it: expert, device and communication balance.
template <int K> constexpr GroupLimitedTopK<K> device_limited_top_k(Index devices = 8, Index kept = 3) {
  return {.groups = devices, .kept = kept, .score = GroupScore::Max};
}

} // namespace moebal
