// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Laws that cannot fail are worthless: selections that are wrong in one way each, and the law that must say so.
#include "support/test.hpp"

#include "laws/lawful.hpp"

#include <moebal/laws/selection.hpp>
#include <moebal/select/expert_choice.hpp>
#include <moebal/select/threshold.hpp>

using namespace moebal;
using lawful::expect_caught;

namespace {

/// Two experts by any key: the largest key(row, e) first.
template <class Key> struct ByKey {
  static constexpr Index top_k = 2;
  static constexpr bool causal = true, needs_keys = true, needs_scores = true;
  void check(Index experts) const { require_at_least("E of ByKey", 2, experts); }
  MOEBAL_FN static constexpr Index scratch_words(Index) { return 0; }
  template <class Real, class Lanes>
  MOEBAL_FN Index choose(Lanes lanes, select::Candidates<Real> row, ExpertId* ids) const {
    Key const key{};
    lanes.each_one(row.experts, [=](Index e) { row.words[e] = key(row, e); });
    select::best_first(
        lanes, static_cast<rank_word_t<Real> const*>(row.words), row.experts, top_k,
        [=](Index k, rank_word_t<Real> word) { lanes.once([=] { ids[k] = Key::id(word, row.experts); }); });
    return key.count(row);
  }
};
struct Lawful {
  template <class Row> auto operator()(Row const& row, Index e) const { return rank_word(row.values[e], e); }
  template <class Word> static ExpertId id(Word word, Index) { return id_of(word); }
  template <class Row> Index count(Row const&) const { return 2; }
};
struct HigherId : Lawful {
  template <class Row> auto operator()(Row const& row, Index e) const {
    return rank_word(row.values[e], row.experts - 1 - e);
  }
  template <class Word> static ExpertId id(Word word, Index experts) { return ExpertId(experts - 1 - id_of(word)); }
};
struct WorstFirst : Lawful {
  template <class Row> auto operator()(Row const& row, Index e) const { return rank_word(-row.values[e], e); }
};
struct NanFirst : Lawful {
  template <class Row> auto operator()(Row const& row, Index e) const {
    using Real = std::remove_cvref_t<decltype(row.values[e])>;
    return rank_word(math::is_nan(row.values[e]) ? Real(__builtin_huge_val()) : row.values[e], e);
  }
};
struct OnePast : Lawful {
  template <class Word> static ExpertId id(Word word, Index) { return id_of(word) + 1; }
};
struct AlwaysTheFirst : Lawful {
  template <class Word> static ExpertId id(Word, Index) { return 0; }
};
struct ThreeOfTwo : Lawful {
  template <class Row> Index count(Row const&) const { return 3; }
};
struct ByPlace : Lawful { // every third token has a choice less
  template <class Row> Index count(Row const& row) const { return row.token % 3 == 2 ? 1 : 2; }
};
struct LovesExpertOne : Lawful {
  template <class Row> auto operator()(Row const& row, Index e) const {
    return rank_word(row.values[e] + decltype(row.values[e] + 1)(e == 1 ? 1 : 0), e);
  }
};
struct BySize : Lawful { // of the score: a constant changes which are close to 0
  template <class Row> auto operator()(Row const& row, Index e) const { return rank_word(math::abs(row.values[e]), e); }
};
struct ByLanes : TopK<2> { // asked by a SIMD register, it takes one expert
  template <class Real, class Lanes>
  MOEBAL_FN Index choose(Lanes lanes, select::Candidates<Real> row, ExpertId* ids) const {
    TopK<2>::choose(lanes, row, ids);
    return Lanes::width > 1 ? 1 : 2;
  }
  template <class Tile> static void choose_tile(Tile) = delete;
};

// Selections over the batch.
struct CausalLiar : ExpertChoice<2> {
  static constexpr bool causal = true;
};
struct SeesPadding : ExpertChoice<2> {
  template <class Exec, class Real, class Memory>
  void assign(Exec const& exec, select::BatchCandidates<Real, Memory> batch, MatrixView<ExpertId, Memory> ids,
              WorkspaceView<Memory> workspace) const {
    auto const padding = batch.options.padding;
    batch.options.padding = {};
    ExpertChoice<2>::assign(exec, batch, ids, workspace);
    for (Index t = 0; t < padding.size(); ++t)
      for (Index k = 0; padding[t] != 0 && k < top_k; ++k) ids(t, k) = no_expert;
  }
};
struct RoutesPadding : SeesPadding {
  template <class Exec, class Real, class Memory>
  void assign(Exec const& exec, select::BatchCandidates<Real, Memory> batch, MatrixView<ExpertId, Memory> ids,
              WorkspaceView<Memory> workspace) const {
    exec.for_each(ids.rows(), select::TakeBest<Real, Memory>{batch, ids});
    for (Index t = 0; t < ids.rows(); ++t)
      if (batch.is_padding(t)) ids(t, 0) = 0;
    (void)workspace;
  }
};
struct TokensInTurn : ExpertChoice<2> { // the first half of the batch is served, the rest is not
  template <class Exec, class Real, class Memory>
  void assign(Exec const& exec, select::BatchCandidates<Real, Memory> batch, MatrixView<ExpertId, Memory> ids,
              WorkspaceView<Memory>) const {
    exec.for_each(ids.rows(), select::TakeBest<Real, Memory>{batch, ids});
    for (Index t = ids.rows() / 2; t < ids.rows(); ++t) ids(t, 0) = ids(t, 1) = no_expert;
  }
};

template <class Mutant> void caught(char const* name, char const* law) {
  expect_caught(name, law, laws::check_selection(Mutant{}));
}

} // namespace

BOOST_AUTO_TEST_SUITE(laws_selection_mutants)

BOOST_AUTO_TEST_CASE(what_they_are_made_of_is_lawful) {
  lawful::expect("Lawful", laws::check_selection(ByKey<Lawful>{}));
}

BOOST_AUTO_TEST_CASE(by_row) {
  caught<ByKey<HigherId>>("HigherId", "ties go to the lower id");
  caught<ByKey<HigherId>>("HigherId", "best first, equal keys the lower id first");
  caught<ByKey<WorstFirst>>("WorstFirst", "best first, equal keys the lower id first");
  caught<ByKey<NanFirst>>("NanFirst", "NaN comes last");
  caught<ByKey<OnePast>>("OnePast", "ids lie in [0, E)");
  caught<ByKey<AlwaysTheFirst>>("AlwaysTheFirst", "ids are distinct");
  caught<ByKey<ThreeOfTwo>>("ThreeOfTwo", "no more than K experts are chosen");
  caught<ByKey<ByPlace>>("ByPlace", "tokens permuted, the same answer permuted");
  caught<ByKey<ByPlace>>("ByPlace", "a batch with padding is the batch without");
  caught<ByKey<LovesExpertOne>>("LovesExpertOne", "experts renamed, the same answer renamed");
  caught<ByKey<BySize>>("BySize", "a constant added to all keys changes no choice");
  if (CpuLanes<float>::width > 1) caught<ByLanes>("ByLanes", "the same bits on every execution");
  expect_caught("no shape", "one of the shapes is served", laws::check_selection(TopK<3>{}, {.experts = {1, 2}}));
}
BOOST_AUTO_TEST_CASE(by_batch) {
  caught<CausalLiar>("CausalLiar", "later tokens change nothing");
  caught<SeesPadding>("SeesPadding", "what lies in padding matters to nobody");
  caught<RoutesPadding>("RoutesPadding", "padding holds no expert");
  caught<TokensInTurn>("TokensInTurn", "tokens permuted, the same answer permuted");
}

BOOST_AUTO_TEST_SUITE_END()
