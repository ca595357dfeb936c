// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Routing, planning and backward against what people write by hand, and against floors. bench/run.sh builds and runs it.
//   bench_routing [--quick] [--json FILE] [options of Google Benchmark]

#include "baselines.hpp"
#include "data.hpp"
#include "pair.hpp"
#include "table.hpp"

#include <cmath>
#include <cstring>
#include <iostream>
#include <memory>
#include <stdexcept>

using namespace bench;
using namespace moebal;

namespace {

/// One model's shape with its logits and all memory that the jobs need.
template <class Recipe> struct Job {
  static constexpr Index experts = Recipe::experts, top_k = Recipe::top_k;
  using With = stats::List<stats::Counts, stats::ScoreSums>;
  using Without = stats::List<stats::Counts>;

  Job(Model model, Index n, Kind kind)
      : tokens(n), logits(bench::logits(n, experts, kind)), routing(n, top_k), load(1, experts), counts(1, experts),
        workspace(router.template workspace_bytes<With>(exec, n, experts)),
        plan(n, top_k, experts, n * top_k),
        plan_workspace(plan_workspace_bytes<float>(exec, PlanPolicy<>{}, n, top_k, experts)), d_weights(std::size_t(n * top_k), 0.5f),
        slopes(std::size_t(experts), 0.01f), d_logits(std::size_t(n * experts)) {
    if (Recipe::bias == SelectionBias::PerExpert)
      for (Index e = 0; e < experts; ++e) bias.push_back(0.01f * float(e % 7));
    baseline = std::make_unique<Baseline>(model, experts, int(top_k), bias.empty() ? nullptr : bias.data());
  }

  MatrixView<float const> z() const { return {logits.data(), tokens, experts}; }
  RowOptions<> options() const { return {.bias = bias}; }
  void route() { router.template route_into<Without>(exec, z(), options(), routing.view(), counts.view(), WorkspaceView<>(workspace)); }
  void route_stats() { router.template route_into<With>(exec, z(), options(), routing.view(), load.view(), WorkspaceView<>(workspace)); }
  void make_plan() { group_into(exec, experts, std::as_const(routing).expert_ids(), plan.target(), WorkspaceView<>(plan_workspace)); }
  void backward() {
    router.backward_into(exec, z(), options(), std::as_const(routing).expert_ids(),
                         RouterGradient<float>{.d_weights = {d_weights.data(), tokens, top_k}, .slopes = {slopes.data(), 1, experts}},
                         MatrixView<float>(d_logits.data(), tokens, experts), WorkspaceView<>(workspace));
  }

  /// Both must have chosen alike: the same ids, or others whose keys differ by rounding.
  void compare() {
    route();
    baseline->template route<Baseline::Way::scan>(logits.data(), tokens, theirs);
    Index different = 0;
    for (Index t = 0; t < tokens; ++t)
      for (Index k = 0; k < top_k; ++k) {
        ExpertId const a = routing.expert_ids()(t, k), b = theirs.ids[std::size_t(t * top_k + k)];
        bool const close = std::abs(z()(t, a) - z()(t, b)) < 1e-5f || !bias.empty();
        if (a != b && !close) throw std::runtime_error("bench: the baseline chose another expert");
        different += a != b;
        if (a == b && std::abs(routing.weights()(t, k) - theirs.weights[std::size_t(t * top_k + k)]) > 1e-4f)
          throw std::runtime_error("bench: the baseline has another weight");
      }
    if (double(different) > 1e-3 * double(tokens * top_k)) throw std::runtime_error("bench: the baseline chose other experts too often");
  }

  EigenExec exec;
  decltype(Recipe::router()) router = Recipe::router();
  Index tokens;
  std::vector<float> logits, bias;
  Routing<float> routing;
  Load<With> load;
  Load<Without> counts;
  Workspace workspace;
  Plan plan;
  Workspace plan_workspace;
  std::vector<float> d_weights, slopes, d_logits;
  std::unique_ptr<Baseline> baseline;
  Outcome theirs;
  std::vector<Index> offsets, order, slot_of;
};

template <class Recipe> void shape(std::string const& name, Model model, std::vector<Index> const& sizes, bool quick) {
  for (Index const n : sizes) {
    auto job = std::make_shared<Job<Recipe>>(model, n, Kind::iid);
    job->compare();
    auto const entry = [&](std::string const& op, std::string const& peer) {
      return op + "/" + name + "/" + std::to_string(n) + "/" + peer;
    };
    double const tokens = double(n);
    auto const route = [job] { job->route(); };
    pair(entry("route", "scan"), tokens, route,
         [job] { job->baseline->template route<Baseline::Way::scan>(job->logits.data(), job->tokens, job->theirs); });
    pair(entry("route", "read_floor"), tokens, route,
         [job] { benchmark::DoNotOptimize(read_all(job->logits.data(), job->tokens * job->experts)); });
    if (n < 4096) continue;
    pair(entry("route", "naive"), tokens, route,
         [job] { job->baseline->template route<Baseline::Way::naive>(job->logits.data(), job->tokens, job->theirs); });
    pair(entry("route_stats", "scan"), tokens, [job] { job->route_stats(); },
         [job] { job->baseline->template route<Baseline::Way::scan>(job->logits.data(), job->tokens, job->theirs); });
    pair(entry("plan", "counting_sort"), tokens, [job] { job->make_plan(); },
         [job] {
           counting_sort(job->routing.expert_ids().data(), job->tokens * job->top_k, job->experts, job->offsets, job->order,
                         job->slot_of);
         });
    pair(entry("backward", "copy_floor"), tokens, [job] { job->backward(); },
         [job] { std::memcpy(job->d_logits.data(), job->logits.data(), job->logits.size() * sizeof(float)); });
    if (quick) continue;
    for (auto const& [kind, kind_name] : kinds) {
      if (kind == Kind::iid) continue;
      auto hard = std::make_shared<Job<Recipe>>(model, n, kind);
      pair(entry(std::string("route:") + kind_name, "iid"), tokens, [hard] { hard->route(); }, route);
    }
  }
}

} // namespace

int main(int argc, char** argv) {
  Options const options = read_options(argc, argv);
  std::vector<Index> sizes{4096};
  if (!options.quick) sizes = {1, 16, 256, 4096, 16384};
  using S = Model::Score;
  shape<recipes::Mixtral>("mixtral", {S::softmax, true, 1}, sizes, options.quick);
  shape<recipes::OLMoE>("olmoe", {S::softmax, false, 1}, sizes, options.quick);
  shape<recipes::Qwen3>("qwen3", {S::softmax, true, 1}, sizes, options.quick);
  shape<recipes::GptOss>("gptoss", {S::softmax_over_chosen, true, 1}, sizes, options.quick);
  shape<recipes::Switch>("switch", {S::softmax, false, 1}, sizes, options.quick);
  shape<recipes::DeepSeekV3>("deepseek_v3", {S::sigmoid, true, 2.5f, 8, 4}, sizes, options.quick);
  shape<recipes::KimiK2>("kimi_k2", {S::sigmoid, true, 2.827f}, sizes, options.quick);
  return run(options);
}
