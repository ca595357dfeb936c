// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The set-up of the LocMoE paper in the step-time model: 16 experts on 8, 16 or 32 nodes of 8 devices.

#include "machine.hpp"
#include "spread.hpp"

#include <cmath>

namespace locality::paper {

inline constexpr Index experts = 16;
/// "Training time per epoch reduced by 12.68 % to 22.24 %"; all-to-all 18.10 % of the time at 16 nodes, 28.74 % at 32.
inline constexpr double least_saving = 0.1268, most_saving = 0.2224, share_16 = 0.1810, share_32 = 0.2874;
/// "All-to-all time: -5.13 %".
inline constexpr double less_exchange = 0.0513;

/// What a router does, as far as time goes.
struct Habit {
  double stays = 0; // share of its tokens that a node with experts keeps; below 1 / N: what chance keeps
  double vio = 0;   // the fullest expert: load / mean - 1; the others are alike
};

inline constexpr double tokens_of_node = 1 << 20; // many, so that rounding to rows is nothing

/// What one exchange has to carry for a router.
struct Exchange {
  moebal::Topology topology;
  std::vector<std::int64_t> load, rows; // [E], [N, N]
};
inline Exchange exchange_of(Index nodes, Habit habit) {
  Exchange e{spread(experts, nodes, 1), {}, std::vector<std::int64_t>(std::size_t(nodes * nodes))};
  // The load that is wanted; what stays on a node goes to its experts in proportion, all else makes up the sums.
  std::vector<double> share(experts, (1 - (1 + habit.vio) / double(experts)) / double(experts - 1));
  share[0] = (1 + habit.vio) / double(experts);
  std::vector<double> of_node(std::size_t(nodes), 0);
  for (Index i = 0; i < experts; ++i)
    of_node[std::size_t(e.topology.rank_of(moebal::ExpertId(i)))] += share[std::size_t(i)];

  std::vector<double> leaves, wanted; // [N] what a node sends away, what it has to get from others
  for (double const part : of_node) {
    double const all = part * double(nodes) * tokens_of_node, chance = part * tokens_of_node;
    double const kept = part > 0 ? std::min(all, std::max(chance, habit.stays * tokens_of_node)) : 0;
    leaves.push_back(tokens_of_node - kept);
    wanted.push_back(all - kept);
  }
  std::vector<double> away(std::size_t(nodes * nodes)); // [N, N] with these sums, found by scaling them in turns
  auto const at = [&](Index from, Index to) -> double& { return away[std::size_t(from * nodes + to)]; };
  for (Index from = 0; from < nodes; ++from)
    for (Index to = 0; to < nodes; ++to) at(from, to) = from == to ? 0 : 1;
  for (int turn = 0; turn < 60; ++turn)
    for (Index n = 0; n < nodes; ++n) {
      double out = 0, in = 0;
      for (Index m = 0; m < nodes; ++m) out += at(n, m);
      for (Index m = 0; m < nodes; ++m) at(n, m) *= out > 0 ? leaves[std::size_t(n)] / out : 0;
      for (Index m = 0; m < nodes; ++m) in += at(m, n);
      for (Index m = 0; m < nodes; ++m) at(m, n) *= in > 0 ? wanted[std::size_t(n)] / in : 0;
    }
  for (Index from = 0; from < nodes; ++from)
    for (Index to = 0; to < nodes; ++to)
      e.rows[std::size_t(from * nodes + to)] =
          std::llround(from == to ? tokens_of_node - leaves[std::size_t(from)] : at(from, to));
  for (double const s : share) e.load.push_back(std::llround(s * double(nodes) * tokens_of_node));
  return e;
}

/// How a step of the baseline is spent: its exchanges and its experts; the rest is the same for all routers.
struct Shares {
  double exchange = 0, experts = 0;
};

namespace detail {

/// The least x in [low, high] where f, rising, is at least 0.
template <class F> double root(double low, double high, F const& f) {
  for (int i = 0; i < 60; ++i) {
    double const middle = 0.5 * (low + high);
    (f(middle) < 0 ? low : high) = middle;
  }
  return high;
}

struct Parts {
  double exchange, experts;
};
inline Parts parts(Index nodes, Habit habit, ascend::Values const& values = {}) {
  Exchange const e = exchange_of(nodes, habit);
  auto const time = moebal::cost::step_time(ascend::machine(1, values), e.topology, ascend::expert, e.load,
                                            {e.rows.data(), nodes, nodes});
  return {time.exchange(), time.compute};
}

} // namespace detail

/// Of experts and exchanges together, the exchanges' part of the time, as the published figures of the machine have it.
inline double nominal_share(Index nodes, Habit habit, ascend::Values const& values = {}) {
  detail::Parts const p = detail::parts(nodes, habit, values);
  return p.exchange / (p.exchange + p.experts);
}

/// Part of the baseline's step that the other router saves, negative where it is slower.
inline double saving(Index nodes, Habit baseline, Habit other, Shares shares) {
  detail::Parts const before = detail::parts(nodes, baseline), after = detail::parts(nodes, other);
  return shares.exchange * (1 - after.exchange / before.exchange) +
         shares.experts * (1 - after.experts / before.experts);
}

/// The least share that has to stay in a node for that saving; above 1 where all is not enough.
inline double stays_for(double wanted, Index nodes, Habit baseline, double vio, Shares shares) {
  auto const short_of = [&](double stays) { return saving(nodes, baseline, {stays, vio}, shares) - wanted; };
  return short_of(1) < 0 ? 2 : detail::root(0, 1, short_of);
}

/// The fullest expert up to which the other router is faster than the baseline; below 0: never.
inline double vio_limit(Index nodes, Habit baseline, double stays, Shares shares) {
  if (saving(nodes, baseline, {stays, 0}, shares) < 0) return -1;
  return detail::root(0, 4, [&](double vio) { return -saving(nodes, baseline, {stays, vio}, shares); });
}

} // namespace locality::paper
