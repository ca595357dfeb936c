// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where each (token, choice) pair goes. A pair is named by its flat index t * K + k, a place in an expert's buffer is a
// slot. Everything is 64-bit, and nothing here is as large as [T, E].

#include "../core/errors.hpp"
#include "../core/views.hpp"

#include <vector>

namespace moebal {

/// A finished plan, for reading. "A tight plan" has no filler slots; align.hpp makes those that have.
template <class Memory = HostMemory> struct PlanView {
  VectorView<Index const, Memory> offsets; // [E + 1] first slot of each expert, then the number of slots
  VectorView<Index const, Memory> order;   // [>= slots] pair of each slot; no_slot: filler, and all past offsets[E]
  MatrixView<Index const, Memory> slot_of; // [T, K] slot of each pair; no_slot: dropped, padding or not local
  VectorView<Index const, Memory> loads;   // [E] pairs that chose the expert, before any drop
  VectorView<Index const, Memory> kept;    // [E] pairs that got a slot: never more than loads or the capacity

  MOEBAL_FN Index tokens() const { return slot_of.rows(); }
  MOEBAL_FN Index top_k() const { return slot_of.cols(); }
  MOEBAL_FN Index experts() const { return offsets.size() - 1; }
};

/// The same memory, for writing. `order` may be larger than needed: its tail is set to no_slot, so that nobody has to
/// read the number of slots back from a device.
template <class Memory = HostMemory> struct PlanTarget {
  VectorView<Index, Memory> offsets; // [E + 1]
  VectorView<Index, Memory> order;   // [>= slots]; T K always suffice for a tight plan
  MatrixView<Index, Memory> slot_of; // [T, K]
  VectorView<Index, Memory> loads;   // [E]
  VectorView<Index, Memory> kept;    // [E]

  operator PlanView<Memory>() const { return {offsets, order, slot_of, loads, kept}; }
};

/// A plan with its own host memory.
class Plan {
public:
  Plan() : offsets_(1) {}
  /// @param slots  room for slots; T K suffice for a tight plan, aligned_slots() for an aligned one.
  Plan(Index tokens, Index top_k, Index experts, Index slots)
      : tokens_(tokens), top_k_(top_k), offsets_(std::size_t(experts) + 1), order_(std::size_t(slots), no_slot),
        slot_of_(std::size_t(tokens * top_k), no_slot), loads_(std::size_t(experts)), kept_(std::size_t(experts)) {}
  /// Another shape, to be planned into. Allocates only where it is larger than any before.
  void resize(Index tokens, Index top_k, Index experts, Index slots) {
    tokens_ = tokens;
    top_k_ = top_k;
    offsets_.assign(std::size_t(experts) + 1, 0);
    order_.resize(std::size_t(slots));
    slot_of_.resize(std::size_t(tokens * top_k));
    loads_.resize(std::size_t(experts));
    kept_.resize(std::size_t(experts));
  }

  Index tokens() const { return tokens_; }
  Index top_k() const { return top_k_; }
  Index experts() const { return Index(kept_.size()); }
  /// Slots in use, fillers included.
  Index slots() const { return offsets_.back(); }

  VectorView<Index const> offsets() const { return offsets_; }                           // [E + 1]
  VectorView<Index const> order() const { return {order_.data(), slots()}; }             // [slots]
  MatrixView<Index const> slot_of() const { return {slot_of_.data(), tokens_, top_k_}; } // [T, K]
  VectorView<Index const> loads() const { return loads_; }                               // [E]
  VectorView<Index const> kept() const { return kept_; }                                 // [E]

  PlanView<> view() const { return {offsets_, order(), slot_of(), loads_, kept_}; }
  operator PlanView<>() const { return view(); }
  PlanTarget<> target() { return {offsets_, order_, {slot_of_.data(), tokens_, top_k_}, loads_, kept_}; }

private:
  Index tokens_ = 0;
  Index top_k_ = 0;
  std::vector<Index> offsets_, order_, slot_of_, loads_, kept_;
};

/// What became of the pairs that chose an expert: routed = kept + dropped. T K minus routed are padding or not local.
struct DropCounts {
  Index routed = 0;
  Index kept = 0;
  Index dropped = 0;

  /// Dropped / routed; 0 when nothing was routed.
  double rate() const { return routed > 0 ? double(dropped) / double(routed) : 0; }
};

/// O(E), on the host.
inline DropCounts drop_counts(PlanView<> plan) {
  DropCounts sum;
  for (Index const n : plan.loads) sum.routed += n;
  for (Index const n : plan.kept) sum.kept += n;
  sum.dropped = sum.routed - sum.kept;
  return sum;
}

namespace detail {

/// Element of a flat index in a matrix whose rows may lie apart.
template <class T> struct Flat {
  T* data;
  Index cols;
  Index row_stride;

  template <class Memory> static Flat of(MatrixView<T, Memory> m) { return {m.data(), m.cols(), m.row_stride()}; }
  bool is_contiguous() const { return row_stride == cols; }
  MOEBAL_FN T& operator[](Index i) const {
    return row_stride == cols ? data[i] : data[i / cols * row_stride + i % cols];
  }
};

/// Throws unless the target has the shape of [T, K] pairs over E experts.
template <class Memory>
void require_plan_shape(PlanTarget<Memory> const& plan, Index tokens, Index top_k, Index experts) {
  require_equal("rows of plan.slot_of [T, K]", tokens, plan.slot_of.rows());
  require_equal("columns of plan.slot_of [T, K]", top_k, plan.slot_of.cols());
  require_equal("size of plan.offsets [E + 1]", experts + 1, plan.offsets.size());
  require_equal("size of plan.loads [E]", experts, plan.loads.size());
  require_equal("size of plan.kept [E]", experts, plan.kept.size());
}

/// Throws unless w has a value for each pair.
template <class Real, class Memory>
void require_weights(PlanView<Memory> const& plan, MatrixView<Real, Memory> const& w) {
  require_equal("rows of the weights [T, K]", plan.tokens(), w.rows());
  require_equal("columns of the weights [T, K]", plan.top_k(), w.cols());
}

} // namespace detail
} // namespace moebal
