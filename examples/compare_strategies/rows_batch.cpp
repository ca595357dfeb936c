// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Selections that look at all tokens of a micro-batch.

#include "registry.hpp"

#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/select/auction.hpp>
#include <moebal/select/batch_pool.hpp>
#include <moebal/select/bidirectional.hpp>
#include <moebal/select/bip.hpp>
#include <moebal/select/expert_choice.hpp>
#include <moebal/select/no_token_left_behind.hpp>
#include <moebal/select/overflow_recycling.hpp>
#include <moebal/select/sinkhorn.hpp>
#include <moebal/select/swipe.hpp>
#include <moebal/select/topology_capped.hpp>

using namespace moebal;

namespace lab {

namespace {
constexpr Softmax over_chosen{.normalise = Normalise::OverChosen};
} // namespace

std::vector<Row> batch_rows() {
  return {
      row({"locmoe_plus", "LocMoE+ / ETR", "top-K, then the best C tokens of each expert", "softmax of cosines to GrAP rows", "capacity 1.1 T / E an expert",
           "https://arxiv.org/abs/2406.00023"},
          [](Make const&) {
            return Recipe{.select = Bidirectional<2>{.slots = {.per_token = 2.2}}, .gate = over_chosen, .map = CosineGrapMap{}};
          }),
      row({"base", "BASE", "linear assignment (auction)", "sigmoid", "each expert gets T / E tokens", "https://arxiv.org/abs/2103.16716"},
          [](Make const&) { return Recipe{.select = Auction{.epsilon = 1e-2}, .gate = Sigmoid{}}; }),
      row({"sinkhorn", "S-BASE (Sinkhorn)", "top-K of scaled exp(z)", "softmax, not normalised", "rows sum to 1 / T, columns to 1 / E", "https://arxiv.org/abs/2202.01169"},
          [](Make const&) { return Recipe{.select = Sinkhorn<2>{}, .gate = Softmax{}}; }),
      row({"expert_choice", "Expert choice", "the best 2 T / E tokens of each expert, at most 8 a token", "softmax, not normalised", "by construction",
           "https://arxiv.org/abs/2202.09368"},
          [](Make const&) { return Recipe{.select = ExpertChoice<8>{}, .gate = Softmax{}, .choices = 2}; }),
      row({"diffmoe", "DiffMoE", "the best 2 T / E tokens of the batch, at most 8 a token", "softmax, not normalised", "by construction; thresholds at inference",
           "https://arxiv.org/abs/2503.14487"},
          [](Make const&) {
            return Recipe{.select = BatchPool<8>{.slots = {.per_token = 2, .rounding = SlotRounding::Down}}, .gate = Softmax{}, .choices = 2};
          }),
      row({"bip", "BIP", "top-K of s - q after 4 rounds", "softmax, not normalised", "q: non-negative duals of this batch", "https://arxiv.org/abs/2502.15451"},
          [](Make const&) { return Recipe{.select = Bip<2>{}, .gate = Softmax{}}; }),
      row({"fastermoe", "FasterMoE gate", "top-2, off-node cap 0.14", "softmax", "c E sum_e f_e P_e; topology cap", "https://github.com/laekov/fastmoe"},
          [](Make const& m) {
            return Recipe{.select = TopologyCapped<2>{.local = m.local}, .gate = over_chosen,
                          .balance = balance(at(MicroBatch<>{}, SwitchLoss<>{.coefficient = m.coefficient}))};
          }),
      row({"no_token_left_behind", "No token left behind", "top-1, then the next best with room", "softmax, not normalised", "capacity 1.25 T / E",
           "https://github.com/tensorflow/mesh"},
          [](Make const&) { return Recipe{.select = NoTokenLeftBehind{}, .gate = Softmax{}}; }),
      row({"overflow_recycling", "Overflow recycling (Hunyuan-Large)", "top-K, overflow to a random expert with room", "softmax", "capacity K T / E",
           "https://arxiv.org/abs/2411.02265"},
          [](Make const&) { return Recipe{.select = OverflowRecycling<2>{}, .gate = over_chosen}; }),
      row({"swipe", "SWIPE (BaGuaLu)", "top-K, overflow to the next expert with room", "softmax of the kept", "capacity K T / E",
           "https://github.com/laekov/fastmoe"},
          [](Make const&) { return Recipe{.select = Swipe<2>{}, .gate = SoftmaxOverChosen{}}; }),
  };
}

} // namespace lab
