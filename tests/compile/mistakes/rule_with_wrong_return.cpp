// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: moebal: Rules{...} holds something that is neither a loss rule nor a bias rule
#include <moebal/balancer.hpp>

#ifdef MOEBAL_MISTAKE
using Step = int;
#else
using Step = float;
#endif

struct TowardsTheMean {
  using needs = moebal::stats::List<moebal::stats::Counts>;
  using pooled = needs;
  static constexpr char const* name = "towards_the_mean";

  Step step(moebal::Window<needs, pooled> const& window, moebal::Index expert) const {
    return window.load<moebal::stats::Counts>(expert) * window.experts() > window.load_tokens() ? Step(-1) : Step(1);
  }
};

template class moebal::Balancer<moebal::GlobalBatch<>, TowardsTheMean>;
