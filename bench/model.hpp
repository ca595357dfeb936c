// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How models route, as the peers read it. The library's routers of the same names are in ours.cpp.

#include <moebal/core/ids.hpp>

#include <vector>

namespace bench {

using moebal::ExpertId;
using moebal::Index;

struct Model {
  enum class Score { softmax, softmax_over_chosen, sigmoid };
  char const* name;
  Index experts, top_k;
  Score score = Score::softmax;
  bool normalise = true; // the weights of a token sum to `scale`
  float scale = 1;
  Index groups = 1, kept = 1; // groups are ranked by their best two
  bool biased = false;

  std::vector<float> bias() const {
    std::vector<float> values(biased ? std::size_t(experts) : 0);
    for (std::size_t e = 0; e < values.size(); ++e) values[e] = 0.01f * float(e % 7);
    return values;
  }
};

inline constexpr Model models[] = {
    {"mixtral", 8, 2},
    {"olmoe", 64, 8, Model::Score::softmax, false},
    {"qwen3", 128, 8},
    {"gptoss", 128, 4, Model::Score::softmax_over_chosen},
    {"switch", 128, 1, Model::Score::softmax, false},
    {"deepseek_v3", 256, 8, Model::Score::sigmoid, true, 2.5f, 8, 4, true},
    {"kimi_k2", 384, 8, Model::Score::sigmoid, true, 2.827f, 1, 1, true},
};

/// Shapes of no model: any number of experts, softmax, K = 8.
inline constexpr Model odd_models[] = {{"e16", 16, 8},   {"e32", 32, 8},   {"e60", 60, 8},   {"e64", 64, 8},
                                       {"e72", 72, 8},   {"e128", 128, 8}, {"e160", 160, 8}, {"e192", 192, 8},
                                       {"e256", 256, 8}, {"e288", 288, 8}, {"e320", 320, 8}, {"e512", 512, 8}};

} // namespace bench
