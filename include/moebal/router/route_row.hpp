// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Routing one row, written once for every machine.

#include "../core/routing.hpp"
#include "../gate/row.hpp"
#include "../gate/softmax_row.hpp"
#include "../select/rounds.hpp"
#include "../select/selection.hpp"
#include "../stats/statistic.hpp"
#include "row_scratch.hpp"

namespace moebal {

/// A gate, of either kind of gate/row.hpp.
template <class G>
concept gate_policy = elementwise_gate<G> || requires(G const& gate) {
  { gate.weights_read_row(Index{}) } -> std::same_as<bool>;
  gate.balance();
};

namespace detail {

template <class Selection, class Gate, class Needs, class Logit, class Memory> struct RouteRow {
  using real = compute_t<Logit>;
  using Word = rank_word_t<real>;

  Selection selection;
  Gate gate;
  RowScratch<real> scratch;
  MatrixView<Logit const, Memory> logits;
  RowOptions<Memory> options;
  RoutingView<real, Memory> out;
  std::int64_t* partial; // [workers, S, slots], or null: collect nothing
  Index sequences;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte* memory, Index worker, Index t) const {
    Index const experts = logits.cols();
    constexpr Index top_k = Selection::top_k;
    ExpertId* const ids = out.expert_ids.row(t);
    real* const weights = out.weights.row(t);
    if (!options.padding.empty() && options.padding[t] != 0) {
      lanes.each_one(top_k, [=](Index k) {
        ids[k] = no_expert;
        weights[k] = 0;
      });
      return;
    }
    auto const x = LogitRow<Logit>{logits.row(t)};
    bool const scored = Selection::needs_scores || !options.bias.empty();
    using Row = decltype(gate.template open<real>(lanes, x, experts));
    Row row{};
    if (scored || gate.weights_read_row(top_k)) row = gate.template open<real>(lanes, x, experts);

    rank(lanes, x, row, memory, scored);
    selection.choose(lanes, select::Candidates<real>{experts, scratch.words(memory), scratch.values(memory), scratch.selection(memory)},
                     ids);
    real* const chosen = scratch.chosen(memory);
    lanes.each_one(top_k, [=](Index k) { chosen[k] = x(Index(ids[k])); });
    gate.weigh(lanes, row, static_cast<real const*>(chosen), top_k, weights);
    lanes.each(top_k, [=](auto k) { // one NaN everywhere
      auto const w = load(static_cast<real const*>(weights), k);
      store(weights, k, math::keep_nan(w, w));
    });
    if (partial != nullptr) collect(lanes, x, ids, weights, memory, worker, t);
  }

private:
  /// One rank word per expert, and its score + bias where the selection or the bias asks for it.
  template <class Lanes, class X, class Row>
  MOEBAL_FN void rank(Lanes lanes, X x, Row row, std::byte* memory, bool scored) const {
    Word* const words = scratch.words(memory);
    real* const values = scratch.values(memory);
    float const* const bias = options.bias.data();
    bool const biased = !options.bias.empty();
    auto const g = gate;
    if (!scored) {
      lanes.each(logits.cols(), [=](auto e) { store(words, e, rank_word(x(e), e)); });
    } else {
      lanes.each(logits.cols(), [=](auto e) {
        using V = decltype(x(e));
        V const z = x(e);
        V value = g.score(row, z);
        if (biased) value = value + V(load(bias, e));
        store(values, e, value);
        store(words, e, rank_word(biased ? value : z, e));
      });
    }
  }

  template <class Lanes, class X>
  MOEBAL_FN void collect(Lanes lanes, X x, ExpertId const* ids, real const* weights, std::byte* memory, Index worker, Index t) const {
    Index const experts = logits.cols();
    constexpr Index top_k = Selection::top_k;
    Index const sequence = sequences == 1 ? 0 : sequence_of(options.segments.data(), sequences, t);
    std::int64_t* const sums = partial + (worker * sequences + sequence) * Needs::slots(experts);

    bool const bad = lanes.any(experts, [=](auto e) { return math::is_nan(x(e)); }) ||
                     lanes.any(top_k, [=](auto k) { return !math::is_finite(load(weights, k)); });
    lanes.once([=] {
      sums[Needs::tokens_slot] += 1;
      sums[Needs::bad_rows_slot] += bad;
    });
    count<CountSource::Routed>(lanes, ids, sums);
    if constexpr (Needs::template has<stats::UnbiasedCounts> || Needs::template has<stats::UnbiasedFirstChoiceCounts>) {
      Word* const words = scratch.words(memory);
      ExpertId* const unbiased = reinterpret_cast<ExpertId*>(scratch.chosen(memory)); // K ids fit in 2 K reals
      lanes.each(experts, [=](auto e) { store(words, e, rank_word(x(e), e)); });
      select::best_first(lanes, static_cast<Word const*>(words), experts, top_k,
                         [=](Index k, Word word) { lanes.once([=] { unbiased[k] = id_of(word); }); });
      count<CountSource::Unbiased>(lanes, static_cast<ExpertId const*>(unbiased), sums);
    }
    if constexpr (Needs::template has<stats::ScoreSums>) {
      std::int64_t* const scores = sums + Needs::template offset<stats::ScoreSums>(experts);
      auto const balance = gate.balance();
      auto const row = balance.template open<real>(lanes, x, experts);
      lanes.each(experts, [=](auto e) {
        auto const fixed = math::to_fixed(balance.score(row, x(e)), stats::score_one<real>);
        store(scores, e, load(static_cast<std::int64_t const*>(scores), e) + fixed);
      });
    }
    if constexpr (Needs::template has<stats::LogSumExpSquares>) {
      double const lse = gate::open_softmax<real>(lanes, x, experts).log_sum_exp();
      double square = math::mul(lse, lse);
      square = square < stats::square_limit ? square : stats::square_limit;
      if (math::is_nan(lse)) square = 0;
      std::int64_t const whole = std::int64_t(square);
      std::int64_t const fraction = math::to_fixed(square - double(whole), stats::square_one);
      std::int64_t* const squares = sums + Needs::template offset<stats::LogSumExpSquares>(experts);
      lanes.once([=] {
        squares[0] += whole;
        squares[1] += fraction;
      });
    }
  }

  template <CountSource source, class Lanes>
  MOEBAL_FN void count(Lanes lanes, ExpertId const* ids, std::int64_t* sums) const {
    Index const experts = logits.cols();
    if constexpr (Needs::template has<stats::CountsOf<Choices::All, source>>) {
      std::int64_t* const counts = sums + Needs::template offset<stats::CountsOf<Choices::All, source>>(experts);
      lanes.each_one(Selection::top_k, [=](Index k) { counts[ids[k]] += 1; });
    }
    if constexpr (Needs::template has<stats::CountsOf<Choices::First, source>>) {
      std::int64_t* const counts = sums + Needs::template offset<stats::CountsOf<Choices::First, source>>(experts);
      lanes.once([=] { counts[ids[0]] += 1; });
    }
  }
};

} // namespace detail
} // namespace moebal
