// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Routing a row in a warp's registers, with the bits of the row form: the logits are read once.

#include "warp_facts.hpp"

namespace moebal::detail {

/// Row t, which is no padding, of a RouteRow.
template <class Row, class Body> class RouteWarp {
public:
  MOEBAL_FN RouteWarp(Body const& body, std::byte* memory, WarpScratch scratch, std::byte* shared, Index worker, Index t)
      : body_(body), memory_(memory), scratch_(scratch), shared_(shared), worker_(worker), t_(t),
        experts_(body.logits.cols()) {}

  MOEBAL_FN void route() const {
    Logit own[Row::words] = {};
    auto const x = read_row<Row>(body_.logits.row(t_ - body_.first_row), experts_, own);
    bool const biased = !body_.options.bias.empty(), scored = Body::selection_needs_scores || biased;
    decltype(body_.gate.template open<float>(Lanes{}, x, experts_)) opened{};
    if (scored || body_.gate.weights_read_row(top_k))
      opened = body_.gate.template open<float>(Lanes{}, x, experts_);
    choose(x, own, opened, scored, biased);
    weigh(opened);
    if (body_.partial == nullptr) return;
    WarpFacts<Row, std::remove_const_t<decltype(Body::gate)>, Logit> const facts(
        body_.facts(LogitRow<Logit>{body_.logits.row(t_ - body_.first_row)}, top_k, scratch_.ids(shared_),
                    scratch_.weights(shared_), memory_, t_),
        body_.gate, own, scored ? nullptr : scratch_.ids(shared_));
    Body::needs::add(typename Row::any_lanes{}, facts, body_.sums_of(worker_, body_.sequence_at(t_)));
  }

private:
  static constexpr Index top_k = Body::top_k;
  using Logit = typename Body::logit;
  using Lanes = typename Row::lanes;

  /// The ids, to shared memory.
  template <class X, class Opened>
  MOEBAL_FN void choose(X x, Logit const* own, Opened opened, bool scored, bool biased) const {
    ExpertId* const ids = scratch_.ids(shared_);
    if constexpr (sizeof(Logit) == 2 && !Body::selection_needs_scores)
      if (!scored) {
        typename Row::template ranked<std::uint32_t> ranked;
        ranked.fill(experts_, [&](auto e) { return short_rank_word(own[e.word], e); });
        std::uint32_t const word = body_.selection.choose_warp(Row{}, ranked, nullptr, experts_);
        typename Row::choice_lanes{}.each_one(top_k, [=](Index k) { ids[k] = short_id_of(word); });
        return;
      }
    float* const values = scratch_.values(shared_);
    float const* const bias = body_.options.bias_of(t_, experts_);
    BiasBy const by = body_.options.bias_by;
    typename Row::template ranked<std::uint64_t> ranked;
    ranked.fill(experts_, [&](auto e) {
      float const z = x(e);
      if (!scored) return rank_word(z, e);
      float value = body_.gate.score(opened, z);
      bool const there = Index(e) < experts_;
      if (biased) value = with_bias(value, there ? bias[Index(e)] : 0.0f, by);
      if constexpr (Body::selection_needs_scores)
        if (there) values[Index(e)] = value;
      return rank_word(biased ? value : z, e);
    });
    if constexpr (Body::selection_needs_scores) Row::warp::sync();
    std::uint64_t const word = body_.selection.choose_warp(Row{}, ranked, values, experts_);
    typename Row::choice_lanes{}.each_one(top_k, [=](Index k) { ids[k] = id_of(word); });
  }

  /// The weights, to shared memory, and the answer.
  template <class Opened> MOEBAL_FN void weigh(Opened opened) const {
    typename Row::choice_lanes const lanes;
    ExpertId const* const ids = scratch_.ids(shared_);
    float* const chosen = scratch_.reals(shared_);
    float* const weights = scratch_.weights(shared_);
    Logit const* const z = body_.logits.row(t_ - body_.first_row);
    lanes.each_one(top_k, [=](Index k) { chosen[k] = load(z, Index(ids[k])); });
    body_.gate.weigh(lanes, opened, static_cast<float const*>(chosen), top_k, top_k, weights);
    ExpertId* const ids_out = body_.out.expert_ids.row(t_);
    float* const weights_out = body_.out.weights.row(t_);
    lanes.each_one(top_k, [=](Index k) {
      ids_out[k] = ids[k];
      weights_out[k] = math::keep_nan(weights[k], weights[k]); // one NaN everywhere
    });
  }

  Body const& body_;
  std::byte* memory_;
  WarpScratch scratch_;
  std::byte* shared_;
  Index worker_, t_, experts_;
};

} // namespace moebal::detail
