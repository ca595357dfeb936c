// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "packing.hpp"
#include "placement.hpp"

namespace moebal {

namespace detail {

/// One layer of rebalance, with its scratch.
class LayerPlacer {
public:
  LayerPlacer(PlacementShape shape, Index experts)
      : groups_(shape.by_node() ? shape.groups : 1), nodes_(shape.by_node() ? shape.nodes : 1),
        ranks_(shape.ranks / nodes_), slots_(shape.replicas / nodes_), size_(experts / groups_),
        per_node_(experts / nodes_), group_load_(std::size_t(groups_)), group_node_(std::size_t(groups_)),
        group_place_(std::size_t(groups_)), expert_at_(std::size_t(experts)), load_(std::size_t(per_node_)),
        count_(std::size_t(per_node_)), item_(std::size_t(slots_)), copy_(std::size_t(slots_)),
        copy_load_(std::size_t(slots_)), pack_(std::size_t(slots_)), place_(std::size_t(slots_)) {}

  /// expert_of [P] and copy_of [P], out.
  void place(VectorView<float const> loads, ExpertId* expert_of, Index* copy_of) {
    for (Index g = 0; g < groups_; ++g) {
      float sum = 0;
      for (Index i = 0; i < size_; ++i) sum += loads[g * size_ + i];
      group_load_[std::size_t(g)] = sum;
    }
    balanced_packing(group_load_, nodes_, group_node_, group_place_);
    for (Index g = 0; g < groups_; ++g) {
      std::size_t const at = std::size_t(g);
      Index const first = (group_node_[at] * (groups_ / nodes_) + group_place_[at]) * size_;
      for (Index i = 0; i < size_; ++i) expert_at_[std::size_t(first + i)] = g * size_ + i;
    }
    for (Index node = 0; node < nodes_; ++node) {
      Index const* const experts = expert_at_.data() + node * per_node_;
      for (Index i = 0; i < per_node_; ++i) load_[std::size_t(i)] = loads[experts[i]];
      replicate(load_, item_, copy_, count_);
      for (std::size_t s = 0; s < item_.size(); ++s)
        copy_load_[s] = load_[std::size_t(item_[s])] / float(count_[std::size_t(item_[s])]);
      balanced_packing(copy_load_, ranks_, pack_, place_);
      for (std::size_t s = 0; s < item_.size(); ++s) {
        Index const slot = node * slots_ + pack_[s] * (slots_ / ranks_) + place_[s];
        expert_of[slot] = ExpertId(experts[item_[s]]);
        copy_of[slot] = copy_[s];
      }
    }
  }

private:
  Index groups_, nodes_, ranks_, slots_, size_, per_node_; // ranks_, slots_: of one node; size_: of a group
  std::vector<float> group_load_;
  std::vector<Index> group_node_, group_place_;
  std::vector<Index> expert_at_; // [E] experts, node by node
  std::vector<float> load_;
  std::vector<Index> count_, item_, copy_;
  std::vector<float> copy_load_;
  std::vector<Index> pack_, place_;
};

} // namespace detail

/// Replicates and places the experts of L layers for the loads that they had (deepseek-ai/EPLB rebalance_experts, with
/// the same result where its sort has no ties to leave open). Where the nodes divide the groups: groups are packed to
/// nodes, experts copied within their node until it has P / N of them, and the copies packed to the ranks of the node;
/// else the same over all ranks at once. Equal loads: the lower index, everywhere.
/// @param loads  [L, E] at least 0, such as a moving average of counts, in
/// Cost: L P log P; a few vectors a call. Everybody who calls it with the same loads gets the same placement, so the
/// ranks only sum their counts before. No gradient. Throws ShapeError.
inline Placement rebalance(MatrixView<float const> loads, PlacementShape shape) {
  Index const layers = loads.rows(), experts = loads.cols(), slots = shape.replicas;
  shape.check(experts);
  std::vector<ExpertId> expert_of(std::size_t(layers * slots));
  std::vector<Index> copy_of(std::size_t(layers * slots));
  detail::LayerPlacer placer(shape, experts);
  for (Index l = 0; l < layers; ++l)
    placer.place({loads.row(l), experts}, expert_of.data() + l * slots, copy_of.data() + l * slots);
  return {experts, {expert_of.data(), layers, slots}, {copy_of.data(), layers, slots}};
}

} // namespace moebal
