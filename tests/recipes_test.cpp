// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/backend/eigen.hpp>
#include <moebal/recipes.hpp>

#include <cmath>
#include <random>
#include <tuple>

using namespace moebal;

namespace {

using All = std::tuple<recipes::Switch, recipes::Mixtral, recipes::Jamba, recipes::Qwen15, recipes::Qwen3, recipes::Qwen3Large, recipes::Qwen3Next,
                       recipes::DeepSeekMoE, recipes::OLMoE, recipes::DeepSeekV2, recipes::GptOss20B, recipes::GptOss,
                       recipes::DeepSeekV3, recipes::Ling2Mini, recipes::KimiK2, recipes::KimiK3, recipes::Glm45, recipes::MiniMaxM2,
                       recipes::MiMoV2Flash, recipes::Nemotron3Nano, recipes::Nemotron3Super, recipes::Nemotron3Ultra, recipes::HunyuanV3,
                       recipes::LongCatFlash, recipes::LocMoE, recipes::Llama4Scout,
                       recipes::Llama4Maverick, recipes::DeepSeekV4, recipes::Mixtral8x22B, recipes::MiniMaxText01, recipes::Dbrx,
                       recipes::HunyuanA13B, recipes::Qwen2, recipes::Granite3Small, recipes::Granite3, recipes::Glm45Air>;

template <class Recipe> auto route(std::vector<float>& logits) {
  std::mt19937_64 engine(3);
  std::normal_distribution<float> normal;
  logits.resize(std::size_t(3 * Recipe::experts));
  for (float& z : logits) z = normal(engine);
  return Recipe::router().route(EigenExec{}, MatrixView<float const>(logits.data(), 3, Recipe::experts));
}
template <class Recipe> double weight_sum(Index t = 0) {
  std::vector<float> logits;
  auto const routing = route<Recipe>(logits);
  double sum = 0;
  for (Index k = 0; k < routing.top_k(); ++k) sum += routing.weights()(t, k);
  return sum;
}

} // namespace

BOOST_AUTO_TEST_SUITE(recipes_of_models)

BOOST_AUTO_TEST_CASE_TEMPLATE(each_routes_at_its_own_shape, Recipe, All) {
  std::vector<float> logits;
  auto const routing = route<Recipe>(logits);
  BOOST_TEST(routing.top_k() == Index(Recipe::top_k));
  for (Index t = 0; t < 3; ++t)
    for (Index k = 0; k < routing.top_k(); ++k) {
      BOOST_TEST(routing.expert_ids()(t, k) < Recipe::experts);
      BOOST_TEST(routing.weights()(t, k) > 0);
    }
}

BOOST_AUTO_TEST_CASE(normalised_weights_sum_to_the_scale_of_the_model) {
  using boost::test_tools::tolerance;
  BOOST_TEST(weight_sum<recipes::DeepSeekV3>() == 2.5, tolerance(1e-6));
  BOOST_TEST(weight_sum<recipes::KimiK2>() == 2.827, tolerance(1e-6));
  BOOST_TEST(weight_sum<recipes::Nemotron3Super>() == 5.0, tolerance(1e-6));
  BOOST_TEST(weight_sum<recipes::DeepSeekV4>() == 1.5, tolerance(1e-6));
  BOOST_TEST(weight_sum<recipes::Qwen3>() == 1.0, tolerance(1e-6));
  BOOST_TEST(weight_sum<recipes::GptOss>() == 1.0, tolerance(1e-6));
  BOOST_TEST(weight_sum<recipes::Granite3>() == 1.0, tolerance(1e-6));
  BOOST_TEST(weight_sum<recipes::Dbrx>() == 1.0, tolerance(1e-6));
  BOOST_TEST(weight_sum<recipes::Glm45Air>() == 1.0, tolerance(1e-6));
  BOOST_TEST(weight_sum<recipes::Qwen2>() < 0.9); // raw probabilities
  BOOST_TEST(weight_sum<recipes::OLMoE>() < 0.9); // raw probabilities
  BOOST_TEST(weight_sum<recipes::DeepSeekV2>() < 16.0);
}

BOOST_AUTO_TEST_CASE(deepseek_v3_stays_in_four_groups_of_32) {
  std::vector<float> logits;
  auto const routing = route<recipes::DeepSeekV3>(logits);
  for (Index t = 0; t < 3; ++t) {
    unsigned groups = 0;
    for (Index k = 0; k < 8; ++k) groups |= 1u << (routing.expert_ids()(t, k) / 32);
    BOOST_TEST(__builtin_popcount(groups) <= 4);
  }
}

BOOST_AUTO_TEST_CASE(longcat_chooses_networks_and_identities) {
  static_assert(recipes::LongCatFlash::zeros.experts() == recipes::LongCatFlash::experts);
  std::vector<float> logits;
  auto const routing = route<recipes::LongCatFlash>(logits);
  Index networks = 0;
  for (Index t = 0; t < 3; ++t)
    for (Index k = 0; k < 12; ++k) networks += recipes::LongCatFlash::zeros.kind(routing.expert_ids()(t, k)) == ExpertKind::Ffn;
  BOOST_TEST((networks > 12 && networks < 36)); // 24 on average
  BOOST_TEST(weight_sum<recipes::LongCatFlash>() < 6);
}

BOOST_AUTO_TEST_CASE(locmoe_pools_what_it_routes) {
  std::vector<float> x(std::size_t(recipes::LocMoE::hidden), 0), z(16);
  for (std::size_t j = 320 * 5; j < 320 * 6; ++j) x[j] = 2; // chunk 5
  logits_into(EigenExec{}, recipes::LocMoE::gate, MatrixView<float const>(x.data(), 1, 5120), {}, MatrixView<float>(z.data(), 1, 16));
  auto const routing = recipes::LocMoE::router().route(EigenExec{}, MatrixView<float const>(z.data(), 1, 16));
  BOOST_TEST(routing.expert_ids()(0, 0) == 5);
  BOOST_TEST(routing.weights()(0, 0) == std::exp(2.0f) / (std::exp(2.0f) + 15), boost::test_tools::tolerance(1e-6f));
}

BOOST_AUTO_TEST_CASE(deepseek_v4_routes_by_token_id_first) {
  auto const table = HashTable::random(100, 6, recipes::DeepSeekV4::experts);
  std::vector<float> const logits(256, 0.5f);
  std::vector<Index> const tags{42};
  auto const routing = recipes::DeepSeekV4::hash_router(table).route(EigenExec{}, MatrixView<float const>(logits.data(), 1, 256), {.tags = tags});
  for (Index k = 0; k < 6; ++k) {
    BOOST_TEST(routing.expert_ids()(0, k) == table.rows()(42, k));
    BOOST_TEST(routing.weights()(0, k) == 0.25f, boost::test_tools::tolerance(1e-6f));
  }
}

BOOST_AUTO_TEST_SUITE_END()
