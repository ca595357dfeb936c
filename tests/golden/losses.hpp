// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The library's balancer for one step, as a mapping needs it: statistics in, losses and slopes out.

#include "library.hpp"

#include <moebal/balancer.hpp>
#include <moebal/comm/threads.hpp>

#include <cmath>
#include <type_traits>

namespace golden {

template <class F> auto with_real(Precision p, F f) { return p == Precision::Single ? f(float{}) : f(double{}); }

/// What a balancer says about one micro-batch, times G: the loss of that micro-batch alone.
struct Terms {
  double loss = 0;
  Matrix slopes; // [S, E]
  Row z_slopes;  // [S]
  Row counts;    // [E] the load window's counts, where the rule has any
};

inline void add(Terms& a, Terms const& b, double factor) {
  auto const plus = [factor](std::vector<double>& x, std::vector<double> const& y) {
    if (x.size() < y.size()) x.resize(y.size(), 0);
    for (std::size_t i = 0; i < y.size(); ++i) x[i] += factor * y[i];
  };
  a.loss += factor * b.loss;
  a.slopes.rows = std::max(a.slopes.rows, b.slopes.rows);
  a.slopes.cols = std::max(a.slopes.cols, b.slopes.cols);
  plus(a.slopes.data, b.slopes.data);
  plus(a.z_slopes, b.z_slopes);
}

namespace detail {
template <class Rule, class Balancer> Row window_counts(Balancer& balancer, moebal::Index g) {
  Row counts;
  if constexpr (requires { typename Rule::counts; }) {
    auto const window = balancer.window(g);
    for (moebal::Index e = 0; e < window.experts(); ++e)
      counts.push_back(double(window.template load<typename Rule::counts>(e)));
  }
  return counts;
}

template <class Balancer, class Rule>
std::vector<Terms> run_step(Balancer& balancer, std::vector<moebal::Load<AllStatistics>> const& loads) {
  std::vector<Terms> step;
  auto const G = moebal::Index(loads.size());
  balancer.begin_step(G);
  for (moebal::Index g = 0; g < G; ++g) balancer.observe(g, loads[std::size_t(g)]);
  for (moebal::Index g = 0; g < G; ++g) {
    auto const terms = balancer.terms(g);
    Terms t;
    t.loss = terms.loss * double(G);
    t.slopes = Matrix(terms.slopes.data(), std::size_t(terms.slopes.rows()), std::size_t(terms.slopes.cols()));
    for (double& x : t.slopes.data) x *= double(G);
    for (double x : terms.z_slopes) t.z_slopes.push_back(x * double(G));
    if constexpr (!std::is_same_v<Rule, moebal::ZLoss>) t.counts = window_counts<Rule>(balancer, g);
    step.push_back(std::move(t));
  }
  balancer.end_step();
  return step;
}
} // namespace detail

/// One step on one rank.
template <class Real, class Scope, class Rule>
std::vector<Terms> balance_step(Scope scope, Rule rule, std::size_t top_k,
                                std::vector<moebal::Load<AllStatistics>> const& loads) {
  moebal::BalancerShape const shape{.experts = loads.at(0).experts(), .top_k = moebal::Index(top_k)};
  moebal::Balancer balancer(scope, rule, shape, moebal::Communicator<moebal::Self>{}, std::type_identity<Real>{});
  return detail::run_step<decltype(balancer), Rule>(balancer, loads);
}

/// One step on several ranks, gradients summed over them; answers what rank 0 gets. loads[rank][g].
template <class Real, class Scope, class Rule>
std::vector<Terms> balance_step_of_ranks(Scope scope, Rule rule, std::size_t top_k,
                                         std::vector<std::vector<moebal::Load<AllStatistics>>> const& loads) {
  std::vector<Terms> answer;
  moebal::run_ranks(moebal::Index(loads.size()), [&](moebal::Communicator<moebal::Threads> comm) {
    auto const rank = std::size_t(comm.rank());
    moebal::BalancerShape const shape{
        .experts = loads[rank].at(0).experts(), .top_k = moebal::Index(top_k), .reduction = moebal::Reduction::Sum};
    moebal::Balancer balancer(scope, rule, shape, comm, std::type_identity<Real>{});
    auto step = detail::run_step<decltype(balancer), Rule>(balancer, loads[rank]);
    if (rank == 0) answer = std::move(step);
  });
  return answer;
}

/// A load from somebody else's numbers: counts [S, E] (of all kinds), score sums [S, E], tokens [S].
template <class Real>
moebal::Load<AllStatistics> load_of(Matrix const& counts, Matrix const& score_sums, Row const& tokens) {
  moebal::Load<AllStatistics> load(moebal::Index(counts.rows), moebal::Index(counts.cols));
  auto const view = load.view();
  for (std::size_t s = 0; s < counts.rows; ++s) {
    auto const row = moebal::Index(s);
    view.tokens(row) = std::int64_t(tokens[s]);
    for (std::size_t e = 0; e < counts.cols; ++e) {
      auto const i = moebal::Index(e);
      auto const n = std::int64_t(counts(s, e));
      view.template get<moebal::stats::Counts>(row)[i] = n;
      view.template get<moebal::stats::FirstChoiceCounts>(row)[i] = n;
      view.template get<moebal::stats::UnbiasedCounts>(row)[i] = n;
      view.template get<moebal::stats::UnbiasedFirstChoiceCounts>(row)[i] = n;
      view.template get<moebal::stats::ScoreSums>(row)[i] =
          std::llround(score_sums(s, e) * moebal::stats::score_one<Real>);
    }
  }
  return load;
}

} // namespace golden
