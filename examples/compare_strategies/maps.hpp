// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How tokens x [T, D] become logits [T, E]: the library's logit maps, each with the parameters that it learns, in one
// vector.
//   parameters(E, D)   how many;   start(...)   fills them;   forward / backward   as in gate/map.hpp, but
//   gradients of the weights and of x [T, D] (unless it is empty) are added to
// It says whether it adds a loss of its own (has_loss), of which a micro-batch gets its `share`. reference(...), where
// there is one, gives its logits without noise. A map that also works on given logits (a trace, a model that has its
// own product) has over(...).

#include <moebal/backend/eigen.hpp>
#include <moebal/balance/cv_squared.hpp>
#include <moebal/balance/router_orthogonality.hpp>
#include <moebal/balance/token_entropy.hpp>
#include <moebal/core/random.hpp>
#include <moebal/gate/cosine.hpp>
#include <moebal/gate/cosine_grap.hpp>
#include <moebal/gate/grap.hpp>
#include <moebal/gate/jitter.hpp>
#include <moebal/gate/noisy_load.hpp>
#include <moebal/gate/random_logits.hpp>

#include <Eigen/Core>

#include <cmath>
#include <span>
#include <vector>

namespace lab {

using moebal::Index;
using moebal::MatrixView;
using moebal::VectorView;
using In = MatrixView<float const>;
using Out = MatrixView<float>;
using Numbers = std::vector<float>;
using Weights = std::span<float const>; // of a map
using Slopes = std::span<float>;        // d loss / d weights

inline void draw_normal(std::uint64_t seed, double deviation, std::span<float> numbers) {
  for (std::size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = float(deviation * moebal::random::normal(seed, std::uint64_t(i)));
}

/// Memory for a gradient that is made first and added then.
class Added {
public:
  Out zeros(Index rows, Index cols) {
    memory_.assign(std::size_t(rows * cols), 0.0f);
    return {memory_.data(), rows, cols};
  }
  void to(float* sum) const {
    for (std::size_t i = 0; i < memory_.size(); ++i) sum[i] += memory_[i];
  }

private:
  Numbers memory_;
};

/// A view as Eigen sees it.
template <class T> auto dense(MatrixView<T> view) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  return Eigen::Map<std::conditional_t<std::is_const_v<T>, Matrix const, Matrix>>(view.data(), view.rows(),
                                                                                  view.cols());
}

/// z = W x, W kept as [D, E]: the dense product that a model has anyway, so Eigen's and not moebal::Linear, which gives
/// the same bits everywhere.
struct LinearMap {
  static constexpr bool causal = true, has_loss = false;
  static constexpr char const* name = "z = W x";
  moebal::EigenExec exec{};

  Index parameters(Index experts, Index width) const { return experts * width; }
  void start(std::uint64_t seed, Index, Index width, std::span<float> p) const {
    draw_normal(seed, 1 / std::sqrt(double(width)), p);
  }
  void forward(In x, std::uint64_t, Weights p, Out z) const {
    dense(z).noalias() = dense(x) * dense(In(p.data(), x.cols(), z.cols()));
  }
  void backward(In x, std::uint64_t, Weights p, In z, Out d_z, Slopes d_p, Out d_x) const {
    dense(Out(d_p.data(), x.cols(), z.cols())).noalias() += dense(x).transpose() * dense(In(d_z));
    if (d_x.data() != nullptr)
      dense(d_x).noalias() += dense(In(d_z)) * dense(In(p.data(), x.cols(), z.cols())).transpose();
  }
};

/// z = W (x u), u the jitter.
struct JitterMap : LinearMap {
  static constexpr char const* name = "z = W (x u), u in 1 +- 0.01";
  void forward(In x, std::uint64_t seed, Weights p, Out z) { LinearMap::forward(shaken(x, seed), seed, p, z); }
  void backward(In x, std::uint64_t seed, Weights p, In z, Out d_z, Slopes d_p, Out d_x) {
    Out const d_y = more_.zeros(d_x.rows(), d_x.cols());
    LinearMap::backward(shaken(x, seed), seed, p, z, d_z, d_p, d_y);
    if (d_x.data() == nullptr) return;
    moebal::backward_into(exec, moebal::InputJitter{.seed = seed}, In(d_y), d_y);
    more_.to(d_x.data());
  }
  void reference(In x, Weights p, Out z) const { LinearMap::forward(x, 0, p, z); }

private:
  In shaken(In x, std::uint64_t seed) {
    y_.resize(std::size_t(x.rows() * x.cols()));
    Out const y(y_.data(), x.rows(), x.cols());
    moebal::jitter_into(exec, moebal::InputJitter{.seed = seed}, x, y);
    return y;
  }
  Numbers y_;
  Added more_;
};

/// H = W x + noise, and the loss CV^2 of the smooth load. Noise: moebal::LearnedNoise (its logits stay at their start,
/// 0) or FixedNoise.
template <class Noise, moebal::LoadThreshold threshold, int top_k> struct NoisyMap : LinearMap {
  static constexpr bool has_loss = true;
  static constexpr char const* name = "H = z + noise";
  double load_coefficient = 1e-2, share = 1;

  void forward(In x, std::uint64_t seed, Weights p, Out z) {
    clean_.resize(std::size_t(z.rows() * z.cols()));
    Out const clean(clean_.data(), z.rows(), z.cols());
    LinearMap::forward(x, seed, p, clean);
    over(seed, clean, z);
  }
  void reference(In x, Weights p, Out z) const { LinearMap::forward(x, 0, p, z); }
  /// The noise alone, over given logits.
  void over(std::uint64_t seed, In clean, Out z) {
    moebal::logits_into(exec, noise(seed), clean, noise_logits(clean), z);
  }
  /// Adds d (coefficient CV^2 of the smooth load of these tokens) / d logits; forward came just before.
  void backward(In x, std::uint64_t seed, Weights p, In z, Out d_z, Slopes d_p, Out d_x) {
    LinearMap::forward(x, seed, p, Out(clean_.data(), z.rows(), z.cols()));
    In const clean(clean_.data(), z.rows(), z.cols());
    Index const experts = z.cols();
    moebal::NoisyLoad const policy{.top_k = top_k, .threshold = threshold};
    workspace_.reserve(moebal::NoisyLoad::workspace_bytes<float>(exec, experts));
    std::vector<std::int64_t> load(static_cast<std::size_t>(experts));
    moebal::load_into(exec, policy, noise(seed), clean, noise_logits(clean), z, VectorView<std::uint8_t const>{},
                      VectorView<std::int64_t>(load), moebal::WorkspaceView<>(workspace_));
    std::vector<double> loads, slopes(load.size());
    for (std::int64_t const n : load) loads.push_back(double(n) / moebal::NoisyLoad::one);
    moebal::cv_squared(VectorView<double const>(loads), moebal::Variance::Population, 1e-10,
                       VectorView<double>(slopes));
    Numbers d_load;
    for (double const s : slopes) d_load.push_back(float(share * load_coefficient * s));
    moebal::load_backward_into(exec, policy, noise(seed), clean, noise_logits(clean), z,
                               VectorView<std::uint8_t const>{}, VectorView<float const>(d_load),
                               moebal::NoisyLoadGradient<float>{.d_clean = d_z, .d_noisy = d_z, .d_noise_logits = {}},
                               moebal::WorkspaceView<>(workspace_));
    LinearMap::backward(x, seed, p, z, d_z, d_p, d_x); // d clean = d noisy: the deviation does not move
  }

private:
  static Noise noise(std::uint64_t seed) {
    Noise n{};
    n.seed = seed;
    return n;
  }
  In noise_logits(In clean) {
    if constexpr (std::same_as<Noise, moebal::FixedNoise>) return {};
    zeros_.assign(std::size_t(clean.rows() * clean.cols()), 0.0f);
    return {zeros_.data(), clean.rows(), clean.cols()};
  }
  Numbers clean_, zeros_;
  moebal::Workspace workspace_;
};

/// W x with rows that are kept apart (SimBal).
struct OrthogonalMap : LinearMap {
  static constexpr bool has_loss = true;
  static constexpr char const* name = "z = W x, c |W W^T - I|";
  double coefficient = 1e-3, share = 1;
  void backward(In x, std::uint64_t seed, Weights p, In z, Out d_z, Slopes d_p, Out d_x) {
    LinearMap::backward(x, seed, p, z, d_z, d_p, d_x);
    moebal::RouterOrthogonality const rule{.coefficient = share * coefficient,
                                           .rows = moebal::RouterOrthogonality::Rows::Normalised};
    rows_.resize(p.size()), more_.resize(p.size());
    Out const rows(rows_.data(), z.cols(), x.cols()), more(more_.data(), z.cols(), x.cols());
    dense(rows) = dense(In(p.data(), x.cols(), z.cols())).transpose();
    rule(exec, In(rows), more);
    dense(Out(d_p.data(), x.cols(), z.cols())) += dense(more).transpose();
  }

private:
  Numbers rows_, more_;
};
/// W x and a loss on the entropy of each token.
struct EntropyMap : LinearMap {
  static constexpr bool has_loss = true;
  static constexpr char const* name = "z = W x, c sum H_t / T";
  double coefficient = 1e-4, share = 1;
  void backward(In x, std::uint64_t seed, Weights p, In z, Out d_z, Slopes d_p, Out d_x) {
    moebal::token_entropies_backward_into(exec, z, VectorView<std::uint8_t const>{},
                                          float(share * coefficient / double(z.rows())), d_z);
    LinearMap::backward(x, seed, p, z, d_z, d_p, d_x);
  }
};

/// z_e = cos(x, v_e) / temperature, without the projection to fewer dimensions.
struct CosineMap {
  static constexpr bool causal = true, has_loss = false;
  static constexpr char const* name = "z = cos(x, v) / 0.3";
  moebal::EigenExec exec{};
  moebal::Cosine cosine{.temperature = 0.3f};

  Index parameters(Index experts, Index width) const { return experts * width; }
  void start(std::uint64_t seed, Index, Index, std::span<float> p) const { draw_normal(seed, 1, p); }
  void forward(In x, std::uint64_t, Weights p, Out z) {
    workspace_.reserve(moebal::Cosine::workspace_bytes<float>(exec, x.rows(), z.cols()));
    moebal::logits_into(exec, cosine, x, In(p.data(), z.cols(), x.cols()), z, moebal::WorkspaceView<>(workspace_));
  }
  void backward(In x, std::uint64_t, Weights p, In z, Out d_z, Slopes d_p, Out d_x) {
    workspace_.reserve(moebal::Cosine::workspace_bytes<float>(exec, x.rows(), z.cols()));
    moebal::backward_into(exec, cosine, x, In(p.data(), z.cols(), x.cols()), z, In(d_z),
                          moebal::CosineGradient<float>{.d_h = more_x_.zeros(d_x.rows(), d_x.cols()),
                                                        .d_directions = more_.zeros(z.cols(), x.cols()),
                                                        .d_temperature = {}},
                          moebal::WorkspaceView<>(workspace_));
    more_.to(d_p.data());
    more_x_.to(d_x.data());
  }

private:
  moebal::Workspace workspace_;
  Added more_, more_x_;
};

/// The mean of each of E chunks of x. Nothing to learn.
struct GrapMap {
  static constexpr bool causal = true, has_loss = false;
  static constexpr char const* name = "z = GrAP(x)";
  moebal::EigenExec exec{};
  Index parameters(Index, Index) const { return 0; }
  void start(std::uint64_t, Index, Index, std::span<float>) const {}
  void forward(In x, std::uint64_t, Weights, Out z) const {
    moebal::logits_into(exec, moebal::GrAP{.rectify = moebal::Rectify::None}, x, VectorView<float const>{}, z);
  }
  void backward(In, std::uint64_t, Weights, In z, Out d_z, Slopes, Out d_x) {
    if (d_x.data() == nullptr) return;
    moebal::backward_into(exec, moebal::GrAP{.rectify = moebal::Rectify::None}, z, In(d_z),
                          more_.zeros(d_x.rows(), d_x.cols()));
    more_.to(d_x.data());
  }

protected:
  Added more_;
};
struct CosineGrapMap : GrapMap {
  static constexpr char const* name = "z = cos(x, GrAP rows)";
  void forward(In x, std::uint64_t, Weights, Out z) const { moebal::logits_into(exec, moebal::CosineGrAP{}, x, z); }
  void backward(In x, std::uint64_t, Weights, In z, Out d_z, Slopes, Out d_x) {
    if (d_x.data() == nullptr) return;
    moebal::backward_into(exec, moebal::CosineGrAP{}, x, z, In(d_z), more_.zeros(d_x.rows(), d_x.cols()));
    more_.to(d_x.data());
  }
};

/// Logits from nowhere: neither the router nor the skew is heard.
struct RandomMap : LinearMap {
  static constexpr bool deaf = true;
  static constexpr char const* name = "z random";
  void forward(In, std::uint64_t seed, Weights, Out z) const {
    moebal::logits_into(exec, moebal::RandomLogits{.seed = seed}, z);
  }
  void reference(In x, Weights p, Out z) const { LinearMap::forward(x, 0, p, z); }
  void over(std::uint64_t seed, In, Out z) const { forward({}, seed, {}, z); }
};

} // namespace lab
