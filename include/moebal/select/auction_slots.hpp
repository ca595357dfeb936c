// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The slots of an auction: those of an expert are a heap, the lowest bid on top.

#include "../core/config.hpp"
#include "../core/ids.hpp"

namespace moebal::select {

struct AuctionSlots {
  double* bids;   // [T] of each slot
  Index* holders; // [T] the token of each slot
  double* prices; // [E] what a slot costs
  Index* first;   // [E + 1] first slot of each expert
  Index* held;    // [E + 1] slots that are taken

  MOEBAL_FN Index room(Index e) const { return first[e + 1] - first[e]; }

  /// Gives token t a slot of expert e for this offer. Returns who lost it, or -1.
  MOEBAL_FN Index take(Index e, Index t, double offer) const {
    double* const b = bids + first[e];
    Index* const h = holders + first[e];
    Index loser = -1, at = 0;
    if (held[e] < room(e)) {
      at = held[e]++;
      for (; at > 0 && b[(at - 1) / 2] > offer; at = (at - 1) / 2) move(b, h, (at - 1) / 2, at);
    } else {
      loser = h[0]; // offers are above the price, which is the lowest bid
      for (Index child = 1; child < room(e); child = 2 * at + 1) {
        if (child + 1 < room(e) && b[child + 1] < b[child]) ++child;
        if (!(b[child] < offer)) break;
        move(b, h, child, at);
        at = child;
      }
    }
    b[at] = offer, h[at] = t;
    if (held[e] == room(e)) prices[e] = b[0];
    return loser;
  }

private:
  MOEBAL_FN static void move(double* b, Index* h, Index from, Index to) {
    b[to] = b[from];
    h[to] = h[from];
  }
};

} // namespace moebal::select
