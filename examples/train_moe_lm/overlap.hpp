// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How much of a slow network does a step see? The same steps are trained with balancers' messages that take longer, and
// with each way of sending them. docs/many_ranks.md has a table of this.

#include "options.hpp"
#include "strategies.hpp"
#include "table.hpp"
#include "trainer.hpp"
#include "watched.hpp"

#include <moebal/comm/delayed.hpp>
#include <moebal/comm/recording.hpp>

#include <algorithm>
#include <chrono>

namespace train {

/// One cell of the table, and what its runs have measured.
struct OverlapCell {
  std::string strategy;
  BalancerMessages how = BalancerMessages::Packed;
  double delay = 0;              // ms
  std::vector<double> seconds{}; // of steps, all turns
  std::vector<double> room{};    // of each step: the least time from the start of a message to the wait for it, seconds
  double messages = 0;           // of the balancers, in a step
};

constexpr char const* text_of(BalancerMessages how) {
  if (how == BalancerMessages::Blocking) return "blocking";
  return how == BalancerMessages::ByLayer ? "by layer" : "packed";
}

namespace detail {

inline constexpr Index overlap_turns = 5, overlap_warm_up = 2;

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  auto const middle = values.begin() + std::ptrdiff_t(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Trains a few steps; on rank 0 adds what it sees to the cell. Only the balancers' messages are slow: gradients and
/// tokens take the communicator as it is.
inline void measure_overlap(Corpus const& corpus, Settings s, Comm const& comm, OverlapCell& cell) {
  moebal::DelayOptions const delay{.latency = std::chrono::nanoseconds(std::int64_t(cell.delay * 1e6))};
  Watched const slow(moebal::Recording(moebal::Delayed(comm.backend(), delay)));
  Comm const sent = balancers_comm(Comm(moebal::AnyBackend(slow)), cell.how, s.layers);
  Contestant const inner = contestant(*find_strategy(cell.strategy), s.top_k);
  Contestant const delayed{
      inner.name, [&](lab::Make const& make, lab::Comm const&) { return inner.make(make, lab::recorded(sent)); }};
  s.steps += overlap_warm_up + 1; // stopped before the last, so that nothing is validated
  double before = 0;
  Observer observer;
  observer.stepped = [&](Record const& record) {
    if (record.steps() > overlap_warm_up) cell.seconds.push_back(record.step_seconds - before);
    before = record.step_seconds;
    return record.steps() + 1 == s.steps;
  };
  Trainer(corpus, s, observer).run(comm, delayed, s.seed);

  Index const steps = s.steps - 1;
  cell.messages = double(slow.inner().record().calls(moebal::CommVerb::all_reduce_sum)) / double(steps);
  auto const& worked = slow.worked(); // as many in each step
  auto const of_step = std::ptrdiff_t(worked.size()) / steps;
  for (auto first = worked.begin(); of_step > 0 && worked.end() - first >= of_step; first += of_step)
    cell.room.push_back(std::chrono::duration<double>(*std::min_element(first, first + of_step)).count());
}

} // namespace detail

/// All cells in turns, so that what else happens on the machine meets all of them. Collective; whole on rank 0.
inline std::vector<OverlapCell> measure_overlap(Corpus const& corpus, Settings const& s,
                                                std::vector<double> const& delays, Comm const& comm) {
  std::vector<OverlapCell> cells;
  for (std::string const& name : s.strategies)
    for (auto const how : {BalancerMessages::Blocking, BalancerMessages::ByLayer, BalancerMessages::Packed}) {
      cells.push_back({.strategy = name, .how = how});
      for (double const delay : delays) cells.push_back({.strategy = name, .how = how, .delay = delay});
    }
  for (Index turn = 0; turn < detail::overlap_turns; ++turn)
    for (OverlapCell& cell : cells) detail::measure_overlap(corpus, s, comm, cell);
  return cells;
}

inline std::string overlap_text(std::vector<OverlapCell> const& cells, std::vector<double> const& delays,
                                Settings const& s) {
  std::string text = "| strategy | messages | a step | room, ms | step, ms |", rule = "\n|---|---|---|---|---|";
  for (double const delay : delays) {
    text += format(" + %g ms |", delay);
    rule += "---|";
  }
  text += rule;
  double without = 0; // delay
  for (OverlapCell const& c : cells) {
    double const step = detail::median(c.seconds);
    if (c.delay == 0) {
      without = step;
      text += format("\n| %s | %s | %g | %.2f | %.2f |", c.strategy.c_str(), text_of(c.how), c.messages,
                     1e3 * detail::median(c.room), 1e3 * step);
    } else {
      text += format(" %.3f |", step / without);
    }
  }
  return text + format("\nR = %lld, L = %lld, %lld micro-batches a rank and step, E = %lld.\n"
                       "room: the least time from the start of a message to the wait for it, without delay.\n"
                       "+ d ms: steps with messages that take d ms longer, to those without. All are medians.\n",
                       (long long)s.ranks, (long long)s.layers, (long long)s.micro_batches, (long long)s.experts);
}

} // namespace train
