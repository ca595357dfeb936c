// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The strategies of the catalogue as recipes (../compare_strategies/recipe.hpp), with K and the gate chosen at run
// time. All routers and balancers are compiled here, once.

#include "strategies.hpp"

#include <moebal/balance/loss_free_bias.hpp>
#include <moebal/balance/switch_loss.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>

#include <stdexcept>

namespace train {

namespace {

template <int K, class Gate>
std::unique_ptr<lab::Method> make_method(Gate gate, StrategyInfo const& info, lab::Make const& make, lab::Comm comm) {
  using namespace moebal;
  auto const with = [&](auto... rule_at_scope) -> std::unique_ptr<lab::Method> {
    auto const balance = lab::balance(rule_at_scope...);
    // Beyond a capacity: first choices before second, over what all ranks route at the same time.
    using Plan = lab::Recipe<TopK<K>, Gate, std::remove_const_t<decltype(balance)>, lab::LinearMap, DropByPosition<>>;
    return std::make_unique<lab::MethodOf<Plan>>(
        Plan{.gate = gate, .balance = balance, .capacity_of = lab::CapacityOf::AllRanks}, make, comm);
  };
  if (info.rule == RuleKind::None) return with();
  if (info.rule == RuleKind::Bias) {
    LossFreeBias const rule{.rate = float(make.rate)};
    if (info.pool == Pool::MicroBatch) return with(lab::at(MicroBatch<>{}, rule));
    return with(lab::at(GlobalBatch<Accumulate::Running>{}, rule));
  }
  SwitchLoss<> const rule{.coefficient = make.coefficient};
  switch (info.pool) {
  case Pool::MicroBatch:
    return with(lab::at(MicroBatch<>{}, rule));
  case Pool::Ranks:
    return with(lab::at(GlobalBatch<>{}, rule));
  case Pool::Running:
    return with(lab::at(GlobalBatch<Accumulate::Running>{}, rule));
  case Pool::RandomSubset:
    return with(lab::at(lab::RandomSubset{}, rule));
  default:
    return with(lab::at(GlobalBatch<Accumulate::TwoPass>{}, rule));
  }
}

/// Softmax over all experts, the chosen weights renormalised to 1; or raw sigmoid weights.
template <int K> std::unique_ptr<lab::Method> make_method(StrategyInfo const& info, lab::Make make, lab::Comm comm) {
  using namespace moebal;
  if (make.rate == 0) make.rate = info.gate == GateKind::Softmax ? 1e-2 : 3e-2;
  if (info.gate == GateKind::Softmax)
    return make_method<K>(Softmax{.normalise = Normalise::OverChosen, .single_choice = SingleChoice::Raw}, info, make,
                          comm);
  return make_method<K>(Sigmoid{.normalise = Normalise::None}, info, make, comm);
}

/// The same for a K known at run time: 1, 2, 4 or 8.
std::unique_ptr<lab::Method> make_method(StrategyInfo const& info, Index top_k, lab::Make const& make, lab::Comm comm) {
  switch (top_k) {
  case 1:
    return make_method<1>(info, make, comm);
  case 2:
    return make_method<2>(info, make, comm);
  case 4:
    return make_method<4>(info, make, comm);
  case 8:
    return make_method<8>(info, make, comm);
  }
  throw std::invalid_argument("top_k: needed 1, 2, 4 or 8, had " + std::to_string(top_k));
}

} // namespace

Contestant contestant(StrategyInfo const& info, Index top_k) {
  return {std::string(info.name),
          [info, top_k](lab::Make const& make, lab::Comm comm) { return make_method(info, top_k, make, comm); }};
}

} // namespace train
