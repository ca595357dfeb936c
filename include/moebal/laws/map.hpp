// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Laws of what makes logits before a router (gate/map.hpp). Such functions take parameters of their own, so the laws
// ask for a small adapter:
//   struct MyMap {
//     static constexpr bool causal = true;               a row of logits depends on its own token alone
//     Index width(Index experts) const;                  D, the width of x for E experts
//     template <class Exec, class Real>
//     void forward(Exec const&, Matrix<Real> const& x, Matrix<Real>& logits) const;            x [T, D], logits [T, E]
//     template <class Exec, class Real>                  optional: d loss / d x [T, D] of d loss / d logits [T, E]
//     void backward(Exec const&, Matrix<Real> const& x, Matrix<Real> const& logits, Matrix<Real> const& d_logits,
//                   Matrix<Real>& d_x) const;            d_x [T, D] is zero before
//     MyMap from(Index first) const;                     optional: the map for tokens first, first + 1, ... of a step,
//   };                                                   where numbers are drawn for each

#include "differences.hpp"
#include "routed.hpp"

namespace moebal::laws {

namespace detail {
template <class Real, class Map, class Exec>
Matrix<Real> logits_of(Exec const& exec, Map const& map, Matrix<Real> const& x, Index experts) {
  Matrix<Real> logits(x.rows, experts, Real(-77));
  map.forward(exec, x, logits);
  return logits;
}
template <class Map>
concept has_backward = requires(Map const& map, Matrix<double> m) { map.backward(PlainExec{}, m, m, m, m); };
template <class Real, class Map, class Exec>
Matrix<Real> gradient_of(Exec const& exec, Map const& map, Matrix<Real> const& x, Matrix<Real> const& d_logits) {
  Matrix<Real> d_x(x.rows, x.cols);
  map.backward(exec, x, logits_of(exec, map, x, d_logits.cols), d_logits, d_x);
  return d_x;
}
template <class Real>
void expect_rows(Findings& findings, std::string_view law, std::string const& input, Matrix<Real> const& needed,
                 Matrix<Real> const& had, Index rows) {
  for (Index t = 0; t < rows; ++t)
    for (Index e = 0; e < needed.cols; ++e)
      findings.expect(law, same_bits(needed(t, e), had(t, e)), [&] {
        return words("for ", input, ", number (", t, ", ", e, "): needed ", needed(t, e), ", had ", had(t, e));
      });
}
} // namespace detail

/// SIMD lanes, threads and any order of work give the bits of the plain loop.
template <class Real, class Map>
void map_is_the_same_everywhere(Map const& map, Shapes const& shapes, Findings& findings) {
  for (Index const experts : shapes.experts)
    for (Index const tokens : shapes.tokens) {
      auto const x = matrix_of<Real>(Numbers::Bell, tokens, map.width(experts));
      auto const plain = detail::logits_of(PlainExec{}, map, x, experts);
      each_execution(shapes, [&](auto const& exec, char const* name) {
        detail::expect_rows(findings, "the same logits on every execution",
                            words("T ", tokens, ", E ", experts, ", ", name), plain,
                            detail::logits_of(exec, map, x, experts), tokens);
      });
    }
}

/// What calls itself causal makes the same of a token whatever comes later, and in whatever batch it comes.
template <class Map> void map_is_causal_as_claimed(Map const& map, Shapes const& shapes, Findings& findings) {
  if constexpr (Map::causal)
    for (Index const experts : shapes.experts)
      for (Index const tokens : shapes.tokens) {
        Index const first = tokens / 2;
        auto const x = matrix_of<float>(Numbers::Bell, tokens, map.width(experts));
        auto later = x;
        for (Index t = first; t < tokens; ++t)
          for (Index d = 0; d < x.cols; ++d) later(t, d) = 5 - x(t, d);
        auto const input = words("T ", tokens, ", E ", experts);
        auto const whole = detail::logits_of(PlainExec{}, map, x, experts);
        detail::expect_rows(findings, "later tokens change nothing", input, whole,
                            detail::logits_of(PlainExec{}, map, later, experts), first);
        auto rest = map;
        if constexpr (requires { map.from(first); }) rest = map.from(first);
        auto const order = range(first, tokens);
        detail::expect_rows(findings, "a cut of the batch changes nothing", input, rows_in_order(whole, order),
                            detail::logits_of(PlainExec{}, rest, rows_in_order(x, order), experts), tokens - first);
      }
}

/// backward gives the derivative by x, and the same bits everywhere.
template <class Map> void map_gradient_is_the_derivative(Map const& map, Shapes const& shapes, Findings& findings) {
  if constexpr (detail::has_backward<Map>)
    for (Index const experts : shapes.experts) {
      Index const tokens = 3;
      auto x = matrix_of<double>(Numbers::Bell, tokens, map.width(experts));
      auto const pulls = matrix_of<double>(Numbers::Bell, tokens, experts, 5);
      auto const loss = [&](std::vector<double> const& numbers) {
        x.values = numbers;
        return inner(detail::logits_of(PlainExec{}, map, x, experts).values, pulls.values);
      };
      if (experts <= 8) // one forward pass for each number of x
        expect_gradient(findings, "the gradient is that of central differences", words("T ", tokens, ", E ", experts),
                        loss, x.values, detail::gradient_of(PlainExec{}, map, x, pulls).values);
    }
}
template <class Real, class Map>
void map_gradient_is_the_same_everywhere(Map const& map, Shapes const& shapes, Findings& findings) {
  if constexpr (detail::has_backward<Map>)
    for (Index const experts : shapes.experts)
      for (Index const tokens : shapes.tokens) {
        auto const x = matrix_of<Real>(Numbers::Bell, tokens, map.width(experts));
        auto const pulls = matrix_of<Real>(Numbers::Bell, tokens, experts, 5);
        auto const plain = detail::gradient_of(PlainExec{}, map, x, pulls);
        each_execution(shapes, [&](auto const& exec, char const* name) {
          detail::expect_rows(findings, "the same gradient on every execution",
                              words("T ", tokens, ", E ", experts, ", ", name), plain,
                              detail::gradient_of(exec, map, x, pulls), tokens);
        });
      }
}

/// All laws of a map.
template <class Map> Violations check_map(Map const& map, Shapes const& shapes = {}) {
  Findings findings;
  map_is_the_same_everywhere<float>(map, shapes, findings);
  map_is_the_same_everywhere<double>(map, shapes, findings);
  map_is_causal_as_claimed(map, shapes, findings);
  map_gradient_is_the_derivative(map, shapes, findings);
  map_gradient_is_the_same_everywhere<float>(map, shapes, findings);
  map_gradient_is_the_same_everywhere<double>(map, shapes, findings);
  return findings.violations();
}

} // namespace moebal::laws
