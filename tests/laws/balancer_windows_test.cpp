// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "laws/balancer_cuts.hpp"

#include <bit>
#include <map>

// Split invariance: however a batch is cut over sequences, micro-batches and ranks, the same tokens give the same
// window to the bit, the same bias to the bit, and the same loss but for rounding.

using namespace moebal;
using namespace cuts;

namespace {

auto const all_rules =
    Rules{SwitchLoss<>{}, SwitchLoss<Choices::First, CountSource::Unbiased>{}, SwitchLoss<Choices::First>{},
          LossFreeBias{}, SwitchLoss<Choices::All, CountSource::Unbiased>{},   ZLoss{},
          CvSquared{}};
using Wide = detail::Traits<std::remove_const_t<decltype(all_rules)>>;

/// One row of the statistics of these tokens in the order of List: tokens, then the statistics.
template <class... S>
std::vector<std::int64_t> row_of(stats::List<S...>, std::vector<synthetic::Token> const& tokens, Index experts) {
  auto const load = synthetic::load_of({tokens}, experts);
  std::vector<std::int64_t> row{load.tokens()};
  (row.insert(row.end(), load.get<S>().begin(), load.get<S>().end()), ...);
  return row;
}

struct Size {
  Index tokens, experts, top_k;
};
std::vector<Size> const sizes{{0, 3, 1}, {1, 1, 1}, {7, 3, 3}, {101, 7, 2}, {64, 60, 4}};

template <class F> void each_cut(F const& f) {
  for (Index ranks = 1; ranks <= 4; ++ranks)
    for (Index const micro_batches : {1, 2, 5})
      for (Index const sequences : {1, 3}) f(ranks, micro_batches, sequences);
}

std::vector<std::uint32_t> bits(std::vector<float> const& values) {
  std::vector<std::uint32_t> all;
  for (float const v : values) all.push_back(std::bit_cast<std::uint32_t>(v));
  return all;
}

} // namespace

BOOST_AUTO_TEST_SUITE(laws_balancer_windows)

BOOST_AUTO_TEST_CASE(a_window_holds_what_the_scope_reaches) {
  std::mt19937_64 random(1);
  Index compared = 0;
  for (auto const& [count, experts, top_k] : sizes) {
    auto const tokens = synthetic::tokens(count, experts, top_k, 5);
    each_cut([&, experts = experts, top_k = top_k](Index ranks, Index micro_batches, Index sequences) {
      auto const step = deal(tokens, ranks, micro_batches, sequences, random);
      each_scope([&]<class Scope>(Scope scope) {
        auto const seen = run(step, scope, all_rules, {.experts = experts, .top_k = top_k}, ranks == 2);
        for (std::size_t j = 0; j < step.size(); ++j)
          for (std::size_t g = 0; g < step[j].size(); ++g)
            for (std::size_t w = 0; w < seen[j].windows[g].size(); ++w) {
              auto const reach = reached<Scope>(stream<Scope>(step, j, w), g);
              if (seen[j].windows[g][w] != row_of(typename Wide::pooled{}, reach, experts))
                BOOST_ERROR("another load window");
              auto const mine = Scope::per_sequence ? step[j][g][w] : join(step[j][g], 0, step[j][g].size());
              if (seen[j].scores[g][w] != row_of(typename Wide::needs{}, mine, experts))
                BOOST_ERROR("another score window");
              ++compared;
            }
      });
    });
  }
  BOOST_TEST(compared > 5000);
}

BOOST_AUTO_TEST_CASE(the_bias_moves_by_one_window_with_the_same_bits_everywhere) {
  std::mt19937_64 random(2);
  for (auto const& [count, experts, top_k] : sizes) {
    auto const tokens = synthetic::tokens(count, experts, top_k, 6);
    LossFreeBias const rule{.rate = 0.01f, .centring = Centring::Mean};
    auto const bias_of = [&, experts = experts, top_k = top_k](std::vector<synthetic::Token> const& window) {
      return run({{{window}}}, MicroBatch<>{}, rule, {.experts = experts, .top_k = top_k})[0].bias;
    };
    auto const whole = bias_of(tokens);
    if (count == 101) BOOST_TEST(*std::max_element(whole.begin(), whole.end()) > 0.001f);
    each_cut([&, experts = experts, top_k = top_k](Index ranks, Index micro_batches, Index sequences) {
      auto const step = deal(tokens, ranks, micro_batches, sequences, random);
      each_scope([&]<class Scope>(Scope scope) {
        std::size_t const end = Scope::accumulate == Accumulate::None ? 1 : step[0].size();
        auto const expected = Scope::over_ranks ? whole : bias_of(join(stream<Scope>(step, 0, 0), 0, end));
        BalancerShape const shape{.experts = experts, .top_k = top_k};
        for (auto const& rank : run(step, scope, rule, shape)) // counted once, at the end
          if (bits(rank.bias) != bits(expected)) BOOST_ERROR("another bias, alone");
        for (auto const& rank :
             run(step, scope, Rules{SwitchLoss<>{}, rule}, shape, true)) // counted as the loss goes along
          if (bits(rank.bias) != bits(expected)) BOOST_ERROR("another bias, with a loss");
      });
    });
  }
}

BOOST_AUTO_TEST_CASE(the_exact_global_loss_is_the_same_for_every_cut) {
  std::mt19937_64 random(3);
  Index const experts = 7, top_k = 2;
  auto const tokens = synthetic::tokens(101, experts, top_k, 7);
  auto const rules = [&](auto const& f) {
    f(SwitchLoss<>{}), f(SwitchLoss<Choices::First>{}), f(SwitchLoss<Choices::All, CountSource::Unbiased>{});
    f(SwitchLoss<Choices::First, CountSource::Unbiased>{}), f(SwitchLoss<>{.divide_by = DivideBy::Tokens}), f(ZLoss{}),
        f(CvSquared{});
  };
  rules([&](auto rule) {
    double const whole = loss_of(rule)(tokens, tokens, experts);
    BOOST_TEST(whole > 0.0);
    each_cut([&](Index ranks, Index micro_batches, Index sequences) {
      auto const seen = run(deal(tokens, ranks, micro_batches, sequences, random), GlobalBatch<Accumulate::TwoPass>{},
                            rule, {.experts = experts, .top_k = top_k});
      double mean = 0;
      for (auto const& rank : seen) mean += rank.loss / double(ranks);
      BOOST_TEST(relative(mean, whole) < 1e-12);
    });
  });
}

BOOST_AUTO_TEST_CASE(one_rank_s_global_batch_is_its_micro_batch) {
  std::mt19937_64 random(4);
  auto const step = deal(synthetic::tokens(60, 7, 2, 8), 1, 4, 2, random);
  auto const same = [&](auto a, auto b) {
    auto const x = run(step, a, all_rules, {.experts = 7, .top_k = 2})[0],
               y = run(step, b, all_rules, {.experts = 7, .top_k = 2})[0];
    BOOST_TEST(x.loss == y.loss);
    BOOST_TEST((x.windows == y.windows && x.slopes == y.slopes && x.z_slopes == y.z_slopes));
  };
  same(MicroBatch<>{}, GlobalBatch<>{});
  same(MicroBatch<Accumulate::Running>{}, GlobalBatch<Accumulate::Running>{});
  same(MicroBatch<Accumulate::TwoPass>{}, GlobalBatch<Accumulate::TwoPass>{});
}

BOOST_AUTO_TEST_SUITE_END()
