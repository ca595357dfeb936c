// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The best C tokens of every column, without sorting and without [T, E, C]: a radix search finds where each column is
// cut, and each token then looks which cuts keep it. Integers decide, so neither threads nor machine matter.

#include "../core/workspace.hpp"
#include "best_experts.hpp"
#include "slots.hpp"

namespace moebal::select {

template <class Real> using column_key_t = typename math::Ops<Real>::bits;

/// The rank of a token in a column: 1 for NaN, then -inf, ..., +inf. 0 is for tokens that do not stand there.
template <class Real> MOEBAL_FN inline column_key_t<Real> column_key(Real x) {
  auto const key = order_key(x);
  return key == 0 ? column_key_t<Real>(1) : key;
}
/// The number that has this key; NaN for 0 and 1.
template <class Real> MOEBAL_FN inline Real number_of(column_key_t<Real> key) {
  using Bits = column_key_t<Real>;
  Bits const sign = math::Ieee<Real>::sign;
  if (key <= 1) return math::Ops<Real>::from_bits(Bits{} + math::Ieee<Real>::nan);
  return math::Ops<Real>::from_bits((key & sign) != 0 ? Bits(key ^ sign) : Bits(~key));
}

/// Larger keys are kept, and of equal keys the tokens up to `last`.
template <class Real> struct ColumnCut {
  column_key_t<Real> key;
  Index last;
  MOEBAL_FN bool keeps(column_key_t<Real> k, Index t) const { return k > key || (k == key && t <= last); }
};

/// Cuts a block of columns after their best `slots()` tokens. Key: key(t, e), 0 where token t is no candidate of e.
/// Cost: a pass over the column for each byte of a key, and one more where equal keys straddle the cut.
template <class Real, class Key, class SlotsOf> struct CutColumns {
  static constexpr Index width = 32; // columns at once, so that a cache line is used whole
  using Bits = column_key_t<Real>;

  Key key;
  Index tokens, experts;
  SlotsOf slots;
  std::int64_t* bins; // [E, 256]
  ColumnCut<Real>* cuts;

  MOEBAL_FN void operator()(Index block) const {
    Index const first = block * width, end = first + width < experts ? first + width : experts;
    Index wanted[width];
    for (Index e = first; e < end; ++e) {
      cuts[e] = {0, -1};
      wanted[e - first] = slots();
    }
    for (int shift = 8 * int(sizeof(Bits)) - 8; shift >= 0; shift -= 8) {
      for (Index i = first * 256; i < end * 256; ++i) bins[i] = 0;
      for (Index t = 0; t < tokens; ++t)
        for (Index e = first; e < end; ++e) {
          Bits const k = key(t, e);
          if (k != 0 && (k ^ cuts[e].key) >> shift <= 255) ++bins[e * 256 + Index((k >> shift) & 255)];
        }
      for (Index e = first; e < end; ++e) narrow(e, shift, wanted[e - first]);
    }
    for (Index e = first; e < end; ++e)
      if (cuts[e].last == tokens) find_last(e, wanted[e - first]);
  }

private:
  // One byte further: the bin in which the wanted-th key lies. last = tokens says that equal keys are yet to be
  // counted.
  MOEBAL_FN void narrow(Index e, int shift, Index& wanted) const {
    std::int64_t const* const bin = bins + e * 256;
    bool const top = shift == 8 * int(sizeof(Bits)) - 8;
    if (wanted < 0) return; // settled
    Index above = 0;
    Index b = 255;
    for (; b >= 0 && above + bin[b] < wanted; --b) above += bin[b];
    if (wanted == 0 || (top && b < 0)) { // none, or all that stand there
      cuts[e] = {wanted == 0 ? Bits(~Bits(0)) : Bits(0), -1};
      wanted = -1;
      return;
    }
    wanted -= above;
    cuts[e].key |= Bits(b) << shift;
    if (shift == 0) cuts[e].last = bin[b] == wanted ? tokens - 1 : tokens;
  }
  MOEBAL_FN void find_last(Index e, Index wanted) const {
    for (Index t = 0; t < tokens; ++t)
      if (key(t, e) == cuts[e].key && --wanted == 0) {
        cuts[e].last = t;
        return;
      }
  }
};

/// Keys that are the scores themselves.
template <class Real, class Memory> struct ScoreKey {
  MatrixView<Real const, Memory> scores;
  VectorView<std::uint8_t const, Memory> padding;
  MOEBAL_FN column_key_t<Real> operator()(Index t, Index e) const {
    return !padding.empty() && padding[t] != 0 ? column_key_t<Real>(0) : column_key(scores(t, e));
  }
};

/// The best experts of each token among those whose cut keeps it.
template <class Real, class Key, class Memory> struct TakeKept {
  Key key;
  ColumnCut<Real> const* cuts;
  MatrixView<Real, Memory> scores;
  MatrixView<ExpertId, Memory> ids;
  MOEBAL_FN void operator()(Index t) const {
    BestExperts<Real> best{scores.row(t), ids.row(t), ids.cols()};
    for (Index e = 0; e < scores.cols(); ++e)
      if (cuts[e].keeps(key(t, e), t)) best.add(e);
    best.finish();
  }
};

/// Memory of a cut of E columns.
template <class Real> struct ColumnScratch {
  ColumnCut<Real>* cuts; // [E]
  std::int64_t* bins;    // [E, 256]
  Index* tokens;         // [1] tokens that are no padding

  static std::size_t bytes(Index experts) {
    using W = WorkspaceView<>;
    return W::bytes_for<ColumnCut<Real>>(experts) + W::bytes_for<std::int64_t>(experts * 256) + W::bytes_for<Index>(1);
  }
  template <class Memory> static ColumnScratch take(Index experts, WorkspaceView<Memory>& workspace) {
    return {workspace.template take<ColumnCut<Real>>(experts), workspace.template take<std::int64_t>(experts * 256),
            workspace.template take<Index>(1)};
  }
};

/// Fills the cuts of all columns.
template <class Real, class Exec, class Key, class SlotsOf>
void cut_columns(Exec const& exec, Key key, Index tokens, Index experts, SlotsOf slots, ColumnScratch<Real> scratch) {
  using Cutting = CutColumns<Real, Key, SlotsOf>;
  exec.for_each((experts + Cutting::width - 1) / Cutting::width,
                Cutting{key, tokens, experts, slots, scratch.bins, scratch.cuts});
}

} // namespace moebal::select
