// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Losses over counts, by scope, and what is dropped.

#include "registry.hpp"

#include <moebal/balance/importance_loss.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/select/second_expert.hpp>

using namespace moebal;

namespace lab {

namespace {
constexpr Softmax over_chosen{.normalise = Normalise::OverChosen};
constexpr Sigmoid raw{.normalise = Normalise::None};
constexpr char const* switch_formula = "c E sum_e c_e / (K T) P_e";
constexpr char const* demons = "https://arxiv.org/abs/2501.11873";
} // namespace

std::vector<Row> loss_rows() {
  return {
      row({"none_softmax", "no balancing", "top-K", "softmax", "-", "-"},
          [](Make const&) { return Recipe{.select = TopK<2>{}, .gate = over_chosen}; }),
      row({"none_sigmoid", "no balancing", "top-K", "sigmoid, not normalised", "-", "-"},
          [](Make const&) { return Recipe{.select = TopK<2>{}, .gate = raw}; }),
      row({"loss_sequence", "sequence-wise balance loss", "top-K", "softmax", switch_formula, "https://arxiv.org/abs/2405.04434"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = over_chosen,
                          .balance = balance(at(Sequence<>{}, SwitchLoss<>{.coefficient = m.coefficient}))};
          }),
      row({"loss_micro", "Micro-batch LBL", "top-K", "softmax", switch_formula, "https://arxiv.org/abs/2101.03961"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = over_chosen,
                          .balance = balance(at(MicroBatch<>{}, SwitchLoss<>{.coefficient = m.coefficient}))};
          }),
      row({"loss_micro_raw", "Micro-batch LBL, weights not normalised", "top-K", "softmax, not normalised", switch_formula, "https://arxiv.org/abs/2101.03961"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = Softmax{}, .balance = balance(at(MicroBatch<>{}, SwitchLoss<>{.coefficient = m.coefficient}))};
          }),
      row({"loss_ranks", "Global-batch LBL without a buffer", "top-K", "softmax", switch_formula, demons},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = over_chosen,
                          .balance = balance(at(GlobalBatch<>{}, SwitchLoss<>{.coefficient = m.coefficient}))};
          }),
      row({"loss_running", "Global-batch LBL (Demons)", "top-K", "softmax", switch_formula, demons},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = over_chosen,
                          .balance = balance(at(GlobalBatch<Accumulate::Running>{}, SwitchLoss<>{.coefficient = m.coefficient}))};
          }),
      row({"loss_global", "Global-batch LBL, exact", "top-K", "softmax", switch_formula, demons},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = over_chosen,
                          .balance = balance(at(GlobalBatch<Accumulate::TwoPass>{}, SwitchLoss<>{.coefficient = m.coefficient}))};
          }),
      row({"loss_micro_sigmoid", "Micro-batch LBL, sigmoid gate", "top-K", "sigmoid, not normalised", switch_formula, "https://arxiv.org/abs/2408.15664"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = raw, .balance = balance(at(MicroBatch<>{}, SwitchLoss<>{.coefficient = m.coefficient}))};
          }),
      row({"loss_global_sigmoid", "Global-batch LBL, exact, sigmoid gate", "top-K", "sigmoid, not normalised", switch_formula, demons},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = raw,
                          .balance = balance(at(GlobalBatch<Accumulate::TwoPass>{}, SwitchLoss<>{.coefficient = m.coefficient}))};
          }),
      row({"loss_global_micro", "Global-batch LBL with 1 % of it by micro-batch", "top-K", "softmax", switch_formula, demons},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = over_chosen,
                          .balance = balance(at(GlobalBatch<Accumulate::Running>{}, SwitchLoss<>{.coefficient = m.coefficient}),
                                             at(MicroBatch<>{}, SwitchLoss<>{.coefficient = m.coefficient / 100}))};
          }),
      row({"loss_subset", "Shuffled-batch LBL (Demons)", "top-K", "softmax", switch_formula, demons},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = over_chosen,
                          .balance = balance(at(RandomSubset{}, SwitchLoss<>{.coefficient = m.coefficient}))};
          }),
      row({"switch", "Switch", "top-1", "softmax, not normalised", "c E sum_e c_e / T P_e; capacity", "https://arxiv.org/abs/2101.03961"},
          [](Make const& m) {
            return Recipe{.select = TopK<1>{}, .gate = Softmax{},
                          .balance = balance(at(MicroBatch<>{}, SwitchLoss<>{.coefficient = m.coefficient})),
                          .map = JitterMap{}};
          }),
      row({"gshard", "GShard top-2", "top-2, the second at random", "softmax over the kept", "c E sum_e c1_e / T P_e; capacity",
           "https://arxiv.org/abs/2006.16668"},
          [](Make const& m) {
            return Recipe{.select = SecondExpert{}, .gate = over_chosen,
                          .balance = balance(at(MicroBatch<>{}, SwitchLoss<Choices::First>{.coefficient = m.coefficient})),
                          .drop = DropByPosition<>{}};
          }),
      row({"st_moe", "ST-MoE z-loss", "top-K", "softmax", "c E sum_e c_e / (K T) P_e + 1e-3 mean lse^2",
           "https://arxiv.org/abs/2202.08906"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = over_chosen,
                          .balance = balance(at(MicroBatch<>{}, Rules{SwitchLoss<>{.coefficient = m.coefficient},
                                                                      ZLoss{.coefficient = 1e-3}}))};
          }),
      row({"bpr", "BPR (V-MoE)", "top-K, slots by priority", "softmax, not normalised", "c CV^2(sum_t p_te); capacity",
           "https://arxiv.org/abs/2106.05974"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = Softmax{},
                          .balance = balance(at(MicroBatch<>{}, ImportanceLoss{.coefficient = m.coefficient})),
                          .drop = DropBatchPrioritised{}};
          }),
      row({"minimax", "MiniMax-01", "top-2, drops over all ranks", "softmax", "c E sum_e c_e / (K T) P_e; global capacity",
           "https://arxiv.org/abs/2501.08313"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = over_chosen,
                          .balance = balance(at(GlobalBatch<>{}, SwitchLoss<>{.coefficient = m.coefficient})),
                          .drop = DropByPosition<>{}, .capacity_of = CapacityOf::AllRanks};
          }),
      row({"noisy_top_k", "Noisy top-K", "top-K of noisy logits", "softmax of the kept", "c CV^2(sum_t p_te) + c CV^2(smooth load)",
           "https://arxiv.org/abs/1701.06538"},
          [](Make const& m) {
            NoisyMap<LearnedNoise, LoadThreshold::LeaveOneOut, 2> map;
            map.load_coefficient = m.coefficient;
            return Recipe{.select = TopK<2>{}, .gate = SoftmaxOverChosen{},
                          .balance = balance(at(MicroBatch<>{}, ImportanceLoss{.coefficient = m.coefficient})), .map = map};
          }),
      row({"noisy_v_moe", "V-MoE noise", "top-K of noisy logits", "softmax, not normalised", "c CV^2(sum_t p_te) + c CV^2(smooth load)",
           "https://arxiv.org/abs/2106.05974"},
          [](Make const& m) {
            NoisyMap<FixedNoise, LoadThreshold::KthNoisy, 2> map;
            map.load_coefficient = m.coefficient;
            return Recipe{.select = TopK<2>{}, .gate = Softmax{},
                          .balance = balance(at(MicroBatch<>{}, ImportanceLoss{.coefficient = m.coefficient})), .map = map};
          }),
  };
}

} // namespace lab
