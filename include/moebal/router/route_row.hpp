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
  static constexpr char const* region = "moebal::Router::route"; // as profilers show it
  using Word = rank_word_t<real>;

  Selection selection;
  Gate gate;
  RowScratch<real> scratch;
  MatrixView<Logit const, Memory> logits;
  RowOptions<Memory> options;
  RoutingView<real, Memory> out;
  std::int64_t* partial; // [copies, S, slots], or null: collect nothing
  Index copies;
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

    if constexpr (Selection::needs_scores || Selection::needs_keys) rank(lanes, x, row, t, memory, scored);
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
    collect(lanes, x, count, ids, weights, memory, worker, t);
  }

  /// Tile::rows rows from `first` on, through the same arithmetic with one row a lane; rows that the selection leaves, and tiles with
  /// padding, go through the row form.
  template <class Tile>
    requires(std::same_as<real, float> && requires(Selection const& s) { s.choose_tile(Tile{}, nullptr, Index{}, Index{}, nullptr); })
  void tile(Tile, std::byte* memory, Index worker, Index first) const {
    constexpr Index top_k = Selection::top_k, rows = Tile::rows;
    using Pack = typename Tile::pack;
    typename Tile::lanes const lanes;
    auto const row_form = [&](Index r) { (*this)(lanes, memory, worker, first + r); };
    bool const biased = !options.bias.empty();
    bool by_rows = (Selection::needs_scores && !biased) || // keys and group scores are then two numbers
                   logits.row_stride() > Tile::most_stride || logits.cols() > Tile::most_stride;
    if (!options.padding.empty())
      for (Index r = 0; r < rows; ++r) by_rows |= options.padding[first + r] != 0;
    if (by_rows) {
      for (Index r = 0; r < rows; ++r) row_form(r);
      return;
    }

    Index const experts = logits.cols();
    auto const x = [&](Index r) { return LogitRow<Logit>{logits.row(first + r)}; };
    using Row = decltype(gate.template open<float>(lanes, x(0), experts));
    Row opened[std::size_t(rows)];
    if (biased || gate.weights_read_row(top_k))
      for (Index r = 0; r < rows; ++r) opened[r] = gate.template open<float>(lanes, x(r), experts);

    constexpr bool keys_in_place = std::same_as<Logit, float>;
    float const* keys = nullptr;
    Index stride = experts;
    if constexpr (keys_in_place) {
      keys = logits.row(first);
      stride = logits.row_stride();
    }
    if (biased || !keys_in_place) {
      float* const own = scratch.tile_keys(memory);
      for (Index r = 0; r < rows; ++r) key_row(lanes, x(r), opened[r], first + r, own + r * experts);
      keys = own;
      stride = experts;
    }
    std::int32_t ids[top_k][rows];
    unsigned const missed = selection.choose_tile(Tile{}, keys, stride, experts, ids);
    if (missed != 0)
      for (Index k = 0; k < top_k; ++k)
        for (Index r = 0; r < rows; ++r)
          if (missed >> r & 1) ids[k][r] = 0; // to be overwritten; must be read from somewhere until then

    Pack chosen[top_k], weights[top_k];
    for (Index k = 0; k < top_k; ++k) {
      if constexpr (keys_in_place) {
        chosen[k] = Tile::gather(logits.row(first), logits.row_stride(), ids[k]);
      } else {
        for (Index r = 0; r < rows; ++r) chosen[k].v[r] = x(r)(Index(ids[k][r]));
      }
    }
    gate.weigh(TileLanesOf<Tile>{}, across<Tile>(opened), static_cast<Pack const*>(chosen), top_k, top_k, weights);
    for (Index k = 0; k < top_k; ++k) weights[k] = math::keep_nan(weights[k], weights[k]);

    for (Index r = 0; r < rows; ++r) {
      if (missed >> r & 1) {
        row_form(r);
        continue;
      }
      ExpertId* const ids_out = out.expert_ids.row(first + r);
      float* const weights_out = out.weights.row(first + r);
      for (Index k = 0; k < top_k; ++k) {
        ids_out[k] = ids[k][r];
        weights_out[k] = weights[k].v[r];
      }
      collect(lanes, x(r), top_k, ids_out, weights_out, memory, worker, first + r);
    }
  }

private:
  template <class Tile> using TileLanesOf = typename Tile::row_lanes;

  /// What each row opened, as one whose numbers are packs.
  template <class Tile, class Row> auto across(Row const* opened) const {
    using Pack = typename Tile::pack;
    using Rows = decltype(gate.template open<Pack>(TileLanesOf<Tile>{}, LogitRow<Pack>{nullptr}, Index{}));
    Rows rows{};
    if constexpr (!std::is_empty_v<Row>) {
      static_assert(sizeof(Rows) == sizeof(Row) * std::size_t(Tile::rows));
      constexpr std::size_t fields = sizeof(Row) / sizeof(float);
      float columns[fields][std::size_t(Tile::rows)];
      for (Index r = 0; r < Tile::rows; ++r) {
        float numbers[fields];
        __builtin_memcpy(numbers, opened + r, sizeof(numbers));
        for (std::size_t f = 0; f < fields; ++f) columns[f][r] = numbers[f];
      }
      __builtin_memcpy(&rows, columns, sizeof(rows));
    }
    return rows;
  }

  /// The keys that experts rank by.
  template <class Lanes, class X, class Row> void key_row(Lanes lanes, X x, Row row, Index t, float* keys) const {
    float const* const bias = options.bias_of(t, logits.cols());
    bool const biased = bias != nullptr;
    BiasBy const by = options.bias_by;
    auto const g = gate;
    lanes.each(logits.cols(), [=](auto e) {
      using V = decltype(x(e));
      V value = x(e);
      if (biased) value = with_bias(g.score(row, value), V(load(bias, e)), by);
      store(keys, e, value);
    });
  }

  /// Shows the routed row to the statistics.
  template <class Lanes, class X>
  MOEBAL_FN void collect(Lanes lanes, X x, Index count, ExpertId const* ids, real const* weights, std::byte* memory, Index worker,
                         Index t) const {
    if (partial == nullptr) return;
    Index const sequence = sequences == 1 ? 0 : sequence_of(options.segments.data(), sequences, t);
    RowFacts<Gate, Logit> const facts(gate, x, logits.cols(), Selection::top_k, count, ids, weights,
                                      options.bias_of(t, logits.cols()), options.class_of(t), scratch.words(memory),
                                      scratch.values(memory), scratch.spare_ids(memory));
    Needs::add(lanes, facts, partial + ((copies == 1 ? 0 : worker) * sequences + sequence) * Needs::slots(logits.cols()));
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
