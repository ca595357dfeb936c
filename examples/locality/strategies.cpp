// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "strategies.hpp"

#include "../train_moe_lm/observer.hpp"

#include <moebal/balance/locality_loss.hpp>
#include <moebal/balance/switch_loss.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/plan/capacity_bound.hpp>
#include <moebal/plan/drop.hpp>
#include <moebal/select/bidirectional.hpp>
#include <moebal/select/hash.hpp>
#include <moebal/select/topology_capped.hpp>

#include <stdexcept>

using namespace moebal;

namespace locality {

namespace {

/// LocMoE+: token choice, then expert choice with the capacity that the paper reckons from the batch's largest
/// affinity.
struct Adaptive : Bidirectional<1> {
  Index width = 64;
  void fit(lab::In affinities) {
    slots = {.fixed =
                 AdaptiveCapacity{}.slots(largest_affinity(affinities), width, affinities.cols(), affinities.rows())};
  }
};

/// A logit map whose node adds `offset` to the logits of its own experts: eps_i of LocMoE's eq. 2, which the paper
/// leaves open, read as a preference of the node.
template <class Map> struct AtHome : Map {
  LocalExperts local{};
  float offset = 1;

  void forward(lab::In x, std::uint64_t seed, lab::Weights p, lab::Out z) {
    Map::forward(x, seed, p, z);
    for (Index t = 0; t < z.rows(); ++t)
      for (Index e = local.first; e < local.first + local.count; ++e) z(t, e) += offset;
  }
};

struct Place {
  LocalExperts local; // all, where the node has none of its own
  double locality;    // coefficient of the locality loss, 0 where the node has none
};
Place place_of(Topology const& topology, Index rank, double coefficient) {
  LocalExperts const local = local_experts(topology, rank);
  if (local.count == 0) return {{0, topology.experts()}, 0};
  return {local, coefficient};
}

/// `recipe(make, place)` on each rank.
template <class F> train::Contestant with(Given const& given, F recipe) {
  return {"", [=](lab::Make const& make, lab::Comm comm) -> std::unique_ptr<lab::Method> {
            auto const plan = recipe(make, place_of(given.topology, make.rank, given.locality));
            return std::make_unique<lab::MethodOf<std::remove_const_t<decltype(plan)>>>(plan, make, comm);
          }};
}

template <class Selection, class Rules, class Map = lab::LinearMap>
auto top_1(Selection select, Rules rules, Map map = {}) {
  return lab::Recipe<Selection, Softmax, Rules, Map, DropByPosition<>>{
      .select = select, .balance = rules, .map = map, .capacity_of = lab::CapacityOf::AllRanks};
}
auto hash(HashTable const& table, lab::Tags tags) {
  return lab::Recipe<HashLayer<1>, SoftmaxOverChosen, lab::Balance<>, lab::LinearMap, DropByPosition<>>{
      .select = table.selection<1>(), .capacity_of = lab::CapacityOf::AllRanks, .tags = tags};
}
auto balance_micro(lab::Make const& m) {
  return lab::balance(lab::at(MicroBatch<>{}, SwitchLoss<>{.coefficient = m.coefficient}));
}
auto local_micro(lab::Make const& m, Place const& p) {
  return lab::balance(lab::at(MicroBatch<>{}, Rules{SwitchLoss<>{.coefficient = m.coefficient},
                                                    LocalityLoss{.local = p.local, .coefficient = p.locality}}));
}
auto local_global(lab::Make const& m, Place const& p) {
  return lab::balance(lab::at(GlobalBatch<>{}, SwitchLoss<>{.coefficient = m.coefficient}),
                      lab::at(MicroBatch<>{}, LocalityLoss{.local = p.local, .coefficient = p.locality}));
}

} // namespace

std::vector<Strategy> const& strategies() {
  using Make = lab::Make const&;
  static std::vector<Strategy> const all{
      {"hash", "Hash layer", "a table by frequency of the last byte, weight 1, no loss",
       [](Given const& given) {
         return with(given, [](Make m, Place const&) { return hash(*m.balanced_1, lab::Tags::TokenId); });
       }},
      {"hash_pair", "Hash layer of two bytes", "the same of the last two bytes: a vocabulary without a giant",
       [](Given const& given) {
         return with(given,
                     [table = given.byte_pairs](Make, Place const&) { return hash(*table, lab::Tags::TokenPair); });
       }},
      {"switch", "Switch", "learned gate, balancing loss over a micro-batch",
       [](Given const& given) {
         return with(given, [](Make m, Place const&) { return top_1(TopK<1>{}, balance_micro(m)); });
       }},
      {"switch_locality", "Switch + locality loss", "the same with LocMoE's locality loss",
       [](Given const& given) {
         return with(given, [](Make m, Place const& p) { return top_1(TopK<1>{}, local_micro(m, p)); });
       }},
      {"locmoe", "LocMoE", "GrAP gate, balancing and locality loss over a micro-batch",
       [](Given const& given) {
         return with(given, [](Make m, Place const& p) { return top_1(TopK<1>{}, local_micro(m, p), lab::GrapMap{}); });
       }},
      {"locmoe_global", "LocMoE, balanced globally", "the same, balanced over the micro-batches of all ranks",
       [](Given const& given) {
         return with(given,
                     [](Make m, Place const& p) { return top_1(TopK<1>{}, local_global(m, p), lab::GrapMap{}); });
       }},
      {"locmoe_home", "LocMoE with a bias for home", "the same, and each node adds 1 to the logits of its own experts",
       [](Given const& given) {
         return with(given, [](Make m, Place const& p) {
           AtHome<lab::GrapMap> map;
           if (p.locality > 0) map.local = p.local;
           return top_1(TopK<1>{}, local_global(m, p), map);
         });
       }},
      {"locmoe_plus", "LocMoE+", "cosines to GrAP rows, both sides choose, adaptive capacity, both losses",
       [](Given const& given) {
         return with(given,
                     [](Make m, Place const& p) { return top_1(Adaptive{}, local_micro(m, p), lab::CosineGrapMap{}); });
       }},
      {"fastermoe", "FasterMoE's cap", "Switch, at most 14 % of a micro-batch's tokens leave the node",
       [](Given const& given) {
         return with(given, [](Make m, Place const& p) {
           return top_1(TopologyCapped<1>{.local = p.local}, balance_micro(m));
         });
       }},
  };
  return all;
}

Strategy const& find_strategy(std::string const& name) {
  for (Strategy const& s : strategies())
    if (s.name == name) return s;
  throw std::invalid_argument("there is no strategy '" + name + "': --list names them");
}

} // namespace locality
