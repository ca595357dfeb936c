// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/batch.hpp"

#include <moebal/select/expert_choice.hpp>

using namespace select_batch;
using moebal_test::Kind;

namespace {
/// The slow way: sort each column, then let each token keep its best K.
template <int K, class Real> Ids by_sorting(Batch<Real> const& b, Index slots) {
  std::vector<std::vector<rank_word_t<Real>>> kept(std::size_t(b.tokens));
  for (Index e = 0; e < b.experts; ++e) {
    std::vector<std::pair<rank_word_t<Real>, Index>> column;
    for (Index t = 0; t < b.tokens; ++t)
      if (b.padding.empty() || b.padding[std::size_t(t)] == 0) column.emplace_back(rank_word(b.at(t, e), t), t);
    std::sort(column.begin(), column.end(), std::greater<>());
    for (Index i = 0; i < std::min(slots, Index(column.size())); ++i)
      kept[std::size_t(column[std::size_t(i)].second)].push_back(rank_word(b.at(column[std::size_t(i)].second, e), e));
  }
  Ids ids;
  for (auto& row : kept) {
    std::sort(row.begin(), row.end(), std::greater<>());
    ids.emplace_back();
    for (std::size_t k = 0; k < std::min(row.size(), std::size_t(K)); ++k) ids.back().push_back(id_of(row[k]));
  }
  return ids;
}
} // namespace

BOOST_AUTO_TEST_SUITE(select_expert_choice)

BOOST_AUTO_TEST_CASE(by_hand) {
  auto const b = batch_of<float>({{.9f, .1f}, {.8f, .2f}, {.7f, .3f}, {.1f, .9f}});
  ExpertChoice<2> const one{.slots = {.per_token = 1}}; // C = 2
  BOOST_TEST((choices(one, b) == Ids{{0}, {0}, {1}, {1}}));
  BOOST_TEST((choices(ExpertChoice<2>{.slots = {.fixed = 3}}, b) == Ids{{0}, {0, 1}, {0, 1}, {1}}));
  BOOST_TEST((choices(ExpertChoice<1>{.slots = {.fixed = 3}}, b) == Ids{{0}, {0}, {0}, {1}}));
  BOOST_TEST((choices(ExpertChoice<2>{.slots = {.fixed = 0}}, b) == Ids{{}, {}, {}, {}}));
  BOOST_TEST((choices(ExpertChoice<2>{.slots = {.fixed = 9}}, b) == Ids{{0, 1}, {0, 1}, {0, 1}, {1, 0}}));
  auto const equal = batch_of<float>({{1, 1}, {1, 1}, {1, 1}});
  BOOST_TEST((choices(ExpertChoice<2>{.slots = {.fixed = 2}}, equal) == Ids{{0, 1}, {0, 1}, {}})); // the lower token
}

// google-research/vmoe 942a78bc, expert_choice_einsum_dispatcher on a stand-in for JAX (softmax gates, C = 3): who was
// dispatched where.
BOOST_AUTO_TEST_CASE(as_vmoe) {
  std::vector<float> const gates{
      // [10, 12]
      0.190687582f,  0.0446484685f,  0.0168371312f, 0.0871576518f,  0.146484882f,  0.119957894f,  0.0153419338f,
      0.020006761f,  0.108477093f,   0.0824572667f, 0.0140058463f,  0.153937474f,  0.101178199f,  0.0726059526f,
      0.0573473051f, 0.347342432f,   0.0224509835f, 0.101682059f,   0.0471819416f, 0.0642571375f, 0.00967954379f,
      0.0198907964f, 0.0510961637f,  0.10528747f,   0.00845663715f, 0.0860209689f, 0.0399621613f, 0.0566016808f,
      0.344679415f,  0.0572303049f,  0.0311488714f, 0.0134381531f,  0.229499593f,  0.0729903355f, 0.0284324083f,
      0.0315394625f, 0.00638915319f, 0.498697609f,  0.0748724639f,  0.0128415637f, 0.0501310229f, 0.112986512f,
      0.050800167f,  0.058835566f,   0.0176266748f, 0.0503016077f,  0.0543229841f, 0.0121946763f, 0.0833630487f,
      0.133847386f,  0.010113976f,   0.0653503165f, 0.0617594458f,  0.0996878073f, 0.0508473106f, 0.161068946f,
      0.138096794f,  0.0265939478f,  0.0119953956f, 0.157275617f,   0.0381432697f, 0.25695467f,   0.0378008001f,
      0.0214561149f, 0.00563784456f, 0.159420878f,  0.0131459711f,  0.0783107951f, 0.11804688f,   0.0477642417f,
      0.047499802f,  0.175818726f,   0.132405475f,  0.394300312f,   0.021705959f,  0.0221520159f, 0.108047552f,
      0.164717034f,  0.0249750577f,  0.064229846f,  0.0263179168f,  0.0150285298f, 0.018113263f,  0.00800705515f,
      0.187797979f,  0.099691689f,   0.143605664f,  0.0725766495f,  0.0698598102f, 0.0521759726f, 0.0154028898f,
      0.0604578294f, 0.0676149502f,  0.120985128f,  0.0913878828f,  0.0184435472f, 0.0589438193f, 0.124914847f,
      0.0312725492f, 0.227679938f,   0.0175793078f, 0.0380971357f,  0.0273880102f, 0.0157650057f, 0.0652470738f,
      0.0305986628f, 0.301835388f,   0.060678266f,  0.218090951f,   0.0443538763f, 0.0326193087f, 0.0169102456f,
      0.0268935654f, 0.167924076f,   0.0372567326f, 0.140320778f,   0.0283110868f, 0.0312177874f, 0.0306321904f,
      0.225469396f,
  };
  std::vector<std::set<ExpertId>> const dispatched{
      {0, 3, 4, 9},     {2, 3, 6}, {4, 8, 9},     {1, 2, 6, 10}, {6, 7, 8, 11},
      {1, 5, 7, 8, 11}, {1, 4, 5}, {0, 2, 9, 10}, {3, 10},       {0, 5, 7, 11},
  };
  auto const ids = choices(ExpertChoice<12>{.slots = {.fixed = 3}}, Batch<float>{gates, 10, 12});
  for (std::size_t t = 0; t < 10; ++t) {
    std::set<ExpertId> const chosen(ids[t].begin(), ids[t].end());
    BOOST_TEST((chosen == dispatched[t]));
  }
}

BOOST_AUTO_TEST_CASE(slots) {
  BOOST_TEST((Slots{.per_token = 2}.of(10, 8)) == 3);
  BOOST_TEST((Slots{.per_token = 2, .rounding = SlotRounding::Down}.of(10, 8)) == 2);
  BOOST_TEST((Slots{.per_token = 2}.of(8, 8)) == 2);
  BOOST_TEST((Slots{.per_token = 2}.of(0, 8)) == 0);
  BOOST_TEST((Slots{.per_token = 1e15}.of(1000, 1)) == Index(1) << 53);
  BOOST_TEST((Slots{.fixed = 7}.of(1000, 1)) == 7);
  BOOST_CHECK_THROW((ExpertChoice<1>{.slots = {.per_token = -1}}.check(1, 1)), ShapeError);
  BOOST_CHECK_THROW((ExpertChoice<1>{.slots = {.per_token = NAN}}.check(1, 1)), ShapeError);
  BOOST_CHECK_THROW(ExpertChoice<3>{}.check(1, 2), ShapeError);
}

BOOST_AUTO_TEST_CASE(as_sorting) {
  for (auto const kind : moebal_test::all_kinds)
    for (Index const e : {1, 3, 17})
      for (Index const t : {0, 1, 7, 300})
        for (Index const slots : {0, 1, 4, 299}) {
          auto const same = [&]<int K>(auto batch) {
            if (K > e) return;
            BOOST_TEST((choices(ExpertChoice<K>{.slots = {.fixed = slots}}, batch) == by_sorting<K>(batch, slots)));
            batch.padding = moebal_test::padding_of(t);
            BOOST_TEST((choices(ExpertChoice<K>{.slots = {.fixed = slots}}, batch) == by_sorting<K>(batch, slots)));
          };
          BOOST_TEST_CONTEXT(moebal_test::name_of(kind) << ", T " << t << ", E " << e << ", C " << slots) {
            same.template operator()<1>(batch_of<float>(kind, t, e));
            same.template operator()<3>(batch_of<double>(kind, t, e));
            same.template operator()<17>(batch_of<float>(kind, t, e, 3));
          }
        }
}

BOOST_AUTO_TEST_CASE(as_sorting_at_size) {
  for (Index const e : {160, 384}) {
    auto const bell = batch_of<float>(Kind::Bell, 4097, e);
    auto const coarse = batch_of<double>(Kind::Coarse, 4097, e);
    Index const slots = Slots{.per_token = 2}.of(4097, e);
    BOOST_TEST((choices(ExpertChoice<8>{}, bell) == by_sorting<8>(bell, slots)));
    BOOST_TEST((choices(ExpertChoice<8>{}, coarse) == by_sorting<8>(coarse, slots)));
  }
}

// 2408.15664: nine layers of 16 experts, two a token.
BOOST_AUTO_TEST_CASE(leakage) {
  BOOST_TEST(9 * leaked_bits(2, 16) == 50.5324, boost::test_tools::tolerance(1e-6));
  BOOST_TEST(leaked_bits(1, 2) == 0.0);
  BOOST_TEST(leaked_bits(3, 4) == 0.0);
  BOOST_CHECK_THROW(leaked_bits(5, 4), ShapeError);
  BOOST_CHECK_THROW(leaked_bits(0, 4), ShapeError);
}

BOOST_AUTO_TEST_CASE(laws) {
  check_all(ExpertChoice<1>{}, {1, 3, 60});
  check_all(ExpertChoice<9>{}, {9, 60});
}

BOOST_AUTO_TEST_SUITE_END()
