// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A batch through a router, in memory that holds nonsense before, and the comparison of two answers.

#include "../backend/eigen.hpp"
#include "../router.hpp"
#include "inputs.hpp"
#include "plain_exec.hpp"
#include "violation.hpp"

#include <cmath>
#include <cstring>

namespace moebal::laws {

/// What a router made of T tokens.
template <class Real> struct Routed {
  Index top_k = 0;
  std::vector<ExpertId> ids{};      // [T, K]
  std::vector<Real> weights{};      // [T, K]
  std::vector<std::int64_t> load{}; // [S, slots]

  Index tokens() const { return Index(ids.size()) / top_k; }
  ExpertId id(Index t, Index k) const { return ids[std::size_t(t * top_k + k)]; }
  Real weight(Index t, Index k) const { return weights[std::size_t(t * top_k + k)]; }
};

/// Nothing may rely on zeros.
inline void fill_with_nonsense(Workspace& memory, std::size_t bytes) {
  if (bytes > 0) std::memset(WorkspaceView<>(memory).take<std::byte>(Index(bytes)), 0xa5, bytes);
}

/// Routes with exactly the workspace that the router asks for. Needs: statistics to collect.
template <class Needs = stats::None, class Exec, class Router, class Real>
Routed<Real> route(Exec const& exec, Router const& router, Matrix<Real> const& logits, Extras const& extras = {}) {
  Index const sequences = extras.segments.empty() ? 1 : Index(extras.segments.size()) - 1;
  Routed<Real> out{router.top_k};
  std::size_t const choices = std::size_t(logits.rows * router.top_k);
  out.ids.assign(choices, -77);
  out.weights.assign(choices, Real(-77));
  out.load.assign(std::size_t(sequences * Needs::slots(logits.cols)), -77);
  std::size_t const bytes = router.template workspace_bytes<Needs, Real>(exec, logits.rows, logits.cols, sequences);
  Workspace memory(bytes);
  fill_with_nonsense(memory, bytes);
  router.template route_into<Needs>(
      exec, logits.view(), extras.view(),
      RoutingView<Real>{{out.ids.data(), logits.rows, router.top_k}, {out.weights.data(), logits.rows, router.top_k}},
      LoadView<Needs>(out.load.data(), sequences, logits.cols), WorkspaceView<>(memory));
  return out;
}

/// Rows order[0], order[1], ... of what was routed, and its load as it is.
template <class Real> Routed<Real> rows_in_order(Routed<Real> const& routed, std::vector<Index> const& order) {
  Routed<Real> out{routed.top_k, {}, {}, routed.load};
  for (Index const t : order)
    for (Index k = 0; k < routed.top_k; ++k) {
      out.ids.push_back(routed.id(t, k));
      out.weights.push_back(routed.weight(t, k));
    }
  return out;
}

/// Whether two numbers have the same bits, NaN included.
template <class Real> bool same_bits(Real a, Real b) { return std::memcmp(&a, &b, sizeof(Real)) == 0; }
/// Whether they are as close as a rounding may take them; no tolerance: the same bits.
template <class Real> bool alike(Real a, Real b, double tolerance) {
  if (tolerance == 0 || !std::isfinite(double(a))) return same_bits(a, b);
  return std::abs(double(a) - double(b)) <= tolerance * std::max(1.0, std::abs(double(a)));
}

/// Expects the same ids, weights and statistics, to the bit, or weights within a tolerance.
template <class Real>
void expect_same(Findings& findings, std::string_view law, std::string const& input, Routed<Real> const& needed,
                 Routed<Real> const& had, double tolerance = 0) {
  for (std::size_t i = 0; i < needed.ids.size(); ++i) {
    Index const t = Index(i) / needed.top_k, k = Index(i) % needed.top_k;
    bool const same = needed.ids[i] == had.ids[i] && alike(needed.weights[i], had.weights[i], tolerance);
    if (!findings.expect(law, same, [&] {
          return words("for ", input, ", token ", t, ", choice ", k, ": needed expert ", needed.ids[i], " of weight ",
                       needed.weights[i], ", had ", had.ids[i], " of weight ", had.weights[i]);
        }))
      return;
  }
  for (std::size_t i = 0; i < needed.load.size(); ++i)
    if (!findings.expect(law, needed.load[i] == had.load[i], [&] {
          return words("for ", input, ", statistic ", i, ": needed ", needed.load[i], ", had ", had.load[i]);
        }))
      return;
}

/// Calls f(exec, name) for executions that must agree with PlainExec{}.
template <class F> void each_execution(Shapes const& shapes, F const& f) {
  static Eigen::ThreadPool pool(3);
  f(EigenExec{}, "one thread");
  f(EigenExec{&pool}.on_every_thread(), "a pool of three threads");
  f(PlainExec{.pretended_workers = 3, .backwards = true}, "three workers, backwards");
  for (AnyExec const& exec : shapes.executions) f(exec, exec.name().c_str());
}

/// Whether a selection, of either kind, serves this shape.
template <class Selection> bool serves(Selection const& selection, Index tokens, Index experts) {
  try {
    if constexpr (batch_selection<Selection>)
      selection.check(tokens, experts);
    else
      selection.check(experts);
    return true;
  } catch (ShapeError const&) {
    return false;
  }
}
/// f(T, E) for each shape that a selection serves. None at all breaks a law.
template <class Selection, class F>
void each_shape(Findings& findings, Selection const& selection, Shapes const& shapes, F const& f) {
  bool any = false;
  for (Index const experts : shapes.experts)
    for (Index const tokens : shapes.tokens)
      if (serves(selection, tokens, experts)) {
        any = true;
        f(tokens, experts);
      }
  findings.expect("one of the shapes is served", any, [&] {
    return words("needed an E that check() lets pass, with K ", Selection::top_k, ", had none of ",
                 shapes.experts.size());
  });
}

inline std::string describe(Numbers kind, Index tokens, Index experts, Index top_k) {
  return words(name_of(kind), ", T ", tokens, ", E ", experts, ", K ", top_k);
}

} // namespace moebal::laws
