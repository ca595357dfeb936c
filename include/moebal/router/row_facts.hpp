// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../gate/row.hpp"
#include "../gate/softmax_row.hpp"
#include "../select/rounds.hpp"

namespace moebal::detail {

/// What a statistic may ask of a row that has just been routed. Each answer is computed when it is asked for.
template <class Gate, class Logit> class RowFacts {
public:
  using real = compute_t<Logit>;

  MOEBAL_FN RowFacts(Gate const& gate, LogitRow<Logit> logits, Index experts, Index top_k, Index count, ExpertId const* ids,
                     real const* weights, rank_word_t<real>* words, ExpertId* spare_ids)
      : gate_(gate), logits_(logits), experts_(experts), top_k_(top_k), count_(count), ids_(ids), weights_(weights), words_(words),
        spare_ids_(spare_ids) {}

  MOEBAL_FN Index experts() const { return experts_; }
  MOEBAL_FN Index top_k() const { return top_k_; }
  MOEBAL_FN Index count() const { return count_; }           // experts chosen, at most K
  MOEBAL_FN ExpertId const* ids() const { return ids_; }     // [count] as routed
  MOEBAL_FN real const* weights() const { return weights_; } // [count]

  /// A NaN logit, or a weight that is not finite.
  template <class Lanes> MOEBAL_FN bool bad(Lanes lanes) const {
    auto const x = logits_;
    auto const w = weights_;
    return lanes.any(experts_, [=](auto e) { return math::is_nan(x(e)); }) ||
           lanes.any(count_, [=](auto k) { return !math::is_finite(load(w, k)); });
  }
  /// [K] the plain top-K of the logits, without bias and groups.
  template <class Lanes> MOEBAL_FN ExpertId const* unbiased(Lanes lanes) const {
    auto const x = logits_;
    auto* const words = words_;
    auto* const ids = spare_ids_;
    lanes.each(experts_, [=](auto e) { store(words, e, rank_word(x(e), e)); });
    select::best_first(lanes, static_cast<rank_word_t<real> const*>(words), experts_, top_k_,
                       [=](Index k, rank_word_t<real> word) { lanes.once([=] { ids[k] = id_of(word); }); });
    return ids;
  }
  /// f(e, q) with the row-normalised score of every expert.
  template <class Lanes, class F> MOEBAL_FN void each_balance_score(Lanes lanes, F f) const {
    auto const x = logits_;
    auto const balance = gate_.balance();
    auto const row = balance.template open<real>(lanes, x, experts_);
    lanes.each(experts_, [=](auto e) { f(e, balance.score(row, x(e))); });
  }
  template <class Lanes> MOEBAL_FN double log_sum_exp(Lanes lanes) const {
    return gate::open_softmax<real>(lanes, logits_, experts_).log_sum_exp();
  }

private:
  Gate const& gate_;
  LogitRow<Logit> logits_;
  Index experts_, top_k_, count_;
  ExpertId const* ids_;
  real const* weights_;
  rank_word_t<real>* words_; // [E] scratch
  ExpertId* spare_ids_;      // [K] scratch
};

} // namespace moebal::detail
