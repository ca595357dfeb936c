// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The router for one arithmetic. Compiled once for float and once for double, in files of their own.

#include "execution.hpp"
#include "library.hpp"

#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/gate/sqrt_softplus.hpp>
#include <moebal/router.hpp>
#include <moebal/select/group_limited_top_k.hpp>
#include <moebal/select/top_k.hpp>
#include <moebal/select/with_top_k.hpp>

namespace golden {

namespace detail {

template <class F> auto with_gate(reference::Gate const& g, F f) {
  auto const normalise = g.normalise ? moebal::Normalise::OverChosen : moebal::Normalise::None;
  auto const single = g.single_choice_raw ? moebal::SingleChoice::Raw : moebal::SingleChoice::Normalised;
  auto const rule =
      g.epsilon_rule == reference::EpsilonRule::Add ? moebal::EpsilonRule::Add : moebal::EpsilonRule::AtLeast;
  float const scale = float(g.scale), epsilon = float(g.epsilon);
  switch (g.score) {
  case reference::Score::Softmax:
    return f(moebal::Softmax{normalise, single, scale, epsilon, rule});
  case reference::Score::Sigmoid:
    return f(moebal::Sigmoid{normalise, single, scale, epsilon, rule});
  case reference::Score::SqrtSoftplus:
    return f(moebal::SqrtSoftplus{normalise, single, scale, epsilon, rule});
  default:
    return f(moebal::SoftmaxOverChosen{scale});
  }
}

/// Every K that a case may have.
template <class F> auto with_compiled_top_k(std::size_t top_k, F f) {
  if (top_k < 1 || (top_k > 10 && top_k != 12 && top_k != 16))
    throw Skip{"the runner is not compiled for K = " + std::to_string(top_k)};
  return moebal::with_top_k<1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16>(moebal::Index(top_k), f);
}

template <class F> auto with_router(Request const& r, F f) {
  return with_compiled_top_k(r.top_k, [&](auto constant) {
    constexpr int K = decltype(constant)::value;
    return with_gate(r.gate, [&](auto gate) {
      using Gate = decltype(gate);
      if (!r.groups) return f(moebal::Router<moebal::TopK<K>, Gate>{moebal::TopK<K>{}, gate});
      moebal::GroupLimitedTopK<K> const select{.groups = moebal::Index(r.groups->groups),
                                               .kept = moebal::Index(r.groups->kept),
                                               .score = r.groups->sum_of == 1 ? moebal::GroupScore::Max
                                                                              : moebal::GroupScore::SumTop,
                                               .sum_of = moebal::Index(r.groups->sum_of)};
      return f(moebal::Router<moebal::GroupLimitedTopK<K>, Gate>{select, gate});
    });
  });
}

/// The inputs of a request in the library's types.
template <class Real> struct Inputs {
  std::vector<Real> logits;
  std::vector<float> bias;
  moebal::MatrixView<Real const> matrix;
  moebal::RowOptions<> options;

  explicit Inputs(Request const& r)
      : logits(r.logits.data.begin(), r.logits.data.end()), bias(r.bias.begin(), r.bias.end()),
        matrix(logits.data(), moebal::Index(r.tokens()), moebal::Index(r.experts())),
        options{.bias = bias, .padding = r.padding, .segments = r.segments} {}
};

} // namespace detail

template <class Real> Answer route_as(Request const& r) {
  return detail::with_router(r, [&](auto const& router) {
    moebal::laws::AnyExec const& exec = chosen_execution();
    detail::Inputs<Real> const in(r);
    auto [routing, load] = router.template route_with<AllStatistics>(exec, in.matrix, in.options);
    Answer a{.ids = std::vector<Ids>(r.tokens(), Ids(r.top_k)),
             .weights = Matrix(r.tokens(), r.top_k),
             .load = std::move(load),
             .score_sums = Matrix(r.sequences(), r.experts())};
    for (std::size_t t = 0; t < r.tokens(); ++t)
      for (std::size_t k = 0; k < r.top_k; ++k) {
        a.ids[t][k] = routing.expert_ids()(moebal::Index(t), moebal::Index(k));
        a.weights(t, k) = double(routing.weights()(moebal::Index(t), moebal::Index(k)));
      }
    for (std::size_t s = 0; s < r.sequences(); ++s)
      for (std::size_t e = 0; e < r.experts(); ++e)
        a.score_sums(s, e) = double(a.load.template get<moebal::stats::ScoreSums>(moebal::Index(s))[moebal::Index(e)]) /
                             moebal::stats::score_one<Real>;
    return a;
  });
}

template <class Real>
Matrix backward_as(Request const& r, std::vector<Ids> const& ids, Matrix const& d_weights, Matrix const& slopes,
                   Row const& z_slopes) {
  return detail::with_router(r, [&](auto const& router) {
    moebal::laws::AnyExec const& exec = chosen_execution();
    detail::Inputs<Real> const in(r);
    moebal::Routing<Real> routing(moebal::Index(r.tokens()), moebal::Index(r.top_k));
    for (std::size_t t = 0; t < r.tokens(); ++t)
      for (std::size_t k = 0; k < r.top_k; ++k)
        routing.expert_ids()(moebal::Index(t), moebal::Index(k)) = moebal::ExpertId(ids[t][k]);
    std::vector<Real> const v(d_weights.data.begin(), d_weights.data.end());
    std::vector<Real> const s(slopes.data.begin(), slopes.data.end());
    std::vector<Real> const z(z_slopes.begin(), z_slopes.end());
    moebal::RouterGradient<Real> const gradient{
        .d_weights = {v.data(), moebal::Index(d_weights.rows), moebal::Index(d_weights.cols)},
        .slopes = {s.data(), moebal::Index(slopes.rows), moebal::Index(slopes.cols)},
        .z_slopes = z};
    moebal::Index const tokens = in.matrix.rows(), experts = in.matrix.cols();
    std::vector<Real> d(r.logits.data.size());
    moebal::Workspace workspace(router.template workspace_bytes<moebal::stats::None, Real>(
        exec, tokens, experts, moebal::Index(r.sequences())));
    router.backward_into(exec, in.matrix, in.options, moebal::MatrixView<moebal::ExpertId const>(routing.expert_ids()),
                         gradient, moebal::MatrixView<Real>(d.data(), tokens, experts),
                         moebal::WorkspaceView<>(workspace));
    return Matrix(d.data(), r.tokens(), r.experts());
  });
}

} // namespace golden
