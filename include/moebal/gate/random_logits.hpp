// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/random.hpp"
#include "map.hpp"

namespace moebal {

/// How forced balance spreads the tokens.
enum class ForcedBalance {
  Random,     // standard normal logits: balanced on average, as Megatron does it
  RoundRobin, // token t takes experts t K, t K + 1, ... modulo E: counts differ by 1 at most
};

/// Forced balance, to time a model as if its router were balanced (Megatron-LM): the logits are replaced, and the
/// gradient goes straight through to the logits that were there, dz = dH. Nothing is learned by it. Cost: one pass
/// over [T, E].
struct RandomLogits {
  static constexpr bool causal = true;
  ForcedBalance spread = ForcedBalance::Random;
  Index top_k = 1; // for RoundRobin: experts a token
  std::uint64_t seed = 0;
  Index first = 0; // the number of this call's first token in its step
};

namespace detail {
template <class Real, class M> struct RandomLogitsRow {
  using real = Real;
  RandomLogits policy;
  MatrixView<Real, M> logits;
  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    Index const experts = logits.cols(), token = policy.first + t;
    Index const start = token % experts * (policy.top_k % experts) % experts;
    bool const random = policy.spread == ForcedBalance::Random;
    auto const seed = policy.seed;
    Real* const out = logits.row(t);
    lanes.each_one(experts, [=](Index e) {
      out[e] = random ? Real(random::normal(seed, std::uint64_t(token * experts + e)))
                      : -Real((e - start + experts) % experts);
    });
  }
};
template <class G, class Real, class M> struct StraightThroughRow {
  using real = Real;
  MatrixView<G const, M> d_logits;
  MatrixView<Real, M> d_clean;
  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    G const* const in = d_logits.row(t);
    Real* const out = d_clean.row(t);
    lanes.each_one(d_clean.cols(), [=](Index e) { out[e] = load(in, e); });
  }
};
} // namespace detail

/// logits [T, E] out.
template <execution Exec, class Real, class M>
void logits_into(Exec const& exec, RandomLogits policy, MatrixView<Real, M> logits) {
  require_at_least("E, the columns of logits [T, E]", 1, logits.cols());
  require_at_least("K of RandomLogits (top_k)", 1, policy.top_k);
  exec.for_rows(logits.rows(), 0, WorkspaceView<M>{}, detail::RandomLogitsRow<Real, M>{policy, logits});
}

/// d_clean [T, E] (overwritten) = d_logits [T, E].
template <execution Exec, matrix_like G, class Real, class M>
void backward_into(Exec const& exec, RandomLogits, G const& d_logits, MatrixView<Real, M> d_clean) {
  auto const d = gate::reading(d_logits);
  gate::require_shape("d_clean [T, E]", d.rows(), d.cols(), d_clean);
  exec.for_rows(d.rows(), 0, WorkspaceView<M>{}, detail::StraightThroughRow<element_of<G const&>, Real, M>{d, d_clean});
}

} // namespace moebal
