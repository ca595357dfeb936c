// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Losses that know devices, zero-computation experts, potentials or places.

#include "registry.hpp"

#include <moebal/balance/communication_loss.hpp>
#include <moebal/balance/device_loss.hpp>
#include <moebal/balance/load_weighted_l1.hpp>
#include <moebal/balance/locality_loss.hpp>
#include <moebal/balance/mean_entropy_loss.hpp>
#include <moebal/balance/per_class.hpp>
#include <moebal/balance/phi_loss.hpp>
#include <moebal/balance/zero_expert_bias.hpp>
#include <moebal/balance/zero_expert_device_loss.hpp>
#include <moebal/gate/raw_balance.hpp>
#include <moebal/gate/relu.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/select/device_limited.hpp>
#include <moebal/select/threshold.hpp>

using namespace moebal;

namespace lab {

namespace {
constexpr Softmax over_chosen{.normalise = Normalise::OverChosen};
using Devices = ExpertBlocks<4>;
} // namespace

std::vector<Row> more_loss_rows() {
  return {
      row({"deepseek_moe", "DeepSeekMoE", "top-K", "softmax, not normalised", "c sum_e f_e P_e + c sum_j f'_j P'_j", "https://arxiv.org/abs/2401.06066"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = Softmax{},
                          .balance = balance(at(MicroBatch<>{}, Rules{SwitchLoss<>{.coefficient = m.coefficient / 2},
                                                                      DeviceLoss<Devices>{.coefficient = m.coefficient / 2}}))};
          }),
      row({"deepseek_v2", "DeepSeek-V2", "top-K on the 2 best of 4 devices (by their best expert)", "softmax, not normalised",
           "c1 sum_e f_e P_e + c2 sum_j f'_j P'_j + c3 sum_j f''_j P''_j", "https://arxiv.org/abs/2405.04434"},
          [](Make const& m) {
            return Recipe{.select = device_limited_top_k<2>(4, 2), .gate = Softmax{},
                          .balance = balance(at(Sequence<>{},
                                                Rules{SwitchLoss<>{.coefficient = m.coefficient / 2},
                                                      DeviceLoss<Devices>{.coefficient = m.coefficient / 3},
                                                      CommunicationLoss<Devices>{.coefficient = m.coefficient / 6,
                                                                                 .devices_per_token = 2}}))};
          }),
      row({"moe_pp", "MoE++", "top-K incl. zero-computation experts (the last quarter of E)", "softmax, not normalised",
           "c sum_e eta_e f_e P_e, eta = 0.75 for zero-computation experts", "https://arxiv.org/abs/2410.07348"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = Softmax{},
                          .balance = balance(at(MicroBatch<>{}, PerClass<SwitchLoss<>, Devices>{
                                                                    .rule = {.coefficient = m.coefficient},
                                                                    .weights = {1, 1, 1, 0.75}})),
                          .zeros = {.ffn = m.computing(), .zero = (m.experts - m.computing()) / 2,
                                    .copy = m.experts - m.computing() - (m.experts - m.computing()) / 2}};
          }),
      row({"longcat", "LongCat-Flash", "top-K of p + b, the last quarter of E identity experts", "softmax x 6",
           "b_e += u (K_e / (K N) - c_e / (K T)) for the N networks + device loss", "https://arxiv.org/abs/2509.01322"},
          [](Make const& m) {
            double const choices = 1.5;
            return Recipe{
                .select = TopK<2>{}, .gate = Softmax{.scale = 6},
                .balance = balance(at(GlobalBatch<Accumulate::Running>{},
                                      ZeroExpertBias{.rate = float(m.rate), .computing_experts = m.computing(),
                                                     .computing_choices = choices}),
                                   at(MicroBatch<>{}, ZeroExpertDeviceLoss<4>{.coefficient = m.coefficient / 100,
                                                                              .computing_experts = m.computing(),
                                                                              .computing_choices = choices})),
                .zeros = {.ffn = m.computing(), .copy = m.experts - m.computing()}};
          }),
      row({"locmoe", "LocMoE", "top-1", "softmax of chunk means", "c E sum_e f_e P_e + c KL(mean p || local)",
           "https://arxiv.org/abs/2401.13920"},
          [](Make const& m) {
            return Recipe{.select = TopK<1>{}, .gate = Softmax{},
                          .balance = balance(at(MicroBatch<>{}, Rules{SwitchLoss<>{.coefficient = m.coefficient},
                                                                      LocalityLoss{.local = m.local,
                                                                                   .coefficient = m.coefficient / 10}})),
                          .map = GrapMap{}};
          }),
      row({"x_moe", "X-MoE", "top-K", "softmax of cosine / temperature", "c E sum_e f_e P_e", "https://arxiv.org/abs/2204.09179"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = Softmax{},
                          .balance = balance(at(MicroBatch<>{}, SwitchLoss<>{.coefficient = m.coefficient})), .map = CosineMap{}};
          }),
      row({"remoe", "ReMoE", "z > 0, at most 8", "ReLU", "lambda E / (K T^2) sum_e c_e sum_t r_te, lambda *= 1.2^sign",
           "https://arxiv.org/abs/2412.14711"},
          [](Make const&) {
            return Recipe{.select = Threshold<8>{}, .gate = RawBalance{ReLU{}},
                          .balance = balance(at(GlobalBatch<>{}, LoadWeightedL1{.first = 1e-3f, .active = 2})), .choices = 2};
          }),
      row({"phi", "phi-balancing", "top-K", "softmax", "c sum_e P_e (ln m_e + 1), m an average over steps",
           "https://arxiv.org/abs/2605.15403"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = over_chosen,
                          .balance = balance(at(GlobalBatch<Accumulate::Running>{}, PhiLoss{.coefficient = m.coefficient, .rate = 0.1}))};
          }),
      row({"mean_entropy", "entropy of the mean scores", "top-K", "softmax", "c (ln E - H(P))", "-"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = over_chosen,
                          .balance = balance(at(GlobalBatch<>{}, MeanEntropyLoss{.coefficient = m.coefficient}))};
          }),
      row({"simbal", "SimBal", "top-K", "softmax", "c |W W^T - I|, rows of W normalised", "https://arxiv.org/abs/2506.14038"},
          [](Make const&) { return Recipe{.select = TopK<2>{}, .gate = over_chosen, .map = OrthogonalMap{}}; }),
      row({"llama4", "Llama 4", "top-1, weight on the input", "sigmoid", "c E sum_e f_e P_e", "https://github.com/meta-llama/llama-models"},
          [](Make const& m) {
            return Recipe{.select = TopK<1>{}, .gate = Sigmoid{.normalise = Normalise::None},
                          .balance = balance(at(MicroBatch<>{}, SwitchLoss<>{.coefficient = m.coefficient}))};
          }),
      row({"gpt_oss", "gpt-oss", "top-K of logits", "softmax of the kept", "not published", "https://github.com/openai/gpt-oss"},
          [](Make const&) { return Recipe{.select = TopK<2>{}, .gate = SoftmaxOverChosen{}}; }),
  };
}

} // namespace lab
