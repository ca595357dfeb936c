// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The router with K and the gate chosen at run time: one virtual call a micro-batch in front of the library's
// templates.

#include "catalogue.hpp"

#include <moebal/backend/eigen.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/router.hpp>
#include <moebal/select/top_k.hpp>
#include <moebal/stats/counts.hpp>
#include <moebal/stats/score_sums.hpp>

#include <memory>
#include <stdexcept>

namespace train {

using moebal::Index;

/// What the rules of this example read. The first is also what the report needs, so it is always collected.
using Counted = moebal::stats::List<moebal::stats::Counts>;
using Scored = moebal::stats::List<moebal::stats::Counts, moebal::stats::ScoreSums>;

template <class Real> class GateRouter {
public:
  virtual ~GateRouter() = default;
  using Logits = moebal::MatrixView<Real const>; // [T, E]
  using Out = moebal::RoutingView<Real>;         // [T, K]

  virtual void route(Logits, moebal::RowOptions<>, Out, moebal::LoadView<moebal::stats::None>) = 0;
  virtual void route(Logits, moebal::RowOptions<>, Out, moebal::LoadView<Counted>) = 0;
  virtual void route(Logits, moebal::RowOptions<>, Out, moebal::LoadView<Scored>) = 0;
  /// d_logits [T, E] is overwritten.
  virtual void backward(Logits, moebal::RowOptions<>, moebal::MatrixView<moebal::ExpertId const>,
                        moebal::RouterGradient<Real>, moebal::MatrixView<Real> d_logits) = 0;
};

template <class Real, class Router> class GateRouterOf final : public GateRouter<Real> {
public:
  using typename GateRouter<Real>::Logits;
  using typename GateRouter<Real>::Out;

  explicit GateRouterOf(Router router) : router_(router) {}

  void route(Logits logits, moebal::RowOptions<> options, Out out,
             moebal::LoadView<moebal::stats::None> load) override {
    route_into(logits, options, out, load);
  }
  void route(Logits logits, moebal::RowOptions<> options, Out out, moebal::LoadView<Counted> load) override {
    route_into(logits, options, out, load);
  }
  void route(Logits logits, moebal::RowOptions<> options, Out out, moebal::LoadView<Scored> load) override {
    route_into(logits, options, out, load);
  }
  void backward(Logits logits, moebal::RowOptions<> options, moebal::MatrixView<moebal::ExpertId const> ids,
                moebal::RouterGradient<Real> gradient, moebal::MatrixView<Real> d_logits) override {
    reserve<Scored>(logits, options);
    router_.backward_into(exec_, logits, options, ids, gradient, d_logits, moebal::WorkspaceView<>(workspace_));
  }

private:
  template <class Needs> void reserve(Logits logits, moebal::RowOptions<> const& options) {
    Index const sequences = options.segments.empty() ? 1 : options.segments.size() - 1;
    workspace_.reserve(router_.template workspace_bytes<Needs, Real>(exec_, logits.rows(), logits.cols(), sequences));
  }
  template <class Needs>
  void route_into(Logits logits, moebal::RowOptions<> options, Out out, moebal::LoadView<Needs> load) {
    reserve<Needs>(logits, options);
    router_.template route_into<Needs>(exec_, logits, options, out, load, moebal::WorkspaceView<>(workspace_));
  }

  Router router_;
  moebal::EigenExec exec_;
  moebal::Workspace workspace_;
};

/// Softmax over all experts, the chosen weights renormalised to 1; or raw sigmoid weights.
template <class Real, int K> std::unique_ptr<GateRouter<Real>> make_router(GateKind gate) {
  using namespace moebal;
  if (gate == GateKind::Softmax) {
    Router router{TopK<K>{}, Softmax{.normalise = Normalise::OverChosen, .single_choice = SingleChoice::Raw}};
    return std::make_unique<GateRouterOf<Real, decltype(router)>>(router);
  }
  Router router{TopK<K>{}, Sigmoid{.normalise = Normalise::None}};
  return std::make_unique<GateRouterOf<Real, decltype(router)>>(router);
}
/// The same for a K known at run time: 1, 2, 4 or 8.
template <class Real> std::unique_ptr<GateRouter<Real>> make_router(GateKind gate, Index top_k) {
  switch (top_k) {
  case 1:
    return make_router<Real, 1>(gate);
  case 2:
    return make_router<Real, 2>(gate);
  case 4:
    return make_router<Real, 4>(gate);
  case 8:
    return make_router<Real, 8>(gate);
  }
  throw std::invalid_argument("top_k: needed 1, 2, 4 or 8, had " + std::to_string(top_k));
}

} // namespace train
