// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "row_facts.hpp"
#include "row_scratch.hpp"

namespace moebal::detail {

inline constexpr Index warp_most_k = 32; // choices of a row that a warp routes in registers: one a lane

/// Memory that the lanes of a warp share for one row.
struct WarpScratch {
  Index top_k;
  Index values_size; // numbers beside the choices: E or 0

  MOEBAL_FN std::size_t bytes() const {
    return (sizeof(float) * std::size_t(3 * top_k + values_size) + 15) / 16 * 16;
  }
  MOEBAL_FN float* reals(std::byte* memory) const { return reinterpret_cast<float*>(memory); } // [3 K]
  MOEBAL_FN float* weights(std::byte* memory) const { return reals(memory) + top_k; }          // [K]
  MOEBAL_FN ExpertId* ids(std::byte* memory) const { return reinterpret_cast<ExpertId*>(weights(memory) + top_k); }
  MOEBAL_FN float* values(std::byte* memory) const { return reals(memory) + 3 * top_k; } // [values_size]
};

/// Reads the logits z [E] into `own`: the row that gates and statistics ask.
template <class Row, class Logit>
MOEBAL_FN typename Row::template registers<Logit const> read_row(Logit const* z, Index experts, Logit* own) {
  typename Row::lanes{}.each(experts, [=](auto e) { own[e.word] = z[Index(e)]; });
  return {own};
}

/// RowFacts of a row whose logits are in registers: the common questions are answered from there.
template <class Row, class Gate, class Logit> class WarpFacts : public RowFacts<Gate, Logit> {
  using Base = RowFacts<Gate, Logit>;
  using Lanes = typename Row::lanes;

public:
  /// plain: [K] the ids, where they are the plain top-K already, or null.
  MOEBAL_FN WarpFacts(Base const& base, Gate const& gate, Logit const* own, ExpertId const* plain)
      : Base(base), gate_(gate), x_{own}, plain_(plain) {}

  template <class AnyLanes> MOEBAL_FN bool bad(AnyLanes) const {
    auto const x = x_;
    auto const* const w = this->weights();
    return Lanes{}.any(this->experts(), [=](auto e) { return math::is_nan(x(e)); }) ||
           typename Row::choice_lanes{}.any(this->count(), [=](Index k) { return !math::is_finite(w[k]); });
  }
  template <class AnyLanes> MOEBAL_FN ExpertId const* unbiased(AnyLanes lanes) const {
    return plain_ != nullptr ? plain_ : Base::unbiased(lanes);
  }
  template <class AnyLanes, class F> MOEBAL_FN void each_balance_score(AnyLanes, F f) const {
    float kept[Row::words] = {};
    auto const balance = gate_.balance();
    auto const row = balance.template open<float>(Lanes{}, x_, this->experts(), typename Row::keep{kept});
    Lanes{}.each(this->experts(), [&](auto e) { f(e, balance.share(row, kept[e.word])); });
  }
  template <class AnyLanes> MOEBAL_FN double log_sum_exp(AnyLanes) const {
    return gate::open_softmax<float>(Lanes{}, x_, this->experts()).log_sum_exp();
  }

private:
  Gate const& gate_;
  typename Row::template registers<Logit const> x_;
  ExpertId const* plain_;
};

} // namespace moebal::detail
