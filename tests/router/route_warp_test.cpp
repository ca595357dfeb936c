// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The row code of CUDA devices, run by an emulated warp: the bits of plain loops, in registers and in the row form.
#include "support/test.hpp"

#include "support/bits.hpp"
#include "support/host_warp.hpp"
#include "support/inputs.hpp"

#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/gate/sqrt_softplus.hpp>
#include <moebal/laws/plain_exec.hpp>
#include <moebal/plan/make_plan.hpp>
#include <moebal/router.hpp>
#include <moebal/select/group_limited_top_k.hpp>
#include <moebal/select/top_k.hpp>
#include <moebal/stats/counts.hpp>
#include <moebal/stats/log_sum_exp_squares.hpp>
#include <moebal/stats/margin_histogram.hpp>
#include <moebal/stats/score_sums.hpp>

#include <algorithm>

using namespace moebal;
using namespace moebal_test;

namespace {

static_assert(lane_group<WarpLanes<HostWarp>> && lane_group<WarpLanes<HostWarp, 4>>);
static_assert(clears_sums<WarpExec>);
static_assert(detail::warp_item<detail::SumChunks, HostWarp>);

using All = stats::List<stats::Counts, stats::FirstChoiceCounts, stats::UnbiasedCounts, stats::ScoreSums,
                        stats::LogSumExpSquares>;

struct Batch {
  Kind kind = Kind::Specials;
  Index tokens = 0, experts = 1;
  bool biased = true;
  Index sequences = 1;
};

/// Ids, weights, statistics and gradients of a batch, as bits.
template <class Needs, class Logit, class Exec, class Selection, class Gate>
std::vector<std::vector<std::uint64_t>> layer(Exec const& exec, Router<Selection, Gate> const& router, Batch batch) {
  using Real = compute_t<Logit>;
  Index const T = batch.tokens, E = batch.experts, K = Selection::top_k, S = batch.sequences;
  auto const logits = logits_of<Logit>(batch.kind, T, E);
  auto const z = matrix(logits, T, E);
  Options options;
  if (batch.biased) options.bias = bias_of(E, 0.1f);
  if (T > 0) options.padding = padding_of(T);
  if (S > 1) options.segments = segments_of(T, S);
  auto [routing, load] = router.template route_with<Needs>(exec, z, options.view());
  auto const d_weights = logits_of<Real>(Kind::Bell, T, K, 2);
  auto const slopes = logits_of<Real>(Kind::Bell, S, E, 3);
  auto const z_slopes = logits_of<Real>(Kind::Bell, 1, S, 4);
  Workspace workspace(router.template workspace_bytes<stats::None, Logit>(exec, T, E, S));
  auto const backward = [&](RouterGradient<Real> gradient) {
    std::vector<Real> d_logits(std::size_t(T * E), Real(99));
    router.backward_into(exec, z, options.view(), MatrixView<ExpertId const>(routing.expert_ids()), gradient,
                         MatrixView<Real>(d_logits.data(), T, E), WorkspaceView<>(workspace));
    return bits_of(d_logits.data(), T * E);
  };
  return {bits_of(routing.expert_ids().data(), T * K),
          bits_of(routing.weights().data(), T * K),
          bits_of(load.raw().data(), Index(load.raw().size())),
          backward({matrix(d_weights, T, K), matrix(slopes, S, E), z_slopes}),
          backward({matrix(d_weights, T, K)}),
          backward({.slopes = matrix(slopes, S, E)})};
}

template <class Needs, class Logit, class Selection, class Gate>
void same_bits(Router<Selection, Gate> const& router, Batch batch) {
  auto const expected = layer<Needs, Logit>(laws::PlainExec{}, router, batch);
  for (LaneOrder const order : {LaneOrder::Up, LaneOrder::Down})
    for (std::size_t const shared : {std::size_t(0), std::size_t(1) << 20}) {
      auto const had = layer<Needs, Logit>(WarpExec{.order = order, .most_shared = shared}, router, batch);
      for (std::size_t part = 0; part < expected.size(); ++part)
        BOOST_TEST((had[part] == expected[part]), "part " << part << " of T = " << batch.tokens << ", E = " << batch.experts
                                                          << ", " << name_of(batch.kind) << ", shared " << shared);
    }
}

} // namespace

BOOST_AUTO_TEST_SUITE(router_route_warp)

BOOST_AUTO_TEST_CASE(lanes_must_meet) {
  BOOST_CHECK_THROW(HostWarp::run(LaneOrder::Up,
                                  [] {
                                    if (HostWarp::lane() != 3) HostWarp::sync();
                                  }),
                    std::logic_error);
  BOOST_CHECK_THROW(HostWarp::run(LaneOrder::Down, [] { HostWarp::lane() == 3 ? HostWarp::sync() : void(HostWarp::ballot(true)); }),
                    std::logic_error);
}

BOOST_AUTO_TEST_CASE(a_missing_barrier_shows) {
  int wrong = 0;
  for (LaneOrder const order : {LaneOrder::Up, LaneOrder::Down}) {
    int values[HostWarp::size] = {};
    HostWarp::run(order, [&] {
      values[HostWarp::lane()] = 1;
      int const seen = values[HostWarp::lane() ^ 1]; // no sync
      HostWarp::sync();
      wrong += seen != 1;
    });
  }
  BOOST_TEST(wrong == HostWarp::size);
}

template <class Lanes> void lawful_lanes(Index most) {
  SerialLanes const serial;
  for (Index n = 0; n <= most; n += n < 70 ? 1 : 29) {
    auto const x = logits_of(Kind::Wide, 1, n + 1, std::uint64_t(n)), y = logits_of(Kind::Wide, 1, n + 1, 7);
    auto const at = [&](Index e) { return x[std::size_t(e)]; };
    auto const by = [&](Index e) { return y[std::size_t(e)]; };
    std::vector<int> seen(std::size_t(n + 1));
    int wrong = 0, once = 0;
    HostWarp::run(LaneOrder::Down, [&] {
      Lanes const lanes;
      wrong += lanes.template sum<float>(n, at) != serial.sum<float>(n, at);
      wrong += lanes.template dot<float>(n, at, by) != serial.dot<float>(n, at, by);
      wrong += lanes.template max<float>(n, at, -1.0f) != serial.max<float>(n, at, -1.0f);
      wrong += lanes.any(n, [&](Index e) { return e == n - 1; }) != (n > 0);
      lanes.once([&] { ++once; });
      wrong += once != 1;
      lanes.each_one(n, [&](Index e) { ++seen[std::size_t(e)]; });
      for (Index e = 0; e <= n; ++e) wrong += seen[std::size_t(e)] != (e < n);
    });
    BOOST_TEST(wrong == 0, "n = " << n);
  }
}
BOOST_AUTO_TEST_CASE(lanes) {
  lawful_lanes<WarpLanes<HostWarp>>(400);
  lawful_lanes<WarpLanes<HostWarp, 1>>(32);
  lawful_lanes<WarpLanes<HostWarp, 4>>(128);
  lawful_lanes<WarpLanes<HostWarp, 12>>(384);
}

template <class Logit> void short_words_order_like_long_ones() {
  std::vector<std::pair<std::uint64_t, std::uint32_t>> words;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    Logit const x{std::uint16_t(bits)};
    Index const id = Index(bits * 40503u % 65536u);
    words.emplace_back(rank_word(widen(x), id), short_rank_word(x, id));
    BOOST_TEST_REQUIRE(short_id_of(words.back().second) == ExpertId(id));
  }
  std::sort(words.begin(), words.end());
  BOOST_TEST(std::is_sorted(words.begin(), words.end(), [](auto const& a, auto const& b) { return a.second < b.second; }));
}
BOOST_AUTO_TEST_CASE(short_words) {
  short_words_order_like_long_ones<BFloat16>();
  short_words_order_like_long_ones<Half>();
}

BOOST_AUTO_TEST_CASE(registers_are_sorted) {
  Random random(3);
  for (int run = 0; run < 200; ++run) {
    std::uint32_t w[12];
    for (auto& x : w) x = std::uint32_t(random.one_in(2)) + (run % 2 ? std::uint32_t(random.bell(1) * 1000) : 0u);
    std::vector<std::uint32_t> sorted(w, w + 12);
    std::sort(sorted.rbegin(), sorted.rend());
    detail::sort_registers<12>(w);
    BOOST_TEST_REQUIRE((std::equal(sorted.begin(), sorted.end(), w)));
  }
}

BOOST_AUTO_TEST_CASE(top_k) {
  Router const sigmoid{TopK<8>{}, Sigmoid{.scale = 2.5f}};
  for (Index const E : {9, 60, 100, 160, 384, 520})
    for (Index const T : {0, 1, 7}) same_bits<All, float>(sigmoid, {.tokens = T, .experts = E});
  for (Kind const kind : all_kinds)
    for (bool const biased : {false, true}) {
      same_bits<All, BFloat16>(sigmoid, {.kind = kind, .tokens = 9, .experts = 128, .biased = biased, .sequences = 3});
      same_bits<All, Half>(Router{TopK<3>{}, SqrtSoftplus{}}, {.kind = kind, .tokens = 9, .experts = 100, .biased = biased});
      same_bits<All, float>(Router{TopK<2>{}, Softmax{}}, {.kind = kind, .tokens = 9, .experts = 60, .biased = biased});
    }
  for (bool const biased : {false, true}) {
    same_bits<All, float>(Router{TopK<1>{}, Softmax{}}, {.tokens = 33, .experts = 1, .biased = biased});
    same_bits<All, double>(Router{TopK<2>{}, Softmax{}}, {.tokens = 9, .experts = 33, .biased = biased});
    same_bits<All, float>(Router{TopK<3>{}, SoftmaxOverChosen{}}, {.tokens = 33, .experts = 3, .biased = biased});
  }
}

BOOST_AUTO_TEST_CASE(groups) {
  for (bool const biased : {false, true})
    for (Kind const kind : all_kinds) {
      auto const routed = [&](GroupLimitedTopK<6> selection, Index E) {
        same_bits<All, float>(Router{selection, Sigmoid{.scale = 2.5f}}, {.kind = kind, .tokens = 9, .experts = E, .biased = biased});
      };
      routed({.groups = 8, .kept = 4}, 256);
      routed({.groups = 5, .kept = 2}, 60);
      routed({.groups = 1, .kept = 1}, 60);
      routed({.groups = 32, .kept = 7, .score = GroupScore::Max}, 32);
      routed({.groups = 4, .kept = 2, .score = GroupScore::Max}, 60);
      routed({.groups = 4, .kept = 2, .sum_of = 3}, 60); // the row form
      routed({.groups = 60, .kept = 9}, 120);            // likewise
    }
}

// What a plan's functors do in the form for warps.
template <class Exec> std::vector<std::vector<Index>> plans(Exec const& exec, Index T, Index E) {
  constexpr Index K = 3;
  Router const router{TopK<K>{}, Sigmoid{}};
  Options options;
  options.padding = padding_of(T);
  auto const logits = logits_of(Kind::Coarse, T, E);
  auto const routing = router.route(laws::PlainExec{}, matrix(logits, T, E), options.view());
  std::vector<std::vector<Index>> parts;
  auto const put = [&](Plan const& p) {
    auto const add = [&](auto const& v) { parts.emplace_back(v.data(), v.data() + v.size()); };
    add(p.offsets());
    add(p.order());
    add(p.loads());
    add(p.kept());
    parts.emplace_back(p.slot_of().data(), p.slot_of().data() + T * K);
  };
  auto const aligned = [&](auto policy) {
    Plan const plan = make_plan(exec, policy, E, routing);
    put(plan);
    for (Index const block : {1, 16, 128}) {
      AlignedPlan const blocks = make_aligned(exec, Alignment{.block = block}, plan);
      put(blocks.plan);
      parts.emplace_back(blocks.block_experts.begin(), blocks.block_experts.end());
    }
  };
  aligned(PlanPolicy<>{});
  aligned(PlanPolicy<DropByPosition<>>{.drop = {}, .capacity = capacities::megatron(1)});
  aligned(PlanPolicy<DropByProbability>{.drop = {}, .capacity = capacities::megatron(1), .order = SlotOrder::Priority});
  return parts;
}
BOOST_AUTO_TEST_CASE(plan) {
  for (Index const T : {1, 7, 5001})
    for (Index const E : {3, 40}) {
      auto const expected = plans(laws::PlainExec{}, T, E);
      for (LaneOrder const order : {LaneOrder::Up, LaneOrder::Down})
        BOOST_TEST((plans(WarpExec{.order = order, .warps = 5}, T, E) == expected), "T = " << T << ", E = " << E);
    }
}

BOOST_AUTO_TEST_CASE(chunks_are_summed) {
  Index const chunks = 70, bins = 3;
  std::vector<Index> table;
  for (Index i = 0; i < chunks * bins; ++i) table.push_back(i * 7919 % 101);
  std::vector<Index> tables[2] = {table, table}, sizes[2], all[2];
  for (int way : {0, 1}) {
    sizes[way].resize(bins + 1), all[way].resize(bins);
    detail::SumChunks const sum{chunks, bins, 3000, nullptr, tables[way].data(), sizes[way].data(), all[way].data(), nullptr};
    for (Index b = 0; b <= bins; ++b)
      if (way == 0)
        sum(b);
      else
        HostWarp::run(LaneOrder::Up, [&] { sum.warp(HostWarp{}, b); });
  }
  BOOST_TEST((tables[0] == tables[1] && sizes[0] == sizes[1] && all[0] == all[1] && tables[0] != table));
}

BOOST_AUTO_TEST_CASE(other_statistics) {
  same_bits<stats::List<stats::MarginHistogram<16>, stats::ScoreSums>, float>(Router{TopK<4>{}, Sigmoid{}},
                                                                           {.tokens = 9, .experts = 60});
}

BOOST_AUTO_TEST_SUITE_END()
