// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// At most 16 experts, and crowded groups: rows together against one row at a time, to the bit.
#include "support/test.hpp"

#include <moebal/moebal.hpp>

#include <limits>
#include <random>

using namespace moebal;

namespace {

using Needs = stats::List<stats::Counts, stats::FirstChoiceCounts, stats::ScoreSums>;
constexpr Index tokens = 51;

enum class Data { plain, ties, zeros, infinities, nans, ascending };
constexpr Data kinds[] = {Data::plain, Data::ties, Data::zeros, Data::infinities, Data::nans, Data::ascending};

std::vector<float> logits(Data data, Index experts) {
  std::mt19937 random(unsigned(experts) * 7 + unsigned(data));
  std::normal_distribution<float> normal;
  float const inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> z(std::size_t(tokens * experts));
  for (std::size_t i = 0; i < z.size(); ++i) {
    float& x = z[i] = normal(random);
    if (data == Data::ties) x = float(int(x * 2)) / 2;
    if (data == Data::zeros) x = random() % 3 == 0 ? 0.0f : random() % 2 == 0 ? -0.0f : -std::abs(x);
    if (data == Data::infinities && random() % 3 == 0) x = random() % 8 == 0 ? inf : -inf;
    if (data == Data::nans && random() % 16 == 0) x = random() % 2 == 0 ? nan : -nan;
    if (data == Data::ascending) x = float(Index(i) % experts);
  }
  return z;
}

/// Router, with rows together and row by row.
template <class Logit = float, class R>
void check(R const& router, Index experts, bool biased) {
  EigenExec const exec;
  std::vector<float> bias;
  for (Index e = 0; biased && e < experts; ++e) bias.push_back(0.05f * float(e % 5));
  for (Data const data : kinds) {
    std::vector<Logit> z;
    for (float const x : logits(data, experts))
      if constexpr (std::same_as<Logit, float>)
        z.push_back(x);
      else
        z.push_back(to_bfloat16(x));
    std::vector<std::uint8_t> padding(std::size_t(tokens), std::uint8_t(0));
    auto const none = padding;
    padding[5] = padding[17] = padding[40] = 1;
    auto const route = [&](Index first, Index n, VectorView<std::uint8_t const> mask) {
      return router.template route_with<Needs>(exec, MatrixView<Logit const>(z.data() + first * experts, n, experts),
                                               RowOptions<>{.bias = bias, .padding = mask});
    };
    for (bool const padded : {false, true}) {
      std::uint8_t const* const mask = padded ? padding.data() : none.data();
      for (Index const at_once : {tokens, Index(7), Index(1)}) {
        Load<Needs> sums(1, experts), row_sums(1, experts);
        auto const add = [](Load<Needs>& sum, Load<Needs>& part) {
          for (Index i = 0; i < sum.view().size(); ++i) sum.view().data()[i] += part.view().data()[i];
        };
        for (Index first = 0; first < tokens; first += at_once) {
          Index const n = std::min(at_once, tokens - first);
          VectorView<std::uint8_t const> const of_batch(mask + first, padded ? n : 0);
          auto [together, load] = route(first, n, of_batch);
          add(sums, load);
          for (Index r = 0; r < n; ++r) {
            auto [row, row_load] = route(first + r, 1, {mask + first + r, 1}); // a mask: the row form
            add(row_sums, row_load);
            for (Index k = 0; k < R::top_k; ++k) {
              BOOST_REQUIRE_EQUAL(together.expert_ids()(r, k), row.expert_ids()(0, k));
              BOOST_REQUIRE_EQUAL(__builtin_bit_cast(std::uint32_t, float(together.weights()(r, k))),
                                  __builtin_bit_cast(std::uint32_t, float(row.weights()(0, k))));
            }
          }
        }
        for (Index i = 0; i < sums.view().size(); ++i)
          BOOST_REQUIRE_EQUAL(sums.view().data()[i], row_sums.view().data()[i]);
      }
    }
  }
}

template <int K> void gates(Index experts) {
  BOOST_TEST_CONTEXT("E " << experts << " K " << K) {
    check(Router<TopK<K>, Softmax>(TopK<K>{}, Softmax{.normalise = Normalise::OverChosen}), experts, false);
    check(Router<TopK<K>, Softmax>(), experts, false);
    check(Router<TopK<K>, SoftmaxOverChosen>(), experts, false);
    check(Router<TopK<K>, Sigmoid>(), experts, false);
    check(Router<TopK<K>, Sigmoid>(), experts, true);
    check<BFloat16>(Router<TopK<K>, Softmax>(), experts, false);
  }
}

} // namespace

BOOST_AUTO_TEST_CASE(few_experts) {
  for (Index e = 1; e <= 17; ++e) {
    gates<1>(e);
    if (e >= 2) gates<2>(e);
    if (e >= 4) gates<4>(e);
  }
}
BOOST_AUTO_TEST_CASE(crowded_groups) {
  using R = Router<GroupLimitedTopK<8>, Sigmoid>;
  for (Index const groups : {2, 8})
    for (Index const experts : {64, 144, 256})
      BOOST_TEST_CONTEXT("E " << experts << " groups " << groups) {
        check(R(GroupLimitedTopK<8>{.groups = groups, .kept = groups / 2 > 3 ? 4 : groups}, Sigmoid{}), experts, true);
      }
}
