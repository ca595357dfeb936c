// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Routing the rows of a tile together, with the bits of the row form.

#include "../core/routing.hpp"
#include "row_facts.hpp"
#include "row_scratch.hpp"
#include "tile_facts.hpp"

namespace moebal::detail {

/// Routes the rows [first, first + Tile::rows) of a RouteRow.
template <class Tile, class Body> class RouteTile {
public:
  RouteTile(Body const& body, std::byte* memory, Index worker, Index first)
      : body_(body), memory_(memory), worker_(worker), first_(first), experts_(body.logits.cols()),
        logits_{body.logits.row(first - body.first_row), body.logits.row_stride()} {}

  void route() {
    if (unsigned const refused = by_rows(); refused == every_row) {
      route_rows(refused);
      rank_rows();
    } else {
      route_together(refused);
    }
  }

private:
  static constexpr Index rows = Tile::rows, top_k = Body::top_k;
  static constexpr unsigned every_row = Tile::every_row;
  using Logit = typename Body::logit;
  using Pack = typename Tile::pack;
  using Gate = decltype(Body::gate);
  using Logits = typename Tile::template logits<Logit>;
  using Row = decltype(std::declval<Gate const&>().template open<float>(typename Tile::lanes{},
                                                                        LogitRow<Logit>{nullptr}, Index{}));
  static constexpr bool opens_together = requires { requires Gate::opens_tiles; };
  static constexpr bool has_rough_scores = requires { requires Gate::rough_error() > 0; };

  // Rows to be left to the row form from the start: padding, and all of them where keys do not fit.
  unsigned by_rows() const {
    bool const biased = !body_.options.bias.empty();
    if ((Body::selection_needs_scores && !biased) || // keys and group scores are then two numbers
        body_.logits.row_stride() > Tile::most_stride || experts_ > Tile::most_experts)
      return every_row;
    unsigned padded = 0;
    if (!body_.options.padding.empty())
      for (int r = 0; r < rows; ++r) padded |= unsigned(body_.options.padding[first_ + r] != 0) << r;
    return padded;
  }
  void route_rows(unsigned which) const {
    for (; which != 0; which &= which - 1)
      Tile::in_row_form([&](auto lanes) { body_.route(lanes, memory_, worker_, first_ + __builtin_ctz(which)); });
  }

  // Ranks go in the order of rows. Rows that are left to the row form come last, so ranks wait for all ids.
  void rank_rows() const {
    if (body_.ranks.counts == nullptr) return;
    auto* const counts = body_.ranks.of_row(first_); // runs are whole tiles
    for (Index r = 0; r < rows; ++r) body_.ranks.count(lanes_, counts, top_k, first_ + r);
  }
  void rank_together(unsigned missed, [[maybe_unused]] std::int32_t const (*ids)[Tile::rows]) const {
    auto const& ranks = body_.ranks;
    if constexpr (top_k <= 16 && requires { Tile::Few::template rank<int(top_k)>(ids, 0, nullptr, nullptr, 0); })
      if (ranks.counts != nullptr && missed == 0 && experts_ <= 16) // the counters would wait for one another
        return Tile::Few::template rank<int(top_k)>(ids, experts_, ranks.of_row(first_), ranks.ranks.row(first_),
                                                   ranks.ranks.row_stride());
    rank_rows();
  }

  void route_together(unsigned missed) {
    bool const biased = !body_.options.bias.empty();
    auto opened = open_none();
    if (biased) opened = open(gate::KeepNothing{});
    std::int32_t ids[top_k][rows];
    float taken[top_k][rows];
    typename Tile::taken_keys taken_keys{taken[0]};
    missed |= choose(biased, opened, ids, taken_keys);
    if (missed != 0)
      for (Index k = 0; k < top_k; ++k)
        for (Index r = 0; r < rows; ++r)
          if (missed >> r & 1) ids[k][r] = 0; // to be overwritten; must be read from somewhere until then

    bool const reads_row = body_.gate.weights_read_row(top_k);
    float* const kept = body_.scratch.tile_keys(memory_);
    bool const keeps = !biased && reads_row && body_.partial != nullptr;
    Pack chosen[top_k], weights[top_k];
    for (Index k = 0; k < top_k; ++k) chosen[k] = taken_keys.known ? Tile::load(taken[k]) : logits_at(ids[k]);
    Pack const first = chosen[0];
    Pack const* const largest = biased ? nullptr : &first; // experts rank by logit
    if (keeps)
      opened = open(typename Tile::memory{kept, experts_}, largest);
    else if (!biased && reads_row)
      opened = open(gate::KeepNothing{}, largest);
    body_.gate.weigh(typename Tile::row_lanes{}, opened, static_cast<Pack const*>(chosen), top_k, top_k, weights);
    Pack nothing = weights[0] * 0.0f; // a NaN where a weight is not finite
    for (Index k = 1; k < top_k; ++k) nothing = nothing + weights[k] * 0.0f;
    missed |= Tile::bits(math::is_nan(nothing));

    Tile::Columns::template store_rows<int(top_k)>(ids, body_.out.expert_ids.row(first_), body_.out.expert_ids.row_stride());
    Tile::Columns::template store_rows<int(top_k)>(weights, body_.out.weights.row(first_), body_.out.weights.row_stride());
    route_rows(missed);
    rank_together(missed, ids);
    if (unsigned const live = every_row & ~missed; body_.partial != nullptr && live != 0)
      collect(live, ids, kept, opened, keeps, largest);
  }

  LogitRow<Logit> logit_row(Index r) const { return {body_.logits.row(first_ - body_.first_row + r)}; }

  // What the gate reads of whole rows.
  static auto open_none() {
    return decltype(std::declval<Gate const&>().template open<Pack>(typename Tile::row_lanes{}, LogitRow<Pack>{nullptr},
                                                                    Index{})){};
  }
  template <class Keep> auto open(Keep keep, [[maybe_unused]] Pack const* largest = nullptr) const {
    if constexpr (opens_together) {
      return body_.gate.template open<Pack>(typename Tile::open_lanes{largest}, logits_, experts_, keep);
    } else {
      auto opened = open_none();
      if constexpr (!std::is_empty_v<Row>)
        for (Index r = 0; r < rows; ++r)
          Tile::set_row(opened, int(r), body_.gate.template open<float>(lanes_, logit_row(r), experts_));
      return opened;
    }
  }

  // The choices of the rows, from keys in place or in scratch memory. Returns the rows that are left.
  template <class Rows>
  unsigned choose(bool biased, Rows const& opened, std::int32_t (*ids)[Tile::rows],
                  typename Tile::taken_keys& taken) const {
    if constexpr (std::same_as<Logit, float>)
      if (!biased)
        return body_.selection.choose_tile(
            Tile{}, typename Tile::keys{logits_.data, logits_.stride, rows * logits_.stride, &taken}, experts_, ids);
    float* const keys = body_.scratch.tile_keys(memory_);
    if constexpr (has_rough_scores)
      if (biased && body_.options.bias_by == BiasBy::Adding && experts_ > 2 * Tile::rows) {
        write_keys(opened, keys, [](auto const& gate, auto row, auto z) { return gate.rough_score(row, z); });
        auto const exact_key = [&](std::int32_t const(&index)[Tile::rows]) {
          return body_.gate.score(opened, logits_at(index)) + bias_at(index);
        };
        typename Tile::template rough_keys<decltype(exact_key)> const rough{
            {keys, experts_}, exact_key, Gate::rough_error()};
        unsigned const missed = body_.selection.choose_tile(Tile{}, rough, experts_, ids);
        if (__builtin_popcount(missed) < 3) return missed;
        // Groups too near to one another for rough sums: exact keys for all rows cost less than three rows on their
        // own.
      }
    write_keys(opened, keys, [](auto const& gate, auto row, auto z) { return gate.score(row, z); });
    return body_.selection.choose_tile(Tile{}, typename Tile::keys{keys, experts_}, experts_, ids);
  }
  // One logit of each row, and the bias of one expert in each row.
  Pack logits_at(std::int32_t const (&index)[Tile::rows]) const {
    if constexpr (std::same_as<Logit, float>) return Tile::gather(logits_.data, logits_.stride, index);
    float z[Tile::rows];
    for (Index r = 0; r < rows; ++r) z[r] = logit_row(r)(Index(index[r]));
    return Tile::load(z);
  }
  Pack bias_at(std::int32_t const (&index)[Tile::rows]) const {
    if (body_.options.classes.empty()) return Tile::gather(body_.options.bias.data(), 0, index);
    float bias[Tile::rows];
    for (Index r = 0; r < rows; ++r) bias[r] = body_.options.bias_of(first_ + r, experts_)[index[r]];
    return Tile::load(bias);
  }
  // [rows, E] the keys that experts rank by, with score(gate, row, z).
  template <class Rows, class Score> void write_keys(Rows const& opened, float* keys, Score score) const {
    BiasBy const by = body_.options.bias_by;
    auto const gate = body_.gate;
    for (Index r = 0; r < rows; ++r) {
      for (Index e = 0; e < experts_; e += 64 / Index(sizeof(Logit)))
        __builtin_prefetch(logits_.data + (rows + r) * logits_.stride + e);
      auto const x = logit_row(r);
      auto const row = Tile::row_of(opened, int(r));
      float const* const bias = body_.options.bias_of(first_ + r, experts_);
      float* const own = keys + r * experts_;
      lanes_.each(experts_, [=](auto e) {
        using V = decltype(x(e));
        V value = x(e);
        if (bias != nullptr) value = with_bias(score(gate, row, value), V(load(bias, e)), by);
        store(own, e, value);
      });
    }
  }

  template <class Rows>
  void collect(unsigned live, std::int32_t const (*ids)[Tile::rows], float* kept, [[maybe_unused]] Rows const& opened,
               [[maybe_unused]] bool is_kept, Pack const* largest) const {
    Index const sequences = body_.sequences;
    Index const sequence = sequences == 1 ? 0 : sequence_of(body_.options.segments.data(), sequences, first_);
    auto const each_row = [&](auto f) { // f(facts) for one row at a time
      for (unsigned left = live; left != 0; left &= left - 1) {
        Index const t = first_ + __builtin_ctz(left);
        f(body_.facts(logit_row(__builtin_ctz(left)), top_k, body_.out.expert_ids.row(t), body_.out.weights.row(t),
                      memory_, t),
          t);
      }
    };
    if (sequences > 1 && sequence != sequence_of(body_.options.segments.data(), sequences, first_ + rows - 1)) {
      each_row([&](auto const& facts, Index t) {
        Body::needs::add(lanes_, facts,
                         body_.sums_of(worker_, sequence_of(body_.options.segments.data(), sequences, t)));
      });
      return;
    }
    TileFacts<Tile, Gate, Logits> facts(body_.gate, logits_, experts_, live, ids, top_k, kept,
                                        body_.ranks.counts != nullptr && sequences == 1, largest);
    if constexpr (std::same_as<Rows, typename TileFacts<Tile, Gate, Logits>::Row>)
      if (is_kept) facts.reuse(opened);
    Body::needs::add_tile(lanes_, facts, each_row, body_.sums_of(worker_, sequence));
  }

  Body const& body_;
  std::byte* memory_;
  Index worker_, first_, experts_;
  Logits logits_;
  typename Tile::lanes lanes_;
};

} // namespace moebal::detail
