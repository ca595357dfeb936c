// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// gate_route: from x [T, D] and W [E, D] to ids and weights, against Eigen's product followed by our own route. W as it
// lies, and (gate_route:packed) packed once beforehand.

#include "entries.hpp"
#include "gate.hpp"

#include <moebal/moebal.hpp>

namespace bench {
namespace {

using namespace moebal;
using Rows = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

template <class Recipe> struct GateJob {
  static constexpr Index experts = Recipe::experts, top_k = Recipe::top_k;

  GateJob(Index tokens, Index hidden)
      : T(tokens), D(hidden), x(logits(tokens, hidden, Kind::iid, 1)), w(logits(experts, hidden, Kind::iid, 2)),
        z(std::size_t(tokens * experts)), routing(tokens, top_k),
        workspace(std::max(router.tokens_workspace_bytes(exec, tokens, experts), router.workspace_bytes(exec, tokens, experts))) {
    for (float& weight : w) weight /= std::sqrt(float(hidden));
    if (Recipe::bias == SelectionBias::PerExpert)
      for (Index e = 0; e < experts; ++e) bias.push_back(0.01f * float(e % 7));
    packed.pack(weight());
  }
  MatrixView<float const> weight() const { return {w.data(), experts, D}; }
  template <class W> void ours(W const& gate) {
    router.route_tokens_into(exec, MatrixView<float const>(x.data(), T, D), gate, RowOptions<>{.bias = bias}, routing.view(),
                             LoadView<stats::None>{}, WorkspaceView<>(workspace));
  }
  void eigen() {
    Rows(z.data(), T, experts).noalias() = Rows(x.data(), T, D) * Rows(w.data(), experts, D).transpose();
    router.route_into(exec, MatrixView<float const>(z.data(), T, experts), RowOptions<>{.bias = bias}, routing.view(),
                      LoadView<stats::None>{}, WorkspaceView<>(workspace));
  }
  /// Sums in another order move few choices.
  void compare() {
    eigen();
    Routing<float> const theirs = routing;
    ours(packed);
    Index moved = 0;
    for (Index t = 0; t < T; ++t)
      for (Index k = 0; k < top_k; ++k) moved += routing.expert_ids()(t, k) != theirs.expert_ids()(t, k);
    require(double(moved) <= 1 + 1e-2 * double(T * top_k), "eigen", "ids");
  }

  EigenExec exec;
  decltype(Recipe::router()) router = Recipe::router();
  Index T, D;
  Array<float> x, w, z;
  std::vector<float> bias;
  PackedGate packed;
  Routing<float> routing;
  Workspace workspace;
};

template <class Recipe> std::shared_ptr<GateRoute> made(Index tokens, Index hidden) {
  auto job = std::make_shared<GateJob<Recipe>>(tokens, hidden);
  job->compare();
  return std::make_shared<GateRoute>(GateRoute{tokens, hidden, job->experts, job->x.data(), job->w.data(),
                                               [job] { job->ours(job->weight()); }, [job] { job->ours(job->packed); },
                                               [job] { job->eigen(); }});
}

Part const part([](Pairs const& pairs) {
  for (std::string const shape : gate_shapes)
    for (Index const n : {Index(1), Index(16), Index(4096)})
      for (bool const packed : {false, true})
        pairs.add((packed ? "gate_route:packed/" : "gate_route/") + shape + "/" + std::to_string(n) + "/eigen", double(n), [=]() -> Work {
          auto const job = gate_route(shape, n);
          return {[=] { packed ? job->ours_packed() : job->ours(); }, [=] { job->eigen(); }};
        });
});

} // namespace

std::shared_ptr<GateRoute> gate_route(std::string const& shape, Index tokens) {
  if (shape == "mixtral") return made<recipes::Mixtral>(tokens, 4096);
  if (shape == "olmoe") return made<recipes::OLMoE>(tokens, 2048);
  if (shape == "qwen3") return made<recipes::Qwen3>(tokens, 2048);
  if (shape == "gptoss") return made<recipes::GptOss>(tokens, 2880);
  if (shape == "switch") return made<recipes::Switch>(tokens, 768);
  if (shape == "deepseek_v3") return made<recipes::DeepSeekV3>(tokens, 7168);
  if (shape == "kimi_k2") return made<recipes::KimiK2>(tokens, 7168);
  throw std::invalid_argument("bench: no gate of the shape " + shape);
}

} // namespace bench
