// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Runs any router on each execution of this program's backend. Routers are instantiated in harness_*.cpp alone; the
// contracts name them by values. Every run is hard on the library: the workspace has not a byte to spare, outputs and
// workspace are filled with poison before, rows of the outputs lie apart, and whatever lies between and behind them
// must stay poison.

#include "../support/inputs.hpp"

#include <moebal/core/errors.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/gate/sqrt_softplus.hpp>
#include <moebal/router/backward_row.hpp>
#include <moebal/select/group_limited_top_k.hpp>
#include <moebal/stats/counts.hpp>
#include <moebal/stats/load.hpp>
#include <moebal/stats/log_sum_exp_squares.hpp>
#include <moebal/stats/score_sums.hpp>

#include <string>
#include <variant>

namespace contracts {

using moebal::ExpertId;
using moebal::Index;
using moebal_test::Options;

using All = moebal::stats::List<moebal::stats::Counts, moebal::stats::FirstChoiceCounts, moebal::stats::UnbiasedCounts,
                                moebal::stats::UnbiasedFirstChoiceCounts, moebal::stats::ScoreSums,
                                moebal::stats::LogSumExpSquares>;

using Gate = std::variant<moebal::Softmax, moebal::SoftmaxOverChosen, moebal::Sigmoid, moebal::SqrtSoftplus>;
/// One gate of each type, each with its defaults.
inline Gate const gates[] = {moebal::Softmax{}, moebal::SoftmaxOverChosen{}, moebal::Sigmoid{}, moebal::SqrtSoftplus{}};
inline constexpr char const* gate_names[] = {"Softmax", "SoftmaxOverChosen", "Sigmoid", "SqrtSoftplus"};

/// TopK<k> (groups = 0) or GroupLimitedTopK<k>. k: 1, 3, 8, with groups 3; for 16-bit logits 3.
struct Pick {
  Index k = 3;
  Index groups = 0, kept = 1;
  moebal::GroupScore score = moebal::GroupScore::SumTop;
  Index sum_of = 2;
};

template <class Real> struct Outcome {
  Index tokens = 0, experts = 0, top_k = 0, sequences = 0;
  std::vector<ExpertId> ids;      // [T, K]
  std::vector<Real> weights;      // [T, K]
  std::vector<std::int64_t> load; // [S, slots]
  bool in_bounds = true;          // no write outside the outputs and the workspace
  std::int64_t allocations = 0;   // by operator new, in the calls of the library

  ExpertId id(Index t, Index k) const { return ids[std::size_t(t * top_k + k)]; }
  Real weight(Index t, Index k) const { return weights[std::size_t(t * top_k + k)]; }
  moebal::LoadView<All> stats() const { return {const_cast<std::int64_t*>(load.data()), sequences, experts}; }
  std::uint64_t hash() const { return moebal_test::Hash().add(ids).add(weights).add(load).value(); }
};

template <class A> bool same_bits(std::vector<A> const& a, std::vector<A> const& b) {
  return a.size() == b.size() && (a.empty() || __builtin_memcmp(a.data(), b.data(), a.size() * sizeof(A)) == 0);
}
template <class Real> bool same_bits(Outcome<Real> const& a, Outcome<Real> const& b) {
  return same_bits(a.ids, b.ids) && same_bits(a.weights, b.weights) && same_bits(a.load, b.load);
}

std::vector<std::string> const& backend_names();

/// route_into<All> on execution number `backend`.
template <class Logit>
Outcome<moebal::compute_t<Logit>> route(std::size_t backend, Gate const& gate, Pick pick,
                                        moebal::MatrixView<Logit const> logits, Options const& options = {});

template <class Real> struct Gradient {
  std::vector<Real> d_logits; // [T, E]
  bool in_bounds = true;
  std::int64_t allocations = 0;
};
/// backward_into on execution number `backend`; k as for Pick.
template <class Logit>
Gradient<moebal::compute_t<Logit>>
backward(std::size_t backend, Gate const& gate, Index k, moebal::MatrixView<Logit const> logits, Options const& options,
         std::vector<ExpertId> const& ids, moebal::RouterGradient<moebal::compute_t<Logit>> gradient);

/// Calls of operator new so far in this program.
std::int64_t allocations();

} // namespace contracts

// For each execution; what fails names it.
#define FOR_EACH_BACKEND(b)                                                                                            \
  for (std::size_t b = 0; b < contracts::backend_names().size(); ++b) BOOST_TEST_CONTEXT(contracts::backend_names()[b])
