// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Laws of balancing rules.

#include "bias_rule.hpp"
#include "loss_rule.hpp"
#include "split.hpp"

namespace moebal::laws {

/// All laws of one rule, whether it adds to the loss, moves the bias, or both.
template <balance_rule Rule> Violations check_rule(Rule const& rule, Shapes const& shapes = {}) {
  Findings findings;
  if constexpr (loss_rule<Rule>) loss_rule_laws(rule, shapes, findings);
  if constexpr (bias_rule<Rule>) bias_rule_laws(rule, shapes, findings);
  split_laws(rule, GlobalBatch<Accumulate::TwoPass>{}, shapes, findings);
  return findings.violations();
}

} // namespace moebal::laws
