// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Latent prototype routing as a logit map of the lab, with the losses that its prototypes have.

#include "maps.hpp"

#include <moebal/balance/prototype_alignment.hpp>
#include <moebal/gate/linear.hpp>
#include <moebal/gate/silu.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/router.hpp>
#include <moebal/select/top_k.hpp>

namespace lab {

/// u = W silu(x) with W [P, D], z_e = cos(u, p_e) with p [E, P]; W and then p in one vector. Adds c (diversity + alignment) of the
/// prototypes, the alignment to this rank's tokens, as the published code.
template <int top_k> struct LatentMap {
  static constexpr bool causal = true, has_loss = true;
  static constexpr char const* name = "z = cos(W silu(x), p)";
  static constexpr Index latent = 16;
  static constexpr moebal::Cosine cosine{.temperature = 1};
  moebal::EigenExec exec{};
  double coefficient = 0.1, share = 1;

  Index parameters(Index experts, Index width) const { return latent * (width + experts); }
  void start(std::uint64_t seed, Index, Index width, std::span<float> p) const {
    std::size_t const products = std::size_t(latent * width);
    draw_normal(seed, 1 / std::sqrt(double(width)), p.first(products));
    draw_normal(seed + 1, 1, p.subspan(products));
  }
  void forward(In x, std::uint64_t, Weights p, Out z) {
    encode(x, p);
    workspace_.reserve(moebal::Cosine::workspace_bytes<float>(exec, x.rows(), z.cols()));
    moebal::logits_into(exec, cosine, In(u_), prototypes(p, x, z), z, moebal::WorkspaceView<>(workspace_));
  }
  void backward(In x, std::uint64_t, Weights p, In z, Out d_z, Slopes d_p, Out d_x) {
    Index const tokens = x.rows(), experts = z.cols(), width = x.cols();
    encode(x, p);
    In const keys = prototypes(p, x, z);
    Out const d_u = d_u_.zeros(tokens, latent), d_keys = d_keys_.zeros(experts, latent), d_more = d_more_.zeros(experts, latent);
    workspace_.reserve(moebal::Cosine::workspace_bytes<float>(exec, tokens, experts));
    moebal::backward_into(exec, cosine, In(u_), keys, z, In(d_z),
                          moebal::CosineGradient<float>{.d_h = d_u, .d_directions = d_keys, .d_temperature = {}},
                          moebal::WorkspaceView<>(workspace_));
    auto const routing = moebal::Router{moebal::TopK<top_k>{}, moebal::SoftmaxOverChosen{}}.route(exec, z);
    sums_.assign(std::size_t(experts * (latent + 1)), 0);
    MatrixView<std::int64_t> const sums(sums_.data(), experts, latent + 1);
    moebal::token_sums_into(exec, In(u_), routing.expert_ids(), routing.weights(), sums);
    double const part = share * coefficient;
    moebal::PrototypeAlignment{.coefficient = 0.1 * part}(keys, MatrixView<std::int64_t const>(sums), d_keys);
    moebal::RouterOrthogonality{.coefficient = part / double(experts * experts),
                                .norm = moebal::RouterOrthogonality::Norm::Squares,
                                .rows = moebal::RouterOrthogonality::Rows::Normalised}(exec, keys, d_more);
    d_keys_.to(d_p.data() + latent * width);
    d_more_.to(d_p.data() + latent * width);
    bool const wants_x = d_x.data() != nullptr;
    Out const d_active = d_active_.zeros(wants_x ? tokens : 0, wants_x ? width : 0);
    moebal::backward_into(exec, moebal::Linear{}, In(active_), In(p.data(), latent, width), In(d_u),
                          moebal::LinearGradient<float>{.d_x = d_active, .d_weight = d_w_.zeros(latent, width), .d_bias = {}});
    d_w_.to(d_p.data());
    if (!wants_x) return;
    moebal::backward_into(exec, moebal::Silu{}, x, In(d_active), d_active);
    d_active_.to(d_x.data());
  }

private:
  static In prototypes(Weights p, In x, auto z) { return {p.data() + latent * x.cols(), z.cols(), latent}; }
  void encode(In x, Weights p) {
    active_memory_.resize(std::size_t(x.rows() * x.cols()));
    u_memory_.resize(std::size_t(x.rows() * latent));
    active_ = {active_memory_.data(), x.rows(), x.cols()};
    u_ = {u_memory_.data(), x.rows(), latent};
    moebal::logits_into(exec, moebal::Silu{}, x, active_);
    moebal::logits_into(exec, moebal::Linear{}, In(active_), In(p.data(), latent, x.cols()), VectorView<float const>{}, u_);
  }

  Numbers active_memory_, u_memory_;
  Out active_, u_;
  std::vector<std::int64_t> sums_;
  moebal::Workspace workspace_;
  Added d_u_, d_keys_, d_more_, d_w_, d_active_;
};

} // namespace lab
