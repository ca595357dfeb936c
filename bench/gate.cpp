// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// gate_route: from x [T, D] and W [E, D] to ids and weights, against Eigen's product followed by our own route. W as it
// lies, and (gate_route:packed) packed once beforehand.

#include "entries.hpp"

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

template <class Recipe> void shape(Pairs const& pairs, std::string const& name, Index hidden) {
  for (Index const n : {Index(1), Index(16), Index(4096)})
    for (bool const packed : {false, true})
      pairs.add((packed ? "gate_route:packed/" : "gate_route/") + name + "/" + std::to_string(n) + "/eigen", double(n), [=]() -> Work {
        auto job = std::make_shared<GateJob<Recipe>>(n, hidden);
        job->compare();
        return {[=] { packed ? job->ours(job->packed) : job->ours(job->weight()); }, [=] { job->eigen(); }};
      });
}

Part const part([](Pairs const& pairs) {
  shape<recipes::Mixtral>(pairs, "mixtral", 4096);
  shape<recipes::OLMoE>(pairs, "olmoe", 2048);
  shape<recipes::Qwen3>(pairs, "qwen3", 2048);
  shape<recipes::GptOss>(pairs, "gptoss", 2880);
  shape<recipes::Switch>(pairs, "switch", 768);
  shape<recipes::DeepSeekV3>(pairs, "deepseek_v3", 7168);
  shape<recipes::KimiK2>(pairs, "kimi_k2", 7168);
});

} // namespace
} // namespace bench
