// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The weight of a gate W [E, D] in the order in which a blocked product reads it: panels of 64 experts, the last one as
// narrow as sixteens of experts allow, each [D, experts]. Experts that only fill a panel weigh 0.

#include "half.hpp"
#include "views.hpp"

#include <vector>

namespace moebal {

namespace detail {
inline constexpr Index panel_experts = 64, panel_step = 16;
/// The order of a logit's sum, on every machine: runs of 128 d, each one chain of fused multiply-adds from 0 in ascending
/// order; then the runs are added to one another in ascending order.
inline constexpr Index gate_run = 128;
/// Rows of x in a block, and the floats of scratch memory that a block takes besides its logits: a run of a panel, and of x
/// where it must be widened.
inline constexpr Index gate_block_rows = 192, gate_block_scratch = (panel_experts + gate_block_rows) * gate_run;
/// Experts with those that fill the last panel.
MOEBAL_FN constexpr Index filled_experts(Index experts) { return (experts + panel_step - 1) / panel_step * panel_step; }
/// Experts side by side in the panel that starts with this one.
MOEBAL_FN constexpr Index panel_width(Index experts, Index first) {
  Index const rest = filled_experts(experts) - first;
  return rest < panel_experts ? rest : panel_experts;
}
} // namespace detail

/// A packed W [E, D], fp32.
template <class Memory = HostMemory> class PackedGateView {
public:
  using element = float const;
  using memory = Memory;

  PackedGateView() = default;
  PackedGateView(float const* data, Index experts, Index hidden) : data_(data), experts_(experts), hidden_(hidden) {}
  /// Floats that it takes.
  static constexpr Index size(Index experts, Index hidden) { return detail::filled_experts(experts) * hidden; }

  MOEBAL_FN Index rows() const { return experts_; } // E
  MOEBAL_FN Index cols() const { return hidden_; }  // D
  MOEBAL_FN float const& operator()(Index e, Index d) const {
    Index const first = e / detail::panel_experts * detail::panel_experts;
    return panel(first, d)[e - first];
  }
  /// Row d of the panel that starts with expert `first`.
  MOEBAL_FN float const* panel(Index first, Index d) const {
    return data_ + first * hidden_ + d * detail::panel_width(experts_, first);
  }

private:
  float const* data_ = nullptr;
  Index experts_ = 0;
  Index hidden_ = 0;
};

/// A W that is packed once and routed with many times, as in serving. Same bits as with the W that it was made of. It
/// takes 4 D bytes an expert, E rounded up to 16s.
class PackedGate {
public:
  PackedGate() = default;
  /// From W [E, D] of float, bfloat16 or half. Allocates.
  template <matrix_like W>
    requires std::same_as<compute_t<element_of<W const&>>, float>
  explicit PackedGate(W const& weight) {
    pack(weight);
  }
  /// Packs W [E, D] anew; allocates only where the shape has grown.
  template <matrix_like W>
    requires std::same_as<compute_t<element_of<W const&>>, float>
  void pack(W const& weight) {
    auto const w = as_matrix(weight);
    experts_ = w.rows();
    hidden_ = w.cols();
    storage_.resize(std::size_t(PackedGateView<>::size(experts_, hidden_) / detail::panel_step));
    auto* out = reinterpret_cast<float*>(storage_.data());
    for (Index first = 0; first < experts_; first += detail::panel_experts) {
      Index const width = detail::panel_width(experts_, first);
      for (Index d = 0; d < hidden_; ++d)
        for (Index e = first; e < first + width; ++e) *out++ = e < experts_ ? widen(w(e, d)) : 0.0f;
    }
  }
  Index experts() const { return experts_; }
  Index hidden() const { return hidden_; }
  PackedGateView<> view() const { return {data(), experts_, hidden_}; }

private:
  struct alignas(64) Line {
    float values[detail::panel_step];
  };
  float const* data() const { return reinterpret_cast<float const*>(storage_.data()); }

  std::vector<Line> storage_;
  Index experts_ = 0;
  Index hidden_ = 0;
};

/// What a router can take as W: a matrix [E, D], or one that was packed.
template <matrix_like W> auto gate_view(W const& weight) {
  auto const w = as_matrix(weight);
  using View = std::remove_const_t<decltype(w)>;
  return MatrixView<typename View::element const, typename View::memory>(w.data(), w.rows(), w.cols(), w.row_stride());
}
inline PackedGateView<> gate_view(PackedGate const& weight) { return weight.view(); }

template <class W>
concept gate_weight = requires(W const& weight) { gate_view(weight); };

} // namespace moebal
