// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The smooth load of noisy top-K: its policy, NoisyLoad, stands in gate/noisy_load_rows.hpp.

#include "noisy_load_rows.hpp"

namespace moebal {
namespace detail {

template <class Noise, class Real, class M>
void check_noisy_load(NoisyLoad const& policy, Noise const& noise, MatrixView<Real const, M> const& clean,
                      MatrixView<Real const, M> const& noise_logits, MatrixView<Real const, M> const& noisy,
                      VectorView<std::uint8_t const, M> const& padding) {
  require_within("K of NoisyLoad (top_k; E is the upper bound)", 1, clean.cols(), policy.top_k);
  noise.check_load();
  check_noise_logits(noise, clean.rows(), clean.cols(), noise_logits);
  gate::require_shape("noisy [T, E]", clean.rows(), clean.cols(), noisy);
  if (!padding.empty()) require_equal("padding [T]", clean.rows(), padding.size());
}

} // namespace detail

/// load [E] (overwritten), in units of 1 / NoisyLoad::one, from clean, noise_logits (empty for FixedNoise) and noisy
/// [T, E] as logits_into wrote it. padding [T] or empty. workspace: NoisyLoad::workspace_bytes<Real>(exec, E).
template <execution Exec, noise_policy Noise, class Real, class M>
void load_into(Exec const& exec, NoisyLoad policy, Noise noise, MatrixView<Real const, M> clean,
               std::type_identity_t<MatrixView<Real const, M>> noise_logits,
               std::type_identity_t<MatrixView<Real const, M>> noisy,
               std::type_identity_t<VectorView<std::uint8_t const, M>> padding, VectorView<std::int64_t, M> load,
               WorkspaceView<M> workspace) {
  detail::check_noisy_load(policy, noise, clean, noise_logits, noisy, padding);
  Index const experts = clean.cols();
  require_equal("load [E]", experts, load.size());
  workspace.require(NoisyLoad::workspace_bytes<Real>(exec, experts));
  std::int64_t* const partial = workspace.template take<std::int64_t>(exec.copies() * experts);
  exec.fill(VectorView<std::int64_t, M>(partial, exec.copies() * experts), std::int64_t(0));
  exec.for_rows(clean.rows(), std::size_t(NoisyLoad::row_bytes<Real>(experts)), workspace,
                detail::NoisyLoadRow<Noise, Real, M>{
                    policy, noise, clean, noise_logits, noisy, padding, partial, exec.copies(), {}, {}});
  exec.reduce_columns(MatrixView<std::int64_t const, M>(partial, exec.copies(), experts), load);
}

/// Adds to `gradient` what d_load [E] (d loss / d load, a load of 1 being 1) sends back.
template <execution Exec, noise_policy Noise, class Real, class M>
void load_backward_into(Exec const& exec, NoisyLoad policy, Noise noise, MatrixView<Real const, M> clean,
                        std::type_identity_t<MatrixView<Real const, M>> noise_logits,
                        std::type_identity_t<MatrixView<Real const, M>> noisy,
                        std::type_identity_t<VectorView<std::uint8_t const, M>> padding,
                        std::type_identity_t<VectorView<Real const, M>> d_load, NoisyLoadGradient<Real, M> gradient,
                        WorkspaceView<M> workspace) {
  detail::check_noisy_load(policy, noise, clean, noise_logits, noisy, padding);
  require_equal("d_load [E]", clean.cols(), d_load.size());
  gate::require_shape_or_none("d_clean [T, E]", clean.rows(), clean.cols(), gradient.d_clean);
  gate::require_shape_or_none("d_noisy [T, E]", clean.rows(), clean.cols(), gradient.d_noisy);
  gate::require_shape_or_none("d_noise_logits [T, E]", clean.rows(), clean.cols(), gradient.d_noise_logits);
  exec.for_rows(clean.rows(), std::size_t(NoisyLoad::row_bytes<Real>(clean.cols())), workspace,
                detail::NoisyLoadRow<Noise, Real, M>{policy, noise, clean, noise_logits, noisy, padding, nullptr, 1,
                                                     d_load, gradient});
}

} // namespace moebal
