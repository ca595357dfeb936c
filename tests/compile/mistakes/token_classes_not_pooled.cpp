// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: moebal: ByTokenClass holds rules that pool all the statistics that they need
#include <moebal/balance/by_token_class.hpp>

namespace {
/// A bias rule that keeps some of its statistics to itself.
struct Selfish {
  using needs = moebal::stats::List<moebal::stats::Counts, moebal::stats::ScoreSums>;
  using pooled = moebal::stats::List<moebal::stats::Counts>;
  static constexpr char const* name = "selfish";
  float step(moebal::Window<needs, pooled> const&, moebal::Index) const { return 0; }
};
static_assert(moebal::bias_rule<Selfish>);
} // namespace

#ifdef MOEBAL_MISTAKE
moebal::ByTokenClass<2, Selfish> rule;
#else
moebal::ByTokenClass<2, moebal::LossFreeBias> rule;
#endif
