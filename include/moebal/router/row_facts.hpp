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

  MOEBAL_FN RowFacts(Gate const& gate, LogitRow<Logit> logits, Index experts, Index top_k, Index count,
                     ExpertId const* ids, real const* weights, float const* bias, Index token_class,
                     rank_word_t<real>* words, real* values, ExpertId* spare_ids)
      : gate_(gate), logits_(logits), experts_(experts), top_k_(top_k), count_(count), ids_(ids), weights_(weights),
        bias_(bias), token_class_(token_class), words_(words), values_(values), spare_ids_(spare_ids) {}

  MOEBAL_FN Index experts() const { return experts_; }
  MOEBAL_FN Index top_k() const { return top_k_; }
  MOEBAL_FN Index count() const { return count_; }             // experts chosen, at most K
  MOEBAL_FN ExpertId const* ids() const { return ids_; }       // [count] as routed
  MOEBAL_FN real const* weights() const { return weights_; }   // [count]
  MOEBAL_FN Index token_class() const { return token_class_; } // RowOptions::classes of the row, or 0

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
    real* const kept = values_;
    auto const balance = gate_.balance();
    auto const row = balance.template open<real>(lanes, x, experts_, [=](auto e, auto u) { store(kept, e, u); });
    lanes.each(experts_, [=](auto e) { f(e, balance.share(row, load(static_cast<real const*>(kept), e))); });
  }
  /// f(e, s) with the gate's score of every expert, e an Index.
  template <class Lanes, class F> MOEBAL_FN void each_score(Lanes lanes, F f) const {
    auto const x = logits_;
    auto const g = gate_;
    real* const scores = values_;
    auto const row = gate_.template open<real>(lanes, x, experts_);
    lanes.each(experts_, [=](auto e) { store(scores, e, g.score(row, x(e))); });
    lanes.each_one(experts_, [=](Index e) { f(e, scores[e]); });
  }
  /// The smallest and the largest bias; 0 without a bias.
  struct BiasRange {
    real least, most;
  };
  template <class Lanes> MOEBAL_FN BiasRange bias_range(Lanes lanes) const {
    if (bias_ == nullptr) return {0, 0};
    auto const x = logits_;
    float const* const b = bias_;
    real const least = -real(__builtin_huge_val());
    real const most = lanes.template max<real>(experts_, [=](auto e) { return decltype(x(e))(load(b, e)); }, least);
    return {-lanes.template max<real>(experts_, [=](auto e) { return -decltype(x(e))(load(b, e)); }, least), most};
  }
  /// f(e, alpha - s_e) with the score s of every expert, e an Index; alpha is the (K + 1)-th best score + bias, so that
  /// this is the bias from which on an expert is chosen. Nothing where K = E. Groups play no part, and a bias adds.
  template <class Lanes, class F> MOEBAL_FN void each_margin(Lanes lanes, F f) const {
    if (top_k_ >= experts_) return;
    auto const x = logits_;
    auto const g = gate_;
    float const* const b = bias_;
    auto* const words = words_;
    real* const scores = values_;
    auto const row = gate_.template open<real>(lanes, x, experts_);
    lanes.each(experts_, [=](auto e) {
      using V = decltype(x(e));
      V const s = g.score(row, x(e));
      store(scores, e, s);
      store(words, e, rank_word(b == nullptr ? s : s + V(load(b, e)), e));
    });
    rank_word_t<real> last = 0;
    select::best_first(lanes, static_cast<rank_word_t<real> const*>(words), experts_, top_k_ + 1,
                       [&](Index, rank_word_t<real> word) { last = word; });
    Index const next = Index(id_of(last));
    real const alpha = b == nullptr ? scores[next] : scores[next] + real(b[next]);
    lanes.each_one(experts_, [=](Index e) { f(e, alpha - scores[e]); });
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
  float const* bias_; // [E] of the row's class, or null
  Index token_class_;
  rank_word_t<real>* words_; // [E] scratch
  real* values_;             // [E] scratch
  ExpertId* spare_ids_;      // [K] scratch
};

} // namespace moebal::detail
