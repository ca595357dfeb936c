// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Routing one row, written once for every machine.

#include "../core/routing.hpp"
#include "../select/selection.hpp"
#include "count_ranks.hpp"
#include "route_part.hpp"
#include "route_warp.hpp"
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
  using logit = Logit;
  using needs = Needs;
  static constexpr Index top_k = Selection::top_k;
  static constexpr bool selection_needs_scores = Selection::needs_scores;
  static constexpr char const* region = "moebal::Router::route"; // as profilers show it
  using Word = rank_word_t<real>;

  Selection selection;
  Gate gate;
  RowScratch<real> scratch;
  MatrixView<Logit const, Memory> logits;
  RowOptions<Memory> options;
  RoutingView<real, Memory> out;
  std::int64_t* partial; // [copies, S, slots], or null: collect nothing
  Index copy_stride;     // of the workers' copies; 0 where there is one
  Index sequences;
  Index first_row = 0; // the token of the first row of logits
  CountRanks<Memory> ranks{};

  MOEBAL_FN std::size_t scratch_bytes() const { return scratch.bytes(); }

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte* memory, Index worker, Index t) const {
    route(lanes, memory, worker, t);
    ranks(lanes, top_k, t);
  }

  /// The row without its ranks.
  template <class Lanes> MOEBAL_FN void route(Lanes lanes, std::byte* memory, Index worker, Index t) const {
    Index const experts = logits.cols();
    ExpertId* const ids = out.expert_ids.row(t);
    real* const weights = out.weights.row(t);
    if (is_padding(t)) return fill_padding(lanes, t);
    auto const x = LogitRow<Logit>{logits.row(t - first_row)};
    bool const scored = Selection::needs_scores || (Selection::needs_keys && !options.bias.empty());
    using Row = decltype(gate.template open<real>(lanes, x, experts));
    Row row{};
    if (scored || gate.weights_read_row(top_k)) row = gate.template open<real>(lanes, x, experts);

    if constexpr (Selection::needs_scores || Selection::needs_keys) rank(lanes, x, row, t, memory, scored);
    Index const tag = options.tags.empty() ? 0 : options.tags[t];
    Index const count =
        selection.choose(lanes,
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
    Needs::add(lanes, facts(x, count, ids, weights, memory, t), sums_of(worker, sequence_at(t)));
  }

  /// Tile::rows rows from `first` on, with the same bits.
  template <class Tile>
    requires(std::same_as<real, float> &&
             requires(Selection const& s) { s.choose_tile(Tile{}, typename Tile::keys{}, Index{}, nullptr); })
  void tile(Tile, std::byte* memory, Index worker, Index first) const {
    RouteTile<Tile, RouteRow>(*this, memory, worker, first).route();
  }

  /// `count` rows, fewer than Tile::rows, with the same bits; false where operator() has to take them.
  template <class Tile>
    requires requires(RouteRow const& row, std::byte* memory) { row.tile(Tile{}, memory, Index{}, Index{}); }
  bool part_of_tile(Tile tile, std::byte* memory, Index worker, Index first, Index count) const {
    return route_part(tile, *this, memory, worker, first, count);
  }

  /// A row in a warp's registers, with the same bits (backend/warp_rows.hpp).
  static constexpr bool has_warp = std::same_as<real, float> && top_k <= warp_most_k &&
                                   requires(Selection const& s) { s.fits_warp(Index{}); };
  Index warp_experts() const { return selection.fits_warp(logits.cols()) ? logits.cols() : 0; }
  std::size_t warp_bytes() const { return warp_scratch().bytes(); }
  /// The weights of a row fill a few lanes alone, so several rows take them together.
  MOEBAL_FN static constexpr int warp_together() {
    int rows = 4;
    while (rows > 1 && rows * top_k > warp_most_k) rows /= 2;
    return rows;
  }
  MOEBAL_FN WarpScratch warp_scratch() const {
    return {top_k, warp_together(), selection_needs_scores ? logits.cols() : 0};
  }
  template <class Row>
  MOEBAL_FN void warp(Row, std::byte* memory, std::byte* shared, Index worker, Index first, int count) const {
    RouteWarp<Row, RouteRow>(*this, memory, shared, worker, first, count).route();
  }

  /// The sums that rows are added to (core/execution.hpp).
  MOEBAL_FN std::int64_t* sums() const { return partial; }
  MOEBAL_FN Index sums_size() const { return partial == nullptr ? 0 : sequences * Needs::slots(logits.cols()); }
  MOEBAL_FN RouteRow with_sums(std::int64_t* sums) const {
    RouteRow body = *this;
    body.partial = sums;
    return body;
  }

  /// What a statistic may ask of row t.
  template <class X>
  MOEBAL_FN auto facts(X x, Index count, ExpertId const* ids, real const* weights, std::byte* memory, Index t) const {
    return RowFacts<Gate, Logit>(gate, x, logits.cols(), Selection::top_k, count, ids, weights,
                                 options.bias_of(t, logits.cols()), options.class_of(t), scratch.words(memory),
                                 scratch.values(memory), scratch.spare_ids(memory));
  }
  MOEBAL_FN Index sequence_at(Index t) const {
    return sequences == 1 ? 0 : sequence_of(options.segments.data(), sequences, t);
  }
  /// The worker's sums of a sequence.
  MOEBAL_FN std::int64_t* sums_of(Index worker, Index sequence) const {
    return partial + worker * copy_stride + sequence * Needs::slots(logits.cols());
  }

  MOEBAL_FN bool is_padding(Index t) const { return !options.padding.empty() && options.padding[t] != 0; }

private:
  template <class Lanes> MOEBAL_FN void fill_padding(Lanes lanes, Index t) const {
    ExpertId* const ids = out.expert_ids.row(t);
    real* const weights = out.weights.row(t);
    lanes.each_one(top_k, [=](Index k) {
      ids[k] = no_expert;
      weights[k] = 0;
    });
  }
  /// One rank word per expert, and its score + bias where the selection or the bias asks for it.
  template <class Lanes, class X, class Row>
  MOEBAL_FN void rank(Lanes lanes, X x, Row row, Index t, std::byte* memory, bool scored) const {
    Word* const words = scratch.words(memory);
    real* const values = scratch.values(memory);
    float const* const bias = options.bias_of(t, logits.cols());
    bool const biased = bias != nullptr;
    BiasBy const by = options.bias_by;
    auto const g = gate;
    if (!scored) {
      lanes.each(logits.cols(), [=](auto e) { store(words, e, rank_word(x(e), e)); });
    } else {
      lanes.each(logits.cols(), [=](auto e) {
        using V = decltype(x(e));
        V const z = x(e);
        V value = g.score(row, z);
        if (biased) value = with_bias(value, V(load(bias, e)), by);
        store(values, e, value);
        store(words, e, rank_word(biased ? value : z, e));
      });
    }
  }
};

} // namespace detail
} // namespace moebal
