// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/backend/eigen.hpp>
#include <moebal/recipes.hpp>

#include <random>
#include <tuple>

using namespace moebal;

namespace {

using All = std::tuple<recipes::Switch, recipes::Mixtral, recipes::Jamba, recipes::Qwen15, recipes::Qwen3, recipes::Qwen3Next,
                       recipes::DeepSeekMoE, recipes::OLMoE, recipes::DeepSeekV2, recipes::GptOss20B, recipes::GptOss,
                       recipes::DeepSeekV3, recipes::Ling2Mini, recipes::KimiK2, recipes::KimiK3, recipes::Glm45, recipes::MiniMaxM2,
                       recipes::MiMoV2Flash, recipes::Nemotron3Nano, recipes::Nemotron3Super, recipes::Llama4Scout,
                       recipes::Llama4Maverick, recipes::DeepSeekV4>;

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

BOOST_AUTO_TEST_SUITE_END()
