// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Routing one row, written once for every machine.

#include "../core/routing.hpp"
#include "../select/selection.hpp"
#include "row_facts.hpp"
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
    bool const scored = Selection::needs_scores || (Selection::needs_keys && !options.bias.empty());
    using Row = decltype(gate.template open<real>(lanes, x, experts));
    Row row{};
    if (scored || gate.weights_read_row(top_k)) row = gate.template open<real>(lanes, x, experts);

    if constexpr (Selection::needs_scores || Selection::needs_keys) rank(lanes, x, row, memory, scored);
    Index const tag = options.tags.empty() ? 0 : options.tags[t];
    Index const count = selection.choose(lanes,
                                         select::Candidates<real>{experts, scratch.words(memory), scratch.values(memory),
                                                                  scratch.selection(memory), t, tag},
                                         ids);
    real* const chosen = scratch.chosen(memory);
    lanes.each_one(top_k, [=](Index k) {
      if (k < count) {
        chosen[k] = x(Index(ids[k]));
      } else {
        ids[k] = no_expert;
        weights[k] = 0;
      }
    });
    gate.weigh(lanes, row, static_cast<real const*>(chosen), count, top_k, weights);
    lanes.each(count, [=](auto k) { // one NaN everywhere
      auto const w = load(static_cast<real const*>(weights), k);
      store(weights, k, math::keep_nan(w, w));
    });
    if (partial == nullptr) return;
    Index const sequence = sequences == 1 ? 0 : sequence_of(options.segments.data(), sequences, t);
    RowFacts<Gate, Logit> const facts(gate, x, experts, top_k, count, ids, weights, scratch.words(memory), scratch.spare_ids(memory));
    Needs::add(lanes, facts, partial + (worker * sequences + sequence) * Needs::slots(experts));
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
};

} // namespace detail
} // namespace moebal
