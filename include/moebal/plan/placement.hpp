// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where the copies of each expert live. Slots [0, P) are spread over the ranks in equal blocks: slot p is on rank
// p / (P / R).

#include "../core/errors.hpp"
#include "../core/views.hpp"

#include <algorithm>
#include <vector>

namespace moebal {

/// What experts are placed on. Throws nothing by itself: see check.
struct PlacementShape {
  Index replicas = 0; // P slots: E and the redundant copies
  Index groups = 1; // of experts that a group-limited router chooses together: kept on one node where nodes divide them
  Index nodes = 1;  // N
  Index ranks = 1;  // R

  bool by_node() const { return groups % nodes == 0; }
  void check(Index experts) const {
    require_at_least("experts to place", 1, experts);
    require_at_least("groups of a placement", 1, groups);
    require_at_least("nodes of a placement", 1, nodes);
    require_at_least("ranks of a placement", 1, ranks);
    require_at_least("replicas of a placement (E at least)", experts, replicas);
    require_equal("replicas of a placement modulo ranks", 0, replicas % ranks);
    if (!by_node()) return;
    require_equal("experts of a placement modulo groups", 0, experts % groups);
    require_equal("ranks of a placement modulo nodes", 0, ranks % nodes);
  }
};

/// A table for each of L layers of E experts on P slots. Every expert has at least one slot.
class Placement {
public:
  Placement() = default;
  /// expert_of [L, P] and, if it is known, copy_of [L, P]: which copy of its expert a slot holds; else in slot order.
  Placement(Index experts, MatrixView<ExpertId const> expert_of, MatrixView<Index const> copy_of = {})
      : layers_(expert_of.rows()), experts_(experts), slots_(expert_of.cols()),
        count_(std::size_t(layers_ * experts), 0) {
    require_at_least("experts of a placement", 1, experts);
    bool const known = copy_of.data() != nullptr;
    if (known) {
      require_equal("copies of a placement [L, P], rows", layers_, copy_of.rows());
      require_equal("copies of a placement [L, P], columns", slots_, copy_of.cols());
    }
    for (Index l = 0; l < layers_; ++l)
      for (Index p = 0; p < slots_; ++p) {
        ExpertId const e = expert_of(l, p);
        require_within("expert of a slot", 0, experts - 1, e);
        expert_of_.push_back(e);
        most_ = std::max(most_, ++count_[std::size_t(l * experts + e)]);
      }
    for (Index const n : count_) require_at_least("slots of an expert", 1, n);
    slot_of_.assign(std::size_t(layers_ * experts * most_), no_slot);
    std::vector<Index> seen(count_.size(), 0);
    for (Index l = 0; l < layers_; ++l)
      for (Index p = 0; p < slots_; ++p) {
        Index const e = l * experts + expert_of(l, p);
        Index const copy = known ? copy_of(l, p) : seen[std::size_t(e)]++;
        require_within("copy of an expert", 0, count_[std::size_t(e)] - 1, copy);
        Index& slot = slot_of_[std::size_t(e * most_ + copy)];
        require_equal("slot of a copy that is named twice", no_slot, slot);
        slot = p;
      }
  }

  Index layers() const { return layers_; }
  Index experts() const { return experts_; }
  Index replicas() const { return slots_; }
  /// The most copies that any expert of any layer has.
  Index most_copies() const { return most_; }
  /// [L, P] the expert in each slot (EPLB: phy2log).
  MatrixView<ExpertId const> expert_of() const { return {expert_of_.data(), layers_, slots_}; }
  /// [L, E] copies of each expert (EPLB: logcnt).
  MatrixView<Index const> count() const { return {count_.data(), layers_, experts_}; }
  /// [E, most_copies] the slots of each expert of a layer, then no_slot (EPLB: log2phy).
  MatrixView<Index const> slots_of(Index layer) const {
    require_within("layer of a placement", 0, layers_ - 1, layer);
    return {slot_of_.data() + layer * experts_ * most_, experts_, most_};
  }
  friend bool operator==(Placement const&, Placement const&) = default;

private:
  Index layers_ = 0, experts_ = 0, slots_ = 0, most_ = 0;
  std::vector<ExpertId> expert_of_; // [L, P]
  std::vector<Index> count_;        // [L, E]
  std::vector<Index> slot_of_;      // [L, E, most]
};

/// What the ranks of one layer can expect: the sum of load / copies over their slots. [R]
inline std::vector<double> rank_loads(Placement const& placement, Index layer, VectorView<float const> loads,
                                      Index ranks) {
  require_within("layer of a placement", 0, placement.layers() - 1, layer);
  require_equal("loads [E] of a placement", placement.experts(), loads.size());
  require_at_least("ranks of a placement", 1, ranks);
  require_equal("replicas of a placement modulo ranks", 0, placement.replicas() % ranks);
  std::vector<double> sums(std::size_t(ranks), 0);
  Index const each = placement.replicas() / ranks;
  for (Index p = 0; p < placement.replicas(); ++p) {
    ExpertId const e = placement.expert_of()(layer, p);
    sums[std::size_t(p / each)] += double(loads[e]) / double(placement.count()(layer, e));
  }
  return sums;
}

} // namespace moebal
