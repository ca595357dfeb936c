// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The library's plans with vectors of double in and out.

#include "checks.hpp"
#include "execution.hpp"

#include <moebal/plan/combine.hpp>
#include <moebal/plan/kept_weights.hpp>
#include <moebal/plan/make_plan.hpp>

#include <algorithm>
#include <numeric>

namespace golden {

using moebal::ExpertId;
using moebal::Index;

template <class Real> std::vector<Real> as(std::vector<double> const& values) { return {values.begin(), values.end()}; }
inline std::vector<double> widen(auto const& values) { return {values.begin(), values.end()}; }
inline std::vector<double> as_bits(std::vector<std::uint8_t> const& values) { return {values.begin(), values.end()}; }

/// [T, K] of one arithmetic, owned.
template <class T> struct Owned {
  std::vector<T> values;
  std::size_t rows = 0, cols = 0;

  Owned(std::size_t r, std::size_t c) : values(r * c), rows(r), cols(c) {}
  explicit Owned(Matrix const& m) : values(m.data.begin(), m.data.end()), rows(m.rows), cols(m.cols) {}
  /// top_k: the columns where there is no row.
  explicit Owned(std::vector<Ids> const& ids, std::size_t top_k)
      : rows(ids.size()), cols(ids.empty() ? top_k : ids[0].size()) {
    for (Ids const& row : ids) values.insert(values.end(), row.begin(), row.end());
  }
  moebal::MatrixView<T> out() { return {values.data(), Index(rows), Index(cols)}; }
  moebal::MatrixView<T const> in() const { return {values.data(), Index(rows), Index(cols)}; }
  Matrix widened() const { return Matrix(values.data(), rows, cols); }
};

/// How a case wants its plan.
enum class Drop { None, Position, PositionOfChoice, Probability, Prioritised };

template <class Real>
moebal::Plan plan_for(std::vector<Ids> const& ids, Matrix const& weights, std::size_t experts, Drop drop,
                      moebal::Capacity capacity = {}, moebal::SlotOrder order = moebal::SlotOrder::Token) {
  moebal::laws::AnyExec const& exec = chosen_execution();
  Owned<ExpertId> const e(ids, weights.cols);
  Owned<Real> const w(weights);
  auto const make = [&](auto policy) {
    moebal::PlanPolicy<decltype(policy)> const how{policy, capacity, order};
    return moebal::make_plan(exec, how, Index(experts), e.in(), w.in());
  };
  switch (drop) {
  case Drop::Position:
    return make(moebal::DropByPosition<moebal::ChoiceOrder::Equal>{});
  case Drop::PositionOfChoice:
    return make(moebal::DropByPosition<>{});
  case Drop::Probability:
    return make(moebal::DropByProbability{});
  case Drop::Prioritised:
    return make(moebal::DropBatchPrioritised{});
  default:
    return moebal::make_plan(exec, Index(experts), e.in());
  }
}

/// The choices of a map [T, E], each row's in the order of falling weight (then of the id), -1 where a row has fewer.
inline std::vector<Ids> choices_of(Matrix const& map, Matrix const* weights = nullptr) {
  std::vector<Ids> ids(map.rows);
  std::size_t most = 1;
  for (std::size_t t = 0; t < map.rows; ++t) {
    for (std::size_t e = 0; e < map.cols; ++e)
      if (map(t, e) != 0) ids[t].push_back(int(e));
    if (weights)
      std::stable_sort(ids[t].begin(), ids[t].end(),
                       [&](int a, int b) { return (*weights)(t, std::size_t(a)) > (*weights)(t, std::size_t(b)); });
    most = std::max(most, ids[t].size());
  }
  for (Ids& row : ids) row.resize(most, -1);
  return ids;
}

/// Place of each pair inside its expert, -1 without a slot.
inline std::vector<std::int64_t> places_of(moebal::Plan const& plan, std::vector<Ids> const& ids) {
  std::vector<std::int64_t> places;
  for (std::size_t t = 0; t < ids.size(); ++t)
    for (std::size_t k = 0; k < ids[t].size(); ++k) {
      Index const slot = plan.slot_of()(Index(t), Index(k));
      places.push_back(slot == moebal::no_slot ? -1 : slot - plan.offsets()[ids[t][k]]);
    }
  return places;
}

inline std::vector<std::uint8_t> kept_of(moebal::Plan const& plan) {
  std::vector<std::uint8_t> kept;
  for (Index t = 0; t < plan.tokens(); ++t)
    for (Index k = 0; k < plan.top_k(); ++k) kept.push_back(plan.slot_of()(t, k) != moebal::no_slot);
  return kept;
}

template <class Real> Matrix gather_rows(moebal::PlanView<> plan, Matrix const& x, std::size_t slots) {
  Owned<Real> const from(x);
  Owned<Real> to(slots, x.cols);
  moebal::gather_into(chosen_execution(), plan, from.in(), to.out());
  return to.widened();
}
template <class Real> Matrix scatter_rows(moebal::PlanView<> plan, Matrix const& y, std::size_t tokens) {
  Owned<Real> const from(y);
  Owned<Real> to(tokens, y.cols);
  moebal::scatter_into(chosen_execution(), moebal::Scatter::Sum, plan, from.in(), to.out());
  return to.widened();
}
template <class Real> Matrix combine_rows(moebal::PlanView<> plan, Matrix const& y, Matrix const& weights) {
  Owned<Real> const from(y), w(weights);
  Owned<Real> to(weights.rows, y.cols);
  moebal::combine_into(chosen_execution(), plan, from.in(), w.in(), to.out());
  return to.widened();
}
struct CombineGradient {
  Matrix d_y, d_weights;
};
template <class Real>
CombineGradient combine_gradient(moebal::PlanView<> plan, Matrix const& y, Matrix const& weights, Matrix const& d_out) {
  Owned<Real> const from(y), w(weights), d(d_out);
  Owned<Real> d_y(y.rows, y.cols), d_w(weights.rows, weights.cols);
  moebal::combine_backward_into(chosen_execution(), plan, from.in(), w.in(), d.in(), d_y.out(), d_w.out());
  return {d_y.widened(), d_w.widened()};
}

template <class Real> Matrix keep_weights(moebal::KeptWeights rule, moebal::Plan const& plan, Matrix const& weights) {
  Owned<Real> const from(weights);
  Owned<Real> to(weights.rows, weights.cols);
  moebal::kept_weights_into(chosen_execution(), rule, plan.view(), from.in(), to.out());
  return to.widened();
}
template <class Real>
Matrix keep_weights_gradient(moebal::KeptWeights rule, moebal::Plan const& plan, Matrix const& weights,
                             Matrix const& d_out) {
  Owned<Real> const from(weights), d(d_out);
  Owned<Real> to(weights.rows, weights.cols);
  moebal::kept_weights_backward_into(chosen_execution(), rule, plan.view(), from.in(), d.in(), to.out());
  return to.widened();
}

} // namespace golden
