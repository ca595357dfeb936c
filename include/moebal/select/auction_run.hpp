// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The auction of select/auction.hpp, from the first bid to the last, on one thread.

#include "auction_slots.hpp"
#include "batch_selection.hpp"

namespace moebal::select {

template <class Real, class Memory> struct AuctionRun {
  BatchCandidates<Real, Memory> batch;
  MatrixView<ExpertId, Memory> ids; // [T, 1] out
  double epsilon;
  Index most_bids;
  AuctionSlots slots{};
  Index* queue = nullptr; // [T] a ring of tokens without a slot
  Index* liked = nullptr; // [E + 1] tokens that like it best
  double least = 0;       // the smallest finite score

  MOEBAL_FN void operator()(Index) const {
    AuctionRun run = *this; // a body is called as a constant
    run.hold();
  }

private:
  MOEBAL_FN double score(Index t, Index e) const {
    double const s = double(batch.scores(t, e));
    return math::is_finite(s) ? s : least;
  }

  MOEBAL_FN void hold() {
    Index const tokens = batch.scores.rows(), experts = batch.scores.cols();
    bool any = false;
    double most = 0;
    Index waiting = 0;
    for (Index t = 0; t < tokens; ++t) {
      ids(t, 0) = no_expert;
      if (batch.is_padding(t)) continue;
      ++waiting;
      for (Index e = 0; e < experts; ++e) {
        double const s = double(batch.scores(t, e));
        if (!math::is_finite(s)) continue;
        least = any && least < s ? least : s;
        most = any && most > s ? most : s;
        any = true;
      }
    }
    share_slots(waiting);
    double const range = most > least ? most - least : 1.0;
    double const smallest = math::mul(range, epsilon);
    double step = range / 4;
    Index left = waiting > 0x1p53 / double(most_bids + 1) ? Index(1) << 53 : waiting * most_bids;
    for (Index e = 0; e < experts; ++e) slots.prices[e] = 0, slots.held[e] = 0;
    for (bool last = false; !last && left > 0; step = step / 4) {
      last = step <= smallest;
      left = round(last ? smallest : step, left);
    }
    for (Index e = 0; e < experts; ++e)
      for (Index i = slots.first[e]; i < slots.first[e] + slots.held[e]; ++i) ids(slots.holders[i], 0) = ExpertId(e);
    for (Index t = 0; t < tokens; ++t) // those that the limit left out
      if (ids(t, 0) < 0 && !batch.is_padding(t)) place(t);
  }

  // T / E slots each, and one more for those that most tokens like best.
  MOEBAL_FN void share_slots(Index waiting) {
    Index const experts = batch.scores.cols(), more = waiting % experts;
    for (Index e = 0; e < experts; ++e) liked[e] = 0;
    for (Index t = 0; t < batch.scores.rows(); ++t) {
      if (batch.is_padding(t)) continue;
      Index best = 0;
      for (Index e = 1; e < experts; ++e) best = score(t, e) > score(t, best) ? e : best;
      ++liked[best];
    }
    slots.first[0] = 0;
    for (Index e = 0; e < experts; ++e) {
      Index ahead = 0;
      for (Index o = 0; o < experts; ++o) ahead += liked[o] > liked[e] || (liked[o] == liked[e] && o < e) ? 1 : 0;
      slots.first[e + 1] = slots.first[e] + waiting / experts + (ahead < more ? 1 : 0);
    }
  }

  // All tokens bid until all have a slot, from the prices of the round before. Returns the bids that are left.
  MOEBAL_FN Index round(double step, Index left) {
    Index const tokens = batch.scores.rows(), experts = batch.scores.cols();
    for (Index e = 0; e < experts; ++e) slots.held[e] = 0;
    Index head = 0, waiting = 0;
    for (Index t = 0; t < tokens; ++t)
      if (!batch.is_padding(t)) queue[waiting++] = t;
    for (; waiting > 0 && left > 0; --left) {
      Index const t = queue[head];
      head = head + 1 == tokens ? 0 : head + 1;
      --waiting;
      Index const loser = bid(t, step);
      if (loser < 0) continue;
      queue[(head + waiting) % tokens] = loser;
      ++waiting;
    }
    return left;
  }

  // Token t bids for its best expert what makes the second best as good, and `step` more. Returns who lost a slot.
  MOEBAL_FN Index bid(Index t, double step) {
    Index best = -1;
    double value = 0, second = 0, worth = 0;
    bool have_second = false;
    for (Index e = 0; e < batch.scores.cols(); ++e) {
      if (slots.room(e) == 0) continue; // no slots: fewer tokens than experts
      double const s = score(t, e), net = s - slots.prices[e];
      if (best < 0 || net > value) {
        have_second = best >= 0;
        second = value;
        best = e, value = net, worth = s;
      } else if (!have_second || net > second) {
        have_second = true;
        second = net;
      }
    }
    return slots.take(best, t, (have_second ? worth - second : slots.prices[best]) + step);
  }

  MOEBAL_FN void place(Index t) {
    Index best = -1;
    for (Index e = 0; e < batch.scores.cols(); ++e)
      if (slots.held[e] < slots.room(e) && (best < 0 || score(t, e) > score(t, best))) best = e;
    ++slots.held[best];
    ids(t, 0) = ExpertId(best);
  }
};

} // namespace moebal::select
