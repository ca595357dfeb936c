// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Rules that move a selection bias, without a gradient.

#include "registry.hpp"

#include <moebal/balance/momentum_tanh_bias.hpp>
#include <moebal/balance/multiplicative_bias.hpp>
#include <moebal/balance/proportional_bias.hpp>
#include <moebal/balance/quantile_histogram.hpp>
#include <moebal/balance/rms_bias.hpp>
#include <moebal/balance/schedule.hpp>
#include <moebal/balance/threshold_quantile.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/gate/sqrt_softplus.hpp>
#include <moebal/select/group_limited_top_k.hpp>
#include <moebal/select/hash.hpp>
#include <moebal/select/threshold.hpp>

using namespace moebal;

namespace lab {

namespace {
constexpr GlobalBatch<Accumulate::Running> step{};
constexpr char const* loss_free = "https://arxiv.org/abs/2408.15664";
constexpr Sigmoid raw{.normalise = Normalise::None}; // as the paper weighs
constexpr GroupLimitedTopK<2> grouped{.groups = 4, .kept = 2};
using Complementary = SwitchLoss<Choices::All, CountSource::Unbiased>;
} // namespace

std::vector<Row> bias_rows() {
  return {
      row({"loss_free", "Loss-free, sign", "top-K of s + b", "sigmoid, not normalised", "b_e += u sign(mean c - c_e)", loss_free},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = raw, .balance = balance(at(step, LossFreeBias{.rate = float(m.rate)}))};
          }),
      row({"loss_free_softmax", "Loss-free, softmax gate", "top-K of s + b", "softmax", "b_e += u sign(mean c - c_e)", loss_free},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = Softmax{.normalise = Normalise::OverChosen},
                          .balance = balance(at(step, LossFreeBias{.rate = float(m.rate / 3)}))};
          }),
      row({"loss_free_micro", "Loss-free, counts of one micro-batch", "top-K of s + b", "sigmoid, not normalised", "b_e += u sign(mean c - c_e)", loss_free},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = raw,
                          .balance = balance(at(MicroBatch<>{}, LossFreeBias{.rate = float(m.rate)}))};
          }),
      row({"loss_free_proportional", "Loss-free, proportional", "top-K of s + b", "sigmoid, not normalised", "b_e += u E (1 / E - F_e)", loss_free},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = raw,
                          .balance = balance(at(step, ProportionalBias{.rate = float(2 * m.rate)}))};
          }),
      row({"loss_free_multiplicative", "Loss-free, multiplicative", "top-K of s b", "sigmoid, not normalised", "b_e += u sign(mean c - c_e), from 1", loss_free},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = raw,
                          .balance = balance(at(step, MultiplicativeBias{.rate = float(2 * m.rate)}))};
          }),
      row({"loss_free_rms", "Loss-free, RMS", "top-K of s + b", "sigmoid, not normalised", "b -= u (F - Q) / RMS(F - Q)", "https://kexue.fm/archives/10757"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = raw, .balance = balance(at(step, RmsBias{.rate = float(m.rate)}))};
          }),
      row({"loss_free_zero_mean", "Loss-free, zero-mean", "top-K of s + b", "sigmoid, not normalised", "b += d - mean d, d_e = u sign(mean c - c_e)",
           "https://github.com/pytorch/torchtitan"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = raw,
                          .balance = balance(at(step, LossFreeBias{.rate = float(m.rate), .centring = Centring::Mean}))};
          }),
      row({"loss_free_annealed", "ALF theory", "top-K of s + b", "sigmoid, not normalised", "b_e += u / sqrt(n) sign(mean c - c_e)",
           "https://arxiv.org/abs/2512.03915"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = raw,
                          .balance = balance(at(step, annealed(LossFreeBias{.rate = float(8 * m.rate)}, OverRootSteps{})))};
          }),
      row({"smebu", "SMEBU", "top-K of s + b", "sigmoid", "m = (m + d) / 2, b += m, d = u tanh(2 v) - mean, v_e = 1 - c_e / mean c; + 1e-4 sequence loss",
           "https://arxiv.org/abs/2602.17004"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = Sigmoid{},
                          .balance = balance(at(step, MomentumTanhBias{.rate = float(m.rate)}),
                                             at(Sequence<>{}, SwitchLoss<>{.coefficient = 1e-4}))};
          }),
      row({"deepseek_v3", "DeepSeek-V3", "top-K of s + b in the 2 best of 4 groups", "sigmoid x 2.5",
           "b_e += u sign(mean c - c_e); + 1e-4 sequence loss", "https://arxiv.org/abs/2412.19437"},
          [](Make const& m) {
            return Recipe{.select = grouped, .gate = Sigmoid{.scale = 2.5f},
                          .balance = balance(at(step, LossFreeBias{.rate = float(m.rate)}),
                                             at(Sequence<>{}, Complementary{.coefficient = 1e-4}))};
          }),
      row({"deepseek_v4", "DeepSeek-V4", "top-K of s + b", "sqrt(softplus) x 1.5", "b_e += u sign(mean c - c_e); + 1e-4 sequence loss",
           "https://arxiv.org/abs/2606.19348"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = SqrtSoftplus{.scale = 1.5f},
                          .balance = balance(at(step, LossFreeBias{.rate = float(2 * m.rate)}),
                                             at(Sequence<>{}, Complementary{.coefficient = 1e-4}))};
          }),
      row({"deepseek_v4_hash", "DeepSeek-V4, first layers", "table[token id]", "sqrt(softplus) x 1.5", "by construction",
           "https://arxiv.org/abs/2606.19348"},
          [](Make const& m) {
            return Recipe{.select = m.balanced_2->selection<2>(), .gate = SqrtSoftplus{.scale = 1.5f}, .tags = Tags::TokenId};
          }),
      row({"ling2", "Ling 2.0", "top-K of s + b in the 2 best of 4 groups", "sigmoid x 2.5", "zero-mean b; + 3.5e-6 mean lse^2",
           "https://github.com/inclusionAI/Ling-V2"},
          [](Make const& m) {
            return Recipe{.select = grouped, .gate = Sigmoid{.scale = 2.5f},
                          .balance = balance(at(step, LossFreeBias{.rate = float(m.rate), .centring = Centring::Mean}),
                                             at(MicroBatch<>{}, ZLoss{.coefficient = 3.5e-6}))};
          }),
      row({"quantile", "Quantile balancing", "top-K of s - beta", "sigmoid", "b_e = -(1 - K / E quantile of s_e - alpha), centred; 1000 bins",
           "https://arxiv.org/abs/2607.24653"},
          [](Make const&) {
            return Recipe{.select = TopK<2>{}, .gate = Sigmoid{}, .balance = balance(at(step, QuantileHistogram<>{}))};
          }),
      row({"quantile_damped", "Quantile balancing, damped (Marin)", "top-K of s - beta", "sigmoid", "half the way to the quantile's b",
           "https://openathena.ai/blog/quantile-balancing"},
          [](Make const&) {
            return Recipe{.select = TopK<2>{}, .gate = Sigmoid{}, .balance = balance(at(step, damped(QuantileHistogram<>{}, 0.5)))};
          }),
      row({"expert_threshold", "QB dynamic / Expert Threshold", "s > threshold_e, at most 8", "sigmoid, not normalised",
           "threshold_e = 0.9 threshold_e + 0.1 (1 - K / E quantile of s_e)", "https://arxiv.org/abs/2603.11535"},
          [](Make const&) {
            return Recipe{.select = Threshold<8>{}, .gate = Sigmoid{.normalise = Normalise::None},
                          .balance = balance(at(step, ThresholdQuantile<>{.active = 2})), .choices = 2};
          }),
  };
}

} // namespace lab
