// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The laws that policies keep, to be run on your own: no test framework, the same numbers on every machine.
//   for (auto const& broken : moebal::laws::check_gate(MyGate{})) std::cout << broken << '\n'; // silence: it is lawful
//
//   check_gate(gate)             rank, weights, gradients                          laws/gate.hpp
//   check_selection(selection)   ids, ties, NaN, causality; by row or by batch     laws/selection.hpp
//   check_statistic<S>()         a commutative monoid over tokens                  laws/statistic.hpp
//   check_rule(rule)             losses, slopes, the bias, and every cut           laws/rule.hpp
//   check_split(rules, scope)    every cut, for Rules{...} and for your own scope  laws/split.hpp
//   check_map(adapter)           what makes logits before a router                 laws/map.hpp
//
// Each answers with a list of violations: the name of a law, and a sentence with the input, what was needed and what
// was there. Sizes are laws::Shapes; what your policy does not promise by design it says in laws::Claims
// (laws/claims.hpp). A law is a function of the policy, the shapes and a laws::Findings: call single ones, or write more.
// Seconds to run, tens of seconds to compile. Host only: threads are Eigen's and std's. Not part of moebal.hpp.
// Examples: examples/your_own_gate.cpp, examples/your_own_rule.cpp; docs/your_own.md.

#include "laws/gate.hpp"
#include "laws/map.hpp"
#include "laws/rule.hpp"
#include "laws/selection.hpp"
#include "laws/statistic.hpp"
