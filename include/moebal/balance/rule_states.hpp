// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "rules.hpp"

#include <vector>

namespace moebal::detail {

/// The rules of a balancer, and the numbers that the stateful ones among them keep from step to step.
template <class RuleSet> class RuleStates {
public:
  RuleStates(RuleSet rules, Index experts) : rules_(rules), experts_(experts) {
    rules_.each([&]<class R>(R const& rule) {
      std::size_t const first = numbers_.size();
      Index const size = state_size_of<R>(experts_);
      numbers_.resize(first + std::size_t(size));
      if constexpr (requires { rule.check(experts_); }) rule.check(experts_);
      if constexpr (stateful_rule<R>) rule.start(VectorView<float>(numbers_.data() + first, size));
    });
  }

  RuleSet const& rules() const { return rules_; }
  /// Those of all rules, in order.
  std::vector<float> const& numbers() const { return numbers_; }
  std::vector<float>& numbers() { return numbers_; }

  /// f(rule, its window of `wide`, its numbers) for each rule. The window reads the numbers too.
  template <class Wide, class F> void each(Wide const& wide, F const& f) {
    float* first = numbers_.data();
    rules_.each([&]<class R>(R const& rule) {
      Index const size = state_size_of<R>(experts_);
      window_of<R> narrow(wide);
      f(rule, narrow.with_state(first), VectorView<float>(first, size));
      first += size;
    });
  }

private:
  RuleSet rules_;
  Index experts_;
  std::vector<float> numbers_;
};

} // namespace moebal::detail
