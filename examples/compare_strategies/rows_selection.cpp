// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Selections that look at one token at a time, and what needs no rule.

#include "registry.hpp"

#include <moebal/gate/softmax.hpp>
#include <moebal/select/hash.hpp>
#include <moebal/select/top_p.hpp>
#include <moebal/select/two_level.hpp>

using namespace moebal;

namespace lab {

std::vector<Row> selection_rows() {
  return {
      row({"top_p", "Top-p", "shortest prefix > 0.4, at most 8", "softmax, not normalised", "c E sum_e f_e P_e + 1e-4 mean H_t",
           "https://arxiv.org/abs/2403.07652"},
          [](Make const& m) {
            return Recipe{.select = TopP<8>{}, .gate = Softmax{},
                          .balance = balance(at(MicroBatch<>{}, SwitchLoss<>{.coefficient = m.coefficient})), .map = EntropyMap{},
                          .choices = 2};
          }),
      row({"hash_random", "Hash layers, random", "table[token id]", "none", "by construction, on average", "https://arxiv.org/abs/2106.04426"},
          [](Make const& m) {
            return Recipe{.select = m.random_1->selection<1>(), .gate = SoftmaxOverChosen{}, .tags = Tags::TokenId};
          }),
      row({"hash_balanced", "Hash layers, balanced by frequency", "table[token id]", "none", "by construction", "https://arxiv.org/abs/2106.04426"},
          [](Make const& m) {
            return Recipe{.select = m.balanced_1->selection<1>(), .gate = SoftmaxOverChosen{}, .tags = Tags::TokenId};
          }),
      row({"two_level", "PanGu-Sigma, two levels", "top-K in the group of the token's domain", "softmax of the kept", "c E sum_e f_e P_e",
           "https://arxiv.org/abs/2303.10845"},
          [](Make const& m) {
            return Recipe{.select = TwoLevel<TopK<2>>{.inner = {}, .groups = domains}, .gate = SoftmaxOverChosen{},
                          .balance = balance(at(MicroBatch<>{}, SwitchLoss<>{.coefficient = m.coefficient})),
                          .tags = Tags::Domain};
          }),
      row({"forced", "Forced balance (Megatron)", "top-K of random numbers", "softmax", "by construction, on average",
           "https://github.com/NVIDIA/Megatron-LM"},
          [](Make const&) { return Recipe{.select = TopK<2>{}, .gate = SoftmaxOverChosen{}, .map = RandomMap{}}; }),
  };
}

std::vector<Absent> const& absent() {
  static std::vector<Absent> const all{
      {"EPLB", "places experts and routes nothing: rebalance() of plan/rebalance.hpp", "https://github.com/deepseek-ai/EPLB"},
      {"Quantile balancing, exact", "quantile_duals() of balance/quantile.hpp reads the scores of the whole batch, which no statistic holds; "
                                    "quantile is its histogram form",
       "https://kexue.fm/archives/11619"},
      {"Online k-means router", "OnlineKMeans of balance/online_k_means.hpp moves its centroids by sums over all ranks, and by no gradient: "
                                "no map of the lab can",
       "https://arxiv.org/abs/2605.12476"},
      {"ReMoE's lambda of all layers", "SharedSparsity of balance/shared_sparsity.hpp; the lab balances one layer: remoe", "https://arxiv.org/abs/2412.14711"},
      {"DiffMoE's predictor", "Predictor of gate/predictor.hpp and its choice_predictions_into learn from the tokens beside the router; diffmoe is evaluated "
                              "by its threshold on the router's own scores",
       "https://arxiv.org/abs/2503.14487"},
      {"BASE's shuffle over ranks", "RankShuffle of plan/rank_shuffle.hpp moves tokens between ranks, which the lab leaves where they are", "https://arxiv.org/abs/2103.16716"},
  };
  return all;
}

} // namespace lab
