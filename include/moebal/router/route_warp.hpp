// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Routing rows in a warp's registers, with the bits of the row form: the logits are read once.

#include "../core/routing.hpp"
#include "warp_facts.hpp"

namespace moebal::detail {

/// `count` <= Row::rows rows of a RouteRow, from `first` on.
template <class Row, class Body> class RouteWarp {
public:
  MOEBAL_FN RouteWarp(Body const& body, std::byte* memory, std::byte* shared, Index worker, Index first, int count)
      : body_(body), memory_(memory), shared_(shared), worker_(worker), first_(first), experts_(body.logits.cols()),
        count_(count), scored_(Body::selection_needs_scores || !body.options.bias.empty()) {}

  MOEBAL_FN void route() const {
    Opened opened{}; // of the row that this lane's part will weigh
    unsigned routed = 0, nan = 0;
    for (int r = 0; r < count_; ++r) {
      Index const t = first_ + r;
      if (body_.is_padding(t)) continue;
      routed |= 1u << r;
      Logit own[Row::words] = {};
      auto const x = read_row<Row>(logits_of(t), experts_, own);
      Opened row{};
      if (scored_ || body_.gate.weights_read_row(top_k)) row = body_.gate.template open<float>(Lanes{}, x, experts_);
      choose(t, x, own, row, scratch().ids(shared_, r));
      if (Row::rows == 1 || Row::part::number() == r) opened = row;
      if (body_.partial != nullptr && Lanes{}.any(experts_, [=](auto e) { return math::is_nan(x(e)); })) nan |= 1u << r;
    }
    weigh(routed, opened);
    if (body_.partial == nullptr) return;
    for (int r = 0; r < count_; ++r)
      if ((routed >> r & 1) != 0) collect(r, (nan >> r & 1) != 0);
  }

private:
  static constexpr Index top_k = Body::top_k;
  using Logit = typename Body::logit;
  using Lanes = typename Row::lanes;
  using Gate = std::remove_const_t<decltype(Body::gate)>;
  using Opened = decltype(std::declval<Gate const&>().template open<float>(
      Lanes{}, typename Row::template registers<Logit const>{}, Index{}));

  MOEBAL_FN WarpScratch scratch() const { return body_.warp_scratch(); }
  MOEBAL_FN Logit const* logits_of(Index t) const { return body_.logits.row(t - body_.first_row); }

  /// The ids of row t, to shared memory.
  template <class X> MOEBAL_FN void choose(Index t, X x, Logit const* own, Opened opened, ExpertId* ids) const {
    if constexpr (sizeof(Logit) == 2 && !Body::selection_needs_scores)
      if (!scored_) {
        typename Row::template ranked<std::uint32_t> ranked;
        ranked.fill(experts_, [&](auto e, bool) { return short_rank_word(own[e.word], e); });
        std::uint32_t const word = body_.selection.choose_warp(Row{}, ranked, nullptr, experts_);
        typename Row::choice_lanes{}.each_one(top_k, [=](Index k) { ids[k] = short_id_of(word); });
        return;
      }
    float* const values = scratch().values(shared_);
    float const* const bias = body_.options.bias_of(t, experts_);
    BiasBy const by = body_.options.bias_by;
    float own_bias[Row::words] = {};
    if (bias != nullptr) read_row<Row>(bias, experts_, own_bias);
    typename Row::template ranked<std::uint64_t> ranked;
    ranked.fill(experts_, [&](auto e, [[maybe_unused]] bool there) {
      float const z = x(e);
      if (!scored_) return rank_word(z, e);
      float value = body_.gate.score(opened, z);
      if (bias != nullptr) value = with_bias(value, own_bias[e.word], by);
      if constexpr (Body::selection_needs_scores)
        if (there) values[Index(e)] = value;
      return rank_word(bias != nullptr ? value : z, e);
    });
    if constexpr (Body::selection_needs_scores) Row::warp::sync();
    std::uint64_t const word = body_.selection.choose_warp(Row{}, ranked, values, experts_);
    typename Row::choice_lanes{}.each_one(top_k, [=](Index k) { ids[k] = id_of(word); });
  }

  /// The weights of all rows, to shared memory, and the answers. Part p of the warp takes row p.
  MOEBAL_FN void weigh(unsigned routed_rows, Opened opened) const {
    typename Row::part_lanes const lanes;
    int const part = Row::part::number();
    bool const here = part < count_, routed = (routed_rows >> part & 1) != 0;
    Index const t = here ? first_ + part : first_;
    ExpertId const* const ids = scratch().ids(shared_, part);
    float* const chosen = scratch().reals(shared_, part);
    float* const weights = scratch().weights(shared_, part);
    Logit const* const z = logits_of(t);
    lanes.each_one(top_k, [=](Index k) { chosen[k] = routed ? load(z, Index(ids[k])) : 0.0f; });
    body_.gate.weigh(lanes, opened, static_cast<float const*>(chosen), top_k, top_k, weights);
    ExpertId* const ids_out = body_.out.expert_ids.row(t);
    float* const weights_out = body_.out.weights.row(t);
    lanes.each_one(top_k, [=](Index k) {
      if (!here) return;
      ids_out[k] = routed ? ids[k] : no_expert;
      weights_out[k] = routed ? math::keep_nan(weights[k], weights[k]) : 0.0f; // one NaN everywhere
    });
  }

  /// What a row tells the statistics.
  MOEBAL_FN void collect(int r, bool nan) const {
    Index const t = first_ + r;
    ExpertId const* const ids = scratch().ids(shared_, r);
    WarpFacts<Row, Gate, Logit> const facts(body_.facts(LogitRow<Logit>{logits_of(t)}, top_k, ids,
                                                        scratch().weights(shared_, r), memory_, t),
                                            body_.gate, logits_of(t), nan, scored_ ? nullptr : ids);
    Body::needs::add(typename Row::any_lanes{}, facts, body_.sums_of(worker_, body_.sequence_at(t)));
  }

  Body const& body_;
  std::byte* memory_;
  std::byte* shared_;
  Index worker_, first_, experts_;
  int count_;
  bool scored_;
};

} // namespace moebal::detail
