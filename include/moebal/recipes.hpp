// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Routers of published models, with the shapes they are used at. router() is a value to copy and change:
//   auto router = moebal::recipes::DeepSeekV3::router();
// Numbers come from the models' configuration files, their cards and the conversion tests of Megatron-Bridge and NeMo Automodel.
// Models whose configuration leaves the score function or the normalisation open (MiniMax-M3, Step-3.7) have none.

#include "gate/grap.hpp"
#include "gate/jitter.hpp"
#include "gate/sigmoid.hpp"
#include "gate/softmax.hpp"
#include "gate/sqrt_softplus.hpp"
#include "router.hpp"
#include "select/device_limited.hpp"
#include "select/hash_table.hpp"
#include "select/top_k.hpp"
#include "select/zero_experts.hpp"

namespace moebal {

/// Whether a model adds a trained or balanced bias [E] to the scores for selection.
enum class SelectionBias { None, PerExpert };

namespace recipes {

namespace detail {
/// The softmax family. `normalise`: whether the K weights of a token sum to 1.
template <int K, Index E, Index D, Normalise normalise, int scale_percent = 100> struct SoftmaxRecipe {
  static constexpr Index experts = E, top_k = K, hidden = D;
  static constexpr SelectionBias bias = SelectionBias::None;
  static constexpr auto router() { return Router{TopK<K>{}, Softmax{.normalise = normalise, .scale = scale_percent / 100.0f}}; }
};
/// Softmax over the K kept logits.
template <int K, Index E, Index D> struct OverChosenRecipe {
  static constexpr Index experts = E, top_k = K, hidden = D;
  static constexpr SelectionBias bias = SelectionBias::None;
  static constexpr auto router() { return Router{TopK<K>{}, SoftmaxOverChosen{}}; }
};
/// The sigmoid family with a selection bias and weights that sum to the scale.
template <int K, Index E, Index D, int scale_per_mille = 1000> struct SigmoidRecipe {
  static constexpr Index experts = E, top_k = K, hidden = D;
  static constexpr SelectionBias bias = SelectionBias::PerExpert;
  static constexpr auto router() { return Router{TopK<K>{}, Sigmoid{.scale = scale_per_mille / 1000.0f}}; }
};
/// The same within the 4 best of 8 groups, each ranked by its best two.
template <int K, Index E, Index D, int scale_per_mille = 1000> struct GroupedSigmoidRecipe {
  static constexpr Index experts = E, top_k = K, hidden = D;
  static constexpr SelectionBias bias = SelectionBias::PerExpert;
  static constexpr auto router() {
    return Router{GroupLimitedTopK<K>{.groups = 8, .kept = 4}, Sigmoid{.scale = scale_per_mille / 1000.0f}};
  }
};
/// One expert a token, weighed by its sigmoid (which the model applies to the expert's input).
template <Index E, Index D> struct Llama4Recipe {
  static constexpr Index experts = E, top_k = 1, hidden = D;
  static constexpr SelectionBias bias = SelectionBias::None;
  static constexpr auto router() { return Router{TopK<1>{}, Sigmoid{.normalise = Normalise::None}}; }
};
} // namespace detail

// Softmax over all experts.
struct Switch : detail::SoftmaxRecipe<1, 128, 768, Normalise::None> { // Switch-base-128, arXiv 2101.03961
  static constexpr InputJitter jitter{.epsilon = 1e-2f};              // in training
};
struct Mixtral : detail::SoftmaxRecipe<2, 8, 4096, Normalise::OverChosen> {}; // Mixtral 8x7B
struct Mixtral8x22B : detail::SoftmaxRecipe<2, 8, 6144, Normalise::OverChosen> {};
struct MiniMaxText01 : detail::SoftmaxRecipe<2, 32, 6144, Normalise::OverChosen> {}; // and M1; arXiv 2501.08313
struct Dbrx : detail::SoftmaxRecipe<4, 16, 6144, Normalise::OverChosen> {};
struct HunyuanA13B : detail::SoftmaxRecipe<8, 64, 4096, Normalise::OverChosen> {};
struct Jamba : detail::SoftmaxRecipe<2, 16, 4096, Normalise::None> {};
struct Qwen15 : detail::SoftmaxRecipe<4, 60, 2048, Normalise::None> {};       // Qwen1.5-MoE-A2.7B
struct Qwen2 : detail::SoftmaxRecipe<8, 64, 3584, Normalise::None> {};        // Qwen2-57B-A14B
struct Qwen3 : detail::SoftmaxRecipe<8, 128, 2048, Normalise::OverChosen> {}; // Qwen3-30B-A3B
struct Qwen3Large : detail::SoftmaxRecipe<8, 128, 4096, Normalise::OverChosen> {}; // Qwen3-235B-A22B
struct Qwen3Next : detail::SoftmaxRecipe<10, 512, 2048, Normalise::OverChosen> {};
struct DeepSeekMoE : detail::SoftmaxRecipe<6, 64, 2048, Normalise::None> {}; // 16B, and V2-Lite; arXiv 2401.06066
struct OLMoE : detail::SoftmaxRecipe<8, 64, 2048, Normalise::None> {};

/// DeepSeek-V2 236B (arXiv 2405.04434): the 3 best of 8 devices by their best expert.
struct DeepSeekV2 {
  static constexpr Index experts = 160, top_k = 6, hidden = 5120;
  static constexpr SelectionBias bias = SelectionBias::None;
  static constexpr auto router() {
    return Router{device_limited_top_k<6>(8, 3), Softmax{.scale = 16}};
  }
};

// Softmax over the chosen experts. gpt-oss has a bias in its gate product, which is part of the logits.
struct Granite3Small : detail::OverChosenRecipe<8, 32, 1024> {}; // Granite 3 1B-A400M
struct Granite3 : detail::OverChosenRecipe<8, 40, 1536> {};      // Granite 3 3B-A800M
struct GptOss20B : detail::OverChosenRecipe<4, 32, 2880> {};
struct GptOss : detail::OverChosenRecipe<4, 128, 2880> {}; // gpt-oss-120b

// Sigmoid, selection bias.
struct DeepSeekV3 : detail::GroupedSigmoidRecipe<8, 256, 7168, 2500> {}; // and R1; arXiv 2412.19437
struct Ling2Mini : detail::GroupedSigmoidRecipe<8, 256, 2048> {};
struct KimiK2 : detail::SigmoidRecipe<8, 384, 7168, 2827> {};
struct KimiK3 : detail::SigmoidRecipe<16, 896, 7168> {};
struct Glm45 : detail::SigmoidRecipe<8, 160, 5120, 2500> {};
struct Glm45Air : detail::SigmoidRecipe<8, 128, 4096> {};
struct MiniMaxM2 : detail::SigmoidRecipe<8, 256, 3072> {};
struct MiMoV2Flash : detail::SigmoidRecipe<8, 256, 4096> {};
struct Nemotron3Nano : detail::SigmoidRecipe<6, 128, 2688, 2500> {};
struct Nemotron3Super : detail::SigmoidRecipe<22, 512, 4096, 5000> {};
struct Nemotron3Ultra : detail::SigmoidRecipe<22, 512, 8192, 5000> {};
struct HunyuanV3 : detail::SigmoidRecipe<8, 192, 4096> {}; // whether weights are normalised is an option of its configuration
struct Llama4Scout : detail::Llama4Recipe<16, 5120> {};
struct Llama4Maverick : detail::Llama4Recipe<128, 5120> {};

/// DeepSeek-V4 (arXiv 2606.19348). Its first three layers route by a table of token ids: hash_router, with the same weights.
struct DeepSeekV4 {
  static constexpr Index experts = 256, top_k = 6, hidden = 4096;
  static constexpr SelectionBias bias = SelectionBias::PerExpert;
  static constexpr auto router() { return Router{TopK<6>{}, SqrtSoftplus{.scale = 1.5f}}; }
  static auto hash_router(HashTable const& table) { return Router{table.selection<6>(), SqrtSoftplus{.scale = 1.5f}}; }
};

/// LongCat-Flash (arXiv 2509.01322): 512 networks and 256 identity experts, raw probabilities, a bias that only networks' loads move.
struct LongCatFlash {
  static constexpr ZeroExperts zeros{.ffn = 512, .copy = 256};
  static constexpr Index experts = 768, top_k = 12, hidden = 6144;
  static constexpr SelectionBias bias = SelectionBias::PerExpert;
  static constexpr auto router() { return Router{TopK<12>{}, Softmax{.scale = 6}}; }
};

/// LocMoE (arXiv 2401.13920): 16 experts, top-1 over the softmax of GrAP's logits; hidden is any multiple of 16. The paper prints a ReLU on
/// the chunk means (GrAP{.rectify = Rectify::ReLU}), with which a token whose means are all negative always goes to expert 0.
struct LocMoE {
  static constexpr Index experts = 16, top_k = 1, hidden = 5120;
  static constexpr SelectionBias bias = SelectionBias::None;
  static constexpr GrAP gate{};
  static constexpr auto router() { return Router{TopK<1>{}, Softmax{}}; }
};

} // namespace recipes
} // namespace moebal
