// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/views.hpp"
#include "rounds.hpp"
#include "selection.hpp"

namespace moebal {

/// LASER (arXiv 2510.03293), balance at inference for a model as it is: where a token's scores say clearly which
/// experts it wants it gets the K best; where they do not, the K least loaded of the experts that are nearly as good.
///   clear: the K best hold at least `sharp` of the row's score + bias
///   nearly as good: among the best `candidates`, with at least `near` of the best one's score; the K best always are
/// Equal loads: the better score. Ids come best score first. For scores of 0 and more (Softmax, Sigmoid); a row with
/// NaN counts as clear. load [E]: how busy each expert is, e.g. counts of the last calls; the caller moves it between
/// calls and not during one, so neither the order of tokens nor that of threads matters. The paper's thresholds could
/// not be read. candidates 0 is 2 K; sharp 0.6 and near 0.5 are ours: a model's own distribution of the K best scores'
/// share should set `sharp` (1 and more: always balance; 0: never). Weights are the gate's for the ids taken. Causal:
/// the load is of earlier calls. Communicated: nothing here; serving ranks share their counters. Gradient: for
/// inference. Cost: the row's sum and K rounds over E words in cache; candidates + 2 K rounds more where it is not
/// clear.
template <int K, class Memory = HostMemory> struct Laser {
  static_assert(K >= 1, "moebal: Laser<K> needs K of at least 1");
  static constexpr Index top_k = K;
  static constexpr bool causal = true;
  static constexpr bool needs_keys = true;
  static constexpr bool needs_scores = true;
  static constexpr Index most_candidates = 256; // a candidate's place takes 8 bits

  VectorView<std::int64_t const, Memory> load{}; // [E] at least 0, below 2^55
  float sharp = 0.6f;
  float near = 0.5f;
  Index candidates = 0;

  void check(Index experts) const {
    require_within("K of Laser<K> for E experts (E is the upper bound)", 1, experts, K);
    require_equal("load [E] of Laser", experts, load.size());
    require_within("candidates of Laser<K> (0, or K at least)", K, most_candidates, places());
  }
  MOEBAL_FN static constexpr Index scratch_words(Index experts) { return experts; }

  template <class Real, class Lanes>
  MOEBAL_FN Index choose(Lanes lanes, select::Candidates<Real> row, ExpertId* ids) const {
    using Word = rank_word_t<Real>;
    Word* const words = row.words;
    Real const* const values = row.values;
    Real const all = lanes.template sum<Real>(row.experts, [=](auto e) {
      using moebal::load; // beside our own `load`; packs of lanes bring theirs
      return load(values, e);
    });
    Real best = 0;
    auto const take = [=](Index k, Word word) { lanes.once([=] { ids[k] = id_of(word); }); };
    select::best_first(lanes, static_cast<Word const*>(words), row.experts, K, [&](Index k, Word word) {
      best = best + values[id_of(word)];
      take(k, word);
    });
    if (!(best < math::mul(all, Real(sharp)))) return K; // clear

    Word* const free = row.scratch;
    std::int64_t const* const busy = load.data();
    lanes.each_one(row.experts, [=](Index e) { free[e] = 0; });
    Real least = 0;
    Index const n = places() < row.experts ? places() : row.experts;
    select::best_first(lanes, static_cast<Word const*>(words), row.experts, n, [&](Index place, Word word) {
      Index const e = Index(id_of(word));
      if (place == 0) least = math::mul(values[e], Real(near));
      if (place >= K && !(values[e] >= least)) return;
      lanes.once([=] { free[e] = ~(Word(busy[e]) << 8 | Word(place)); });
    });
    Word last = 0; // the least free that is taken
    select::best_first(lanes, static_cast<Word const*>(free), row.experts, K, [&](Index, Word word) { last = word; });
    lanes.each_one(row.experts, [=](Index e) { words[e] = free[e] >= last ? words[e] : 0; });
    select::best_first(lanes, static_cast<Word const*>(words), row.experts, K, take);
    return K;
  }

private:
  MOEBAL_FN Index places() const { return candidates > 0 ? candidates : 2 * K; }
};
static_assert(row_selection<Laser<2>>);

} // namespace moebal
