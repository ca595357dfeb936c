// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/normal.hpp"
#include "../core/rank.hpp"
#include "noisy.hpp"

namespace moebal {

/// What an expert's clean logit has to beat, over fresh noise, to be chosen.
enum class LoadThreshold {
  LeaveOneOut, // Shazeer: the K-th largest noisy logit of the other experts
  KthNoisy,    // V-MoE: the K-th largest noisy logit, whoever has it
};
/// Whether the threshold, which is some expert's noisy logit, carries gradient. Published code gathers it, so it does.
enum class ThresholdGradient { Through, Stopped };

/// The smooth load of noisy top-K: the probability that expert e is among the K best if its own noise alone were
/// drawn anew,
///   P(t, e) = Phi((z_te - threshold_te) / sigma_te),   load_e = sum_t P(t, e)
/// Shazeer et al. (arXiv 1701.06538) with LearnedNoise and LeaveOneOut; V-MoE (2106.05974) with FixedNoise and
/// KthNoisy, which writes it 1 - Phi((threshold - z) / sigma). Balance it by its squared coefficient of variation
/// (importance and load losses). The sum is an integer in units of 2^-32, so any cut of a batch adds up to the same
/// bits. Cost: K rounds over the row and E values of Phi a token; nothing is communicated unless you add the loads of
/// ranks. Gradient, a = (z - threshold) / sigma, phi the normal density: dP/dz = phi(a) / sigma, dP/dthreshold =
/// -phi(a) / sigma, dP/dsigma = -a phi(a) / sigma.
struct NoisyLoad {
  static constexpr bool causal = true;
  static constexpr double one = 0x1p32; // units in a load of 1
  Index top_k = 2;
  LoadThreshold threshold = LoadThreshold::LeaveOneOut;
  ThresholdGradient gradient = ThresholdGradient::Through;

  /// For both functions below.
  template <class Real, class Exec> static std::size_t workspace_bytes(Exec const& exec, Index experts) {
    using Ws = WorkspaceView<typename Exec::memory>;
    return Ws::template bytes_for<std::int64_t>(exec.copies() * experts) +
           Ws::template bytes_for<std::byte>(row_bytes<Real>(experts) * exec.workers());
  }
  template <class Real> static Index row_bytes(Index experts) {
    return (Index(sizeof(rank_word_t<Real>) + 2 * sizeof(Real)) * experts + 63) / 64 * 64;
  }
};

/// What load_backward_into adds to; each part may stay empty. d_noisy goes on to the noise's own backward_into.
template <class Real = float, class Memory = HostMemory> struct NoisyLoadGradient {
  MatrixView<Real, Memory> d_clean{};        // [T, E]
  MatrixView<Real, Memory> d_noisy{};        // [T, E]
  MatrixView<Real, Memory> d_noise_logits{}; // [T, E]
};

namespace detail {

template <class Noise, class Real, class M> struct NoisyLoadRow {
  using real = Real;
  using Word = rank_word_t<Real>;
  NoisyLoad load_of;
  Noise noise;
  MatrixView<Real const, M> clean, noise_logits, noisy;
  VectorView<std::uint8_t const, M> padding;
  std::int64_t* partial; // [copies, E] sums out, or null: backward
  Index copies;
  VectorView<Real const, M> d_load;
  NoisyLoadGradient<Real, M> gradient;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte* memory, Index worker, Index t) const {
    if (!padding.empty() && padding[t] != 0) return;
    Index const experts = clean.cols();
    Word* const words = reinterpret_cast<Word*>(memory);
    Real* const scratch = reinterpret_cast<Real*>(words + experts); // [2 E] pulls on the two thresholds
    Real const* const h = noisy.row(t);
    lanes.each_one(experts, [=](Index e) { words[e] = rank_word(h[e], e); });
    Word inside = ~Word(0), next = 0; // the K-th, and the one after it
    for (Index k = 0; k <= load_of.top_k && k < experts; ++k) {
      Word const bound = k == load_of.top_k ? inside : k == 0 ? ~Word(0) : inside;
      Word const best = lanes.template max<Word>(
          experts, [=](auto e) { return below(load(static_cast<Word const*>(words), e), bound); }, Word(0));
      (k == load_of.top_k ? next : inside) = best;
    }
    bool const leave_out = load_of.threshold == LoadThreshold::LeaveOneOut;
    Real const* const n = row_or_none(noise_logits, t);
    Real const* const z = clean.row(t);
    auto const self = noise;
    // Which expert e is compared with; -1: no one is left, it is always chosen.
    auto const rival = [=](Index e) {
      Word const word = leave_out && words[e] >= inside ? next : inside;
      return word == 0 ? ExpertId(-1) : id_of(word);
    };
    if (partial != nullptr) {
      std::int64_t* const sums = partial + (copies == 1 ? 0 : worker) * experts;
      lanes.each_one(experts, [=](Index e) {
        ExpertId const r = rival(e);
        double const p = r < 0 ? 1 : math::normal_cdf(double((z[e] - h[r]) / self.deviation(n, e, experts)));
        lanes.add(sums, e, math::to_fixed(p, NoisyLoad::one));
      });
      return;
    }
    Real const* const slope = d_load.data();
    auto const row = [t](MatrixView<Real, M> const& m) { return m.data() == nullptr ? nullptr : m.row(t); };
    Real *const d_z = row(gradient.d_clean), *const d_n = row(gradient.d_noise_logits),
                *const d_h = row(gradient.d_noisy);
    lanes.each_one(experts, [=](Index e) {
      ExpertId const r = rival(e);
      scratch[e] = scratch[experts + e] = 0;
      if (r < 0) return;
      Real const sigma = self.deviation(n, e, experts), a = (z[e] - h[r]) / sigma;
      Real const pull = slope[e] * Real(math::normal_density(double(a))) / sigma; // d loss / d z
      if (d_z != nullptr) d_z[e] = d_z[e] + pull;
      if (d_n != nullptr) d_n[e] = math::fma(-(a * pull), self.slope(n, e), d_n[e]);
      scratch[r == id_of(inside) ? e : experts + e] = pull;
    });
    if (d_h == nullptr || load_of.gradient == ThresholdGradient::Stopped) return;
    for (Index side = 0; side < 2; ++side) { // the threshold of those outside, then of those inside
      Word const word = side == 0 ? inside : next;
      Real const* const pulls = scratch + side * experts;
      Real const sum = lanes.template sum<Real>(experts, [=](auto e) { return load(pulls, e); });
      if (word != 0) lanes.once([=] { d_h[id_of(word)] = d_h[id_of(word)] - sum; });
    }
  }
};

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
