// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// What came last: a bias by class of token, corrections inside a sequence, prototypes, balance at inference.

#include "latent_map.hpp"
#include "registry.hpp"

#include <moebal/balance/by_token_class.hpp>
#include <moebal/balance/importance_loss.hpp>
#include <moebal/balance/proportional_bias.hpp>
#include <moebal/balance/schedule.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/gate/sqrt_softplus.hpp>
#include <moebal/select/laser.hpp>
#include <moebal/select/momentum_quantile.hpp>

using namespace moebal;

namespace lab {

namespace {
constexpr GlobalBatch<Accumulate::Running> step{};
}

std::vector<Row> recent_rows() {
  return {
      row({"deepseek_v41", "DeepSeek-V4.1, a bias for each class of tokens", "top-K of s + b of the token's class", "sqrt(softplus) x 1.5",
           "b_ce += u sign(mean c - c_e) for each class of tokens", "https://arxiv.org/abs/2606.19348"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = SqrtSoftplus{.scale = 1.5f},
                          .balance = balance(at(step, ByTokenClass<int(domains), LossFreeBias>{{.rate = float(2 * m.rate)}})),
                          .tags = Tags::Domain};
          }),
      row({"primal_dual", "ALF theory, steps of 1 / n", "top-K of s + b", "sigmoid, not normalised", "b_e += u / n E (1 / E - F_e)",
           "https://arxiv.org/abs/2512.03915"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = Sigmoid{.normalise = Normalise::None},
                          .balance = balance(at(step, annealed(ProportionalBias{.rate = float(40 * m.rate)}, OverSteps{})))};
          }),
      row({"mqb", "MQB", "top-K of s - 0.3 beta_t + b", "sigmoid",
           "beta_t the 1 - K / E quantile of s_e so far in the sequence; b_e += u sign(mean c - c_e)", "https://kexue.fm/archives/11760"},
          [](Make const& m) {
            return Recipe{.select = MomentumQuantile<2>{}, .gate = Sigmoid{},
                          .balance = balance(at(step, LossFreeBias{.rate = float(m.rate)}))};
          }),
      row({"noisy_kept", "Importance of the kept (Shazeer)", "top-K", "softmax of the kept", "c CV^2(sum_t g_te)",
           "https://arxiv.org/abs/1701.06538"},
          [](Make const& m) {
            return Recipe{.select = TopK<2>{}, .gate = SoftmaxOverChosen{},
                          .balance = balance(at(MicroBatch<>{}, KeptImportanceLoss{.coefficient = m.coefficient}))};
          }),
      row({"latent_prototypes", "Latent prototype routing", "top-K of cosines to prototypes", "softmax of the kept",
           "c (mean (P P^T - I)^2 + 0.1 mean |p - mean of its tokens|)", "https://arxiv.org/abs/2506.21328"},
          [](Make const& m) {
            LatentMap<2> map;
            map.coefficient = m.coefficient;
            return Recipe{.select = TopK<2>{}, .gate = SoftmaxOverChosen{}, .map = map};
          }),
      row({"laser", "LASER", "top-K where clear, else the least loaded of near ones", "softmax, normalised over the kept",
           "load so far of each expert, at inference", "https://arxiv.org/abs/2510.03293"},
          [](Make const&) {
            return Recipe{.select = Laser<2>{}, .gate = Softmax{.normalise = Normalise::OverChosen}};
          }),
  };
}

} // namespace lab
