// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What laws::Claims leaves open for a policy of this library is open: with everything claimed, the law would be broken.
#include "support/test.hpp"

#include "laws/lawful.hpp"

#include <moebal/laws.hpp>
#include <moebal/select/hash_table.hpp>
#include <moebal/select/overflow_recycling.hpp>
#include <moebal/select/swipe.hpp>

using namespace moebal;

namespace {

/// The policy, claiming everything.
template <class Policy> struct Claiming : Policy {};
static_assert(!laws::Claims<TopP<3>>::shift_invariant && laws::Claims<Claiming<TopP<3>>>::shift_invariant);

template <class Policy>
void open_by(std::initializer_list<char const*> names, Policy policy, laws::Shapes const& shapes = {}) {
  auto const broken = [&] {
    if constexpr (balance_rule<Policy>)
      return laws::check_rule(Claiming<Policy>{policy}, shapes);
    else
      return laws::check_selection(Claiming<Policy>{policy}, shapes);
  }();
  for (char const* const law : names) lawful::expect_caught(typeid(Policy).name(), law, broken);
  BOOST_TEST(broken.size() >= names.size());
}

auto const renamed = "experts renamed, the same answer renamed";
auto const permuted = "tokens permuted, the same answer permuted";
auto const shifted = "a constant added to all keys changes no choice";
auto const in_order = "best first, equal keys the lower id first";

} // namespace

BOOST_AUTO_TEST_SUITE(laws_claims)

BOOST_AUTO_TEST_CASE(selections_by_row) {
  open_by({shifted}, Threshold<3>{.threshold = 0.3f});
  open_by({shifted}, TopP<3>{});
  open_by({shifted, permuted}, SecondExpert{});
  open_by({renamed}, GroupLimitedTopK<2>{.groups = 8, .kept = 3});
  open_by({renamed}, TwoLevel<TopK<2>>{.inner = {}, .groups = 4});
  auto const table = HashTable::random(4, 2, 24, 3);
  open_by({renamed, in_order}, table.selection<2>());
  std::vector<std::int64_t> load;
  for (Index e = 0; e < 24; ++e) load.push_back(e * e % 7);
  open_by({renamed, shifted}, Laser<2>{.load = load, .sharp = 1e9f, .near = 0.1f, .candidates = 5});
}
BOOST_AUTO_TEST_CASE(selections_by_batch) {
  open_by({permuted}, NoTokenLeftBehind{});
  open_by({permuted, renamed}, Swipe<2>{});
  open_by({permuted, renamed}, OverflowRecycling<2>{});
  open_by({permuted, renamed, "ties go to the lower id"}, Auction{}, {.tokens = {97}, .experts = {5, 8, 24}});
  open_by({renamed}, TopologyCapped<2>{.local = {1, 2}});
  open_by({shifted, in_order, renamed}, Bip<2>{});
  open_by({in_order}, Sinkhorn<3>{});
  open_by({shifted, in_order, permuted}, MomentumQuantile<2>{});
}
BOOST_AUTO_TEST_CASE(rules) {
  auto const slopes = "experts renamed, the same slopes renamed";
  open_by({slopes}, DeviceLoss<ExpertBlocks<4>>{});
  open_by({slopes}, CommunicationLoss<ExpertBlocks<4>>{});
  open_by({slopes}, ZeroExpertDeviceLoss<2>{.computing_experts = 6, .computing_choices = 2});
  open_by({slopes}, PerClass<SwitchLoss<>, ExpertBlocks<2>>{.rule = {}, .weights = {1, 0.75}});
  open_by({slopes, "slopes are central differences of the value"}, LocalityLoss{.local = {1, 2}});
  open_by({"experts renamed, the same bias renamed", "equal counts move nothing"},
          ZeroExpertBias{.rate = 0.1f, .computing_experts = 6, .computing_choices = 2});
}

BOOST_AUTO_TEST_SUITE_END()
