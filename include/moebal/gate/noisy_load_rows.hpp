// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The rows of gate/noisy_load.hpp, and its policy.

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

} // namespace detail
} // namespace moebal
