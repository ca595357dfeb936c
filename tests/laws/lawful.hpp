// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The suite of laws as tests see it.

#include "support/executions.hpp"

#include <moebal/laws/inputs.hpp>
#include <moebal/laws/violation.hpp>

namespace lawful {

using moebal::laws::Violations;

/// The usual shapes, on every execution of this build.
inline moebal::laws::Shapes everywhere() { return {.executions = moebal_test::other_executions()}; }

/// Every violation is an error of the test.
inline void expect(char const* policy, Violations const& violations) {
  BOOST_TEST_CONTEXT(policy)
  for (auto const& v : violations) BOOST_ERROR(v);
  BOOST_TEST(violations.empty(), policy);
}

/// A mutant is caught, by this law among others.
inline void expect_caught(char const* mutant, std::string const& law, Violations const& violations) {
  bool caught = false;
  for (auto const& v : violations) {
    caught = caught || v.law == law;
    BOOST_TEST_MESSAGE(mutant << " breaks: " << v);
  }
  BOOST_TEST(caught, mutant << " should break: " << law);
}

} // namespace lawful
