// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/random.hpp"
#include "map.hpp"

namespace moebal {

// Noisy top-K: logits with Gaussian noise, H = z + eps sigma, eps standard normal for each token and expert, drawn
// from (seed, first + t, e) alone. Route by H; use z at evaluation. The load that noise smooths is
// gate/noisy_load.hpp. Cost: one pass over [T, E], and a logarithm and a sine a logit. Both add their gradients: d z
// += d H, and d n += d H eps sigmoid(n) for a learned deviation.

/// Shazeer et al. (arXiv 1701.06538): sigma = softplus(n) + floor, the noise logits n = W_noise x learned, both W of
/// zeros at the start. floor: 1e-2 in the code of davidmrau/mixture-of-experts; the paper has none, and sigma may
/// then vanish. With SoftmaxOverChosen.
struct LearnedNoise {
  static constexpr bool causal = true;
  std::uint64_t seed = 0; // change it at every step
  Index first = 0;        // the number of this call's first token in its step, so that cutting a batch changes nothing
  float floor = 1e-2f;

  void check_load() const {}
  template <class Real> MOEBAL_FN Real deviation(Real const* noise_logits, Index e, Index) const {
    return math::softplus(noise_logits[e]) + Real(floor);
  }
  /// d sigma / d n.
  template <class Real> MOEBAL_FN Real slope(Real const* noise_logits, Index e) const {
    return math::sigmoid(noise_logits[e]);
  }
};

/// V-MoE (arXiv 2106.05974): sigma = deviation / E, with deviation 1 in its code. With Softmax. 0 is no
/// noise, and then there is no smooth load either: it would be a step, whose slope is 0 or without end.
struct FixedNoise {
  static constexpr bool causal = true;
  std::uint64_t seed = 0;
  Index first = 0;
  float deviation_times_experts = 1;

  void check_load() const {
    if (!(deviation_times_experts > 0 && math::is_finite(deviation_times_experts)))
      detail::refuse<ShapeError>("a smooth load: deviation_times_experts of FixedNoise", "more than 0, and finite",
                                 std::to_string(deviation_times_experts));
  }
  template <class Real> MOEBAL_FN Real deviation(Real const*, Index, Index experts) const {
    return Real(deviation_times_experts) / Real(experts);
  }
  template <class Real> MOEBAL_FN Real slope(Real const*, Index) const { return Real(0); }
};

template <class N>
concept noise_policy = std::is_trivially_copyable_v<N> && requires(N const& noise, float const* n, Index e) {
  { noise.deviation(n, e, e) } -> std::same_as<float>;
  { noise.slope(n, e) } -> std::same_as<float>;
  noise.seed;
  noise.first;
  noise.check_load(); // refuses a noise without a smooth load
};
static_assert(noise_policy<LearnedNoise> && noise_policy<FixedNoise>);

namespace detail {

template <class Noise> MOEBAL_FN double draw(Noise const& noise, Index t, Index e, Index experts) {
  return random::normal(noise.seed, std::uint64_t((noise.first + t) * experts + e));
}
template <class Real, class M> MOEBAL_FN Real const* row_or_none(MatrixView<Real const, M> const& m, Index t) {
  return m.data() == nullptr ? nullptr : m.row(t);
}

template <class Noise, class Logit, class Real, class M> struct NoisyRow {
  using real = Real;
  Noise noise;
  MatrixView<Logit const, M> clean;
  MatrixView<Real const, M> noise_logits;
  MatrixView<Real, M> noisy;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    Index const experts = clean.cols();
    Real const* const n = row_or_none(noise_logits, t);
    Logit const* const z = clean.row(t);
    Real* const out = noisy.row(t);
    auto const self = noise;
    lanes.each_one(experts, [=](Index e) {
      out[e] = math::fma(Real(draw(self, t, e, experts)), self.deviation(n, e, experts), Real(load(z, e)));
    });
  }
};

template <class Noise, class Real, class M> struct NoisyBackwardRow {
  using real = Real;
  Noise noise;
  MatrixView<Real const, M> noise_logits, d_noisy;
  MatrixView<Real, M> d_clean, d_noise_logits;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    Index const experts = d_noisy.cols();
    Real const* const n = row_or_none(noise_logits, t);
    Real const* const d = d_noisy.row(t);
    Real* const d_z = d_clean.data() == nullptr ? nullptr : d_clean.row(t);
    Real* const d_n = d_noise_logits.data() == nullptr ? nullptr : d_noise_logits.row(t);
    auto const self = noise;
    lanes.each_one(experts, [=](Index e) {
      if (d_z != nullptr) d_z[e] = d_z[e] + d[e];
      if (d_n != nullptr) d_n[e] = math::fma(d[e] * Real(draw(self, t, e, experts)), self.slope(n, e), d_n[e]);
    });
  }
};

/// Learned noise needs its logits; fixed noise ignores them.
template <class Noise, class View>
void check_noise_logits(Noise const&, Index tokens, Index experts, View const& noise_logits) {
  if (std::same_as<Noise, LearnedNoise> || noise_logits.data() != nullptr)
    gate::require_shape("noise_logits [T, E]", tokens, experts, noise_logits);
}

} // namespace detail

/// noisy [T, E] from clean [T, E] and noise_logits [T, E] (empty for FixedNoise).
template <execution Exec, noise_policy Noise, matrix_like Z, class Real, class M>
void logits_into(Exec const& exec, Noise noise, Z const& clean,
                 std::type_identity_t<MatrixView<Real const, M>> noise_logits, MatrixView<Real, M> noisy) {
  auto const z = gate::reading(clean);
  detail::check_noise_logits(noise, z.rows(), z.cols(), noise_logits);
  gate::require_shape("noisy [T, E]", z.rows(), z.cols(), noisy);
  exec.for_rows(z.rows(), 0, WorkspaceView<M>{},
                detail::NoisyRow<Noise, element_of<Z const&>, Real, M>{noise, z, noise_logits, noisy});
}

/// Adds to d_clean [T, E] and d_noise_logits [T, E] (each may be empty) what d_noisy [T, E] sends back.
template <execution Exec, noise_policy Noise, matrix_like G, class Real, class M>
void backward_into(Exec const& exec, Noise noise, std::type_identity_t<MatrixView<Real const, M>> noise_logits,
                   G const& d_noisy, MatrixView<Real, M> d_clean,
                   std::type_identity_t<MatrixView<Real, M>> d_noise_logits) {
  auto const d = gate::reading(d_noisy);
  if (d_noise_logits.data() != nullptr) detail::check_noise_logits(noise, d.rows(), d.cols(), noise_logits);
  gate::require_shape_or_none("d_clean [T, E]", d.rows(), d.cols(), d_clean);
  gate::require_shape_or_none("d_noise_logits [T, E]", d.rows(), d.cols(), d_noise_logits);
  exec.for_rows(d.rows(), 0, WorkspaceView<M>{},
                detail::NoisyBackwardRow<Noise, Real, M>{noise, noise_logits, d, d_clean, d_noise_logits});
}

} // namespace moebal
