// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "row_facts.hpp"
#include "row_scratch.hpp"

namespace moebal::detail {

inline constexpr Index warp_most_k = 32; // choices of a row that a warp routes in registers: one a lane

/// Memory that the lanes of a warp share for the rows that it takes together.
struct WarpScratch {
  Index top_k;
  Index rows;
  Index values_size; // numbers of one row besides: E or 0

  MOEBAL_FN std::size_t bytes() const {
    return (sizeof(float) * std::size_t(3 * top_k * rows + values_size) + 15) / 16 * 16;
  }
  MOEBAL_FN float* reals(std::byte* memory, Index row) const { // [3 K]
    return reinterpret_cast<float*>(memory) + 3 * top_k * row;
  }
  MOEBAL_FN float* weights(std::byte* memory, Index row) const { return reals(memory, row) + top_k; } // [K]
  MOEBAL_FN ExpertId* ids(std::byte* memory, Index row) const {                                       // [K]
    return reinterpret_cast<ExpertId*>(weights(memory, row) + top_k);
  }
  MOEBAL_FN float* values(std::byte* memory) const { return reals(memory, rows); } // [values_size]
};

/// Reads the logits z [E] into `own`: the row that gates and statistics ask.
template <class Row, class Logit>
MOEBAL_FN typename Row::template registers<Logit const> read_row(Logit const* z, Index experts, Logit* own) {
  typename Row::lanes{}.each(experts, [=](auto e) { own[e.word] = z[Index(e)]; });
  return {own};
}

/// RowFacts of a row that a warp has routed: the common questions are answered from registers, into which the logits, which
/// are in cache, come again.
template <class Row, class Gate, class Logit> class WarpFacts : public RowFacts<Gate, Logit> {
  using Base = RowFacts<Gate, Logit>;
  using Lanes = typename Row::lanes;

public:
  /// logits [E] of the row, of which one is a NaN where nan says so
  /// plain  [K] the ids, where they are the plain top-K already, or null
  MOEBAL_FN WarpFacts(Base const& base, Gate const& gate, Logit const* logits, bool nan, ExpertId const* plain)
      : Base(base), gate_(gate), logits_(logits), nan_(nan), plain_(plain) {}

  template <class AnyLanes> MOEBAL_FN bool bad(AnyLanes) const {
    auto const* const w = this->weights();
    return nan_ ||
           typename Row::choice_lanes{}.any(this->count(), [=](Index k) { return !math::is_finite(w[k]); });
  }
  template <class AnyLanes> MOEBAL_FN ExpertId const* unbiased(AnyLanes lanes) const {
    return plain_ != nullptr ? plain_ : Base::unbiased(lanes);
  }
  template <class AnyLanes, class F> MOEBAL_FN void each_balance_score(AnyLanes, F f) const {
    Logit own[Row::words] = {};
    float kept[Row::words] = {};
    auto const x = read_row<Row>(logits_, this->experts(), own);
    auto const balance = gate_.balance();
    auto const row = balance.template open<float>(Lanes{}, x, this->experts(), typename Row::keep{kept});
    Lanes{}.each(this->experts(), [&](auto e) { f(e, balance.share(row, kept[e.word])); });
  }
  template <class AnyLanes> MOEBAL_FN double log_sum_exp(AnyLanes) const {
    Logit own[Row::words] = {};
    auto const x = read_row<Row>(logits_, this->experts(), own);
    return gate::open_softmax<float>(Lanes{}, x, this->experts()).log_sum_exp();
  }

private:
  Gate const& gate_;
  Logit const* logits_;
  bool nan_;
  ExpertId const* plain_;
};

} // namespace moebal::detail
