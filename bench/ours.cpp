// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ours.hpp"

#include <moebal/moebal.hpp>

#include <cstring>
#include <stdexcept>

namespace bench {

using namespace moebal;

Ours::Ours(Model const& m, Index n, Kind kind)
    : model(m), tokens(n), rows(std::max(n, least_rows)), logits(bench::logits(rows, m.experts, kind)), bias(m.bias()),
      routing(rows, m.top_k, m.experts), planned(n, m.top_k, m.experts, n * m.top_k),
      d_weights(std::size_t(n * m.top_k)), slopes(std::size_t(m.experts)), d_logits(logits.size()) {
  for (std::size_t i = 0; i < d_weights.size(); ++i) d_weights[i] = 0.1f * float(i % 11) - 0.5f;
  for (std::size_t e = 0; e < slopes.size(); ++e) slopes[e] = 0.01f * float(e % 5);
}

namespace {

template <class Router> class OursWith final : public Ours {
  using Without = stats::List<stats::Counts>;
  using Loss = SwitchLoss<>;
  using With = Loss::needs;
  using Layer = Pipeline<Router, Balancer<MicroBatch<>, Loss>>;
  static constexpr Index top_k = Router::top_k;

public:
  OursWith(Router router, Model const& m, Index n, Kind kind, int threads)
      : Ours(m, n, kind), pool_(threads > 1 ? std::make_unique<Eigen::ThreadPool>(threads - 1) : nullptr),
        exec_(pool_ ? EigenExec(pool_.get()) : EigenExec()), router_(router), load_(1, m.experts), load_without_(1, m.experts),
        layer_(router, {MicroBatch<>{}, loss_, {.experts = m.experts, .top_k = top_k}}),
        workspace_(router.template workspace_bytes<With>(exec_, n, m.experts)),
        plan_workspace_(plan_workspace_bytes<float>(exec_, PlanPolicy<>{}, n, top_k, m.experts)) {
    if (m.top_k != top_k) throw std::logic_error("bench: a model's K is not its router's");
  }

  void route(Index first) override {
    router_.template route_into<Without>(exec_, z(first), options(), out(first), load_without_.view(), WorkspaceView<>(workspace_));
  }
  void route_stats(Index first) override {
    router_.template route_into<With>(exec_, z(first), options(), out(first), load_.view(), WorkspaceView<>(workspace_));
  }
  void route_ranked(Index first) override {
    router_.template route_into<Without>(exec_, z(first), options(), ranked(first), load_without_.view(), WorkspaceView<>(workspace_));
  }
  void plan(Index first) override {
    plan_into(exec_, PlanPolicy<>{}, model.experts, ranked(first), planned.target(), WorkspaceView<>(plan_workspace_));
  }
  void plan_ids(Index first) override {
    group_into(exec_, model.experts, ids(first), planned.target(), WorkspaceView<>(plan_workspace_));
  }
  void backward(Index first) override {
    router_.backward_into(exec_, z(first), options(), ids(first),
                          RouterGradient<float>{.d_weights = wanted(), .slopes = {slopes.data(), 1, model.experts}}, d(first),
                          WorkspaceView<>(workspace_));
  }
  double step(Index first) override {
    layer_.begin_step(1);
    layer_.forward_into(exec_, 0, z(first), options(), out(first));
    double const loss = layer_.backward_into(exec_, 0, z(first), options(), ids(first), wanted(), d(first));
    layer_.end_step();
    return loss;
  }
  // The same work without Router, Balancer, Scope, Communicator and Pipeline: the two kernels that they end in, called directly
  // on the rows, and a loop for the loss between them.
  double step_by_hand(Index first) override {
    Index const experts = model.experts;
    std::int64_t* const sums = by_hand_.data();
    std::fill(by_hand_.begin(), by_hand_.end(), 0);
    detail::RowScratch<float> const scratch{experts, top_k, router_.selection().scratch_words(experts), EigenExec::tile_rows};
    using Selection = std::remove_cvref_t<decltype(router_.selection())>;
    using Gate = gate::rows_of_t<std::remove_cvref_t<decltype(router_.gate())>>;
    WorkspaceView<> memory(workspace_);
    std::byte* const bytes = memory.take<std::byte>(Index(scratch.bytes()));
    detail::RouteRow<Selection, Gate, With, float, HostMemory> const forward{
        router_.selection(), gate::rows_of(router_.gate()), scratch, z(first), options(), out(first), sums, 0, 1};
    detail::host_rows(forward, bytes, 0, 0, tokens);

    std::int64_t const* const chosen = sums + With::offset<Loss::counts>(experts);
    std::int64_t const* const scores = sums + With::offset<stats::ScoreSums>(experts);
    double const factor = loss_.coefficient * double(experts) / (double(top_k) * double(tokens) * double(tokens));
    double loss = 0;
    for (Index e = 0; e < experts; ++e) {
      double const slope = factor * double(chosen[e]);
      hand_slopes_[std::size_t(e)] = float(slope);
      loss += slope * double(scores[e]) / stats::score_one<float>;
    }
    detail::BackwardRow<int(top_k), Gate, float, HostMemory> const backward{
        gate::rows_of(router_.gate()), scratch, z(first), options(), ids(first),
        RouterGradient<float>{.d_weights = wanted(), .slopes = {hand_slopes_.data(), 1, experts}}, d(first), 1};
    detail::host_rows(backward, bytes, 0, 0, tokens);
    return loss;
  }
  VectorView<std::int64_t const> counts() const override { return load_without_.template get<stats::Counts>(); }
  double score_sum(Index e) const override {
    return double(load_.template get<stats::ScoreSums>()[e]) / stats::score_one<float>;
  }

private:
  MatrixView<float const> z(Index first) const { return {logits.data() + first * model.experts, tokens, model.experts}; }
  MatrixView<float> d(Index first) { return {d_logits.data() + first * model.experts, tokens, model.experts}; }
  MatrixView<ExpertId const> ids(Index first) const { return {routing.expert_ids().row(first), tokens, top_k}; }
  MatrixView<float const> wanted() const { return {d_weights.data(), tokens, top_k}; }
  RoutingView<float> out(Index first) {
    return {{routing.expert_ids().row(first), tokens, top_k}, {routing.weights().row(first), tokens, top_k}};
  }
  RoutingView<float> ranked(Index first) {
    RoutingView<float> view = out(first);
    view.ranks = {routing.view().ranks.row(first), tokens, top_k};
    view.loads = {loads_.data() + first / tokens * model.experts, model.experts};
    return view;
  }
  RowOptions<> options() const { return {.bias = bias}; }

  std::unique_ptr<Eigen::ThreadPool> pool_;
  EigenExec exec_;
  Router router_;
  Loss loss_;
  Load<With> load_;
  Load<Without> load_without_;
  Layer layer_;
  Workspace workspace_, plan_workspace_;
  std::vector<Index> loads_ = std::vector<Index>(std::size_t(rows / tokens * model.experts)); // [batches, E]
  std::vector<std::int64_t> by_hand_ = std::vector<std::int64_t>(std::size_t(With::slots(model.experts)));
  std::vector<float> hand_slopes_ = std::vector<float>(std::size_t(model.experts));
};

template <class Recipe> bool named(Model const& m, char const* name) {
  return std::strcmp(m.name, name) == 0 && Recipe::experts == m.experts;
}

} // namespace

std::shared_ptr<Ours> Ours::make(Model const& m, Index tokens, Kind kind, int threads) {
  std::shared_ptr<Ours> result;
  auto const with = [&](auto router) { result = std::make_shared<OursWith<decltype(router)>>(router, m, tokens, kind, threads); };
  auto const try_recipe = [&]<class Recipe>(Recipe, char const* name) {
    if (named<Recipe>(m, name)) with(Recipe::router());
  };
  try_recipe(recipes::Mixtral{}, "mixtral");
  try_recipe(recipes::OLMoE{}, "olmoe");
  try_recipe(recipes::Qwen3{}, "qwen3");
  try_recipe(recipes::GptOss{}, "gptoss");
  try_recipe(recipes::Switch{}, "switch");
  try_recipe(recipes::DeepSeekV3{}, "deepseek_v3");
  try_recipe(recipes::KimiK2{}, "kimi_k2");
  if (m.name[0] == 'e') with(recipes::Qwen3::router()); // any number of experts
  if (!result) throw std::logic_error(std::string("bench: no router is known for ") + m.name);
  return result;
}

} // namespace bench
