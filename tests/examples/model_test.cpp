// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The hand-written backward pass of the example's model, with moebal's router and dispatch inside, against central
// differences in double. The score slopes stand for a balancing loss whose counts are held constant.

#include "support/test.hpp"

#include "../../examples/train_moe_lm/model.hpp"

#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/router.hpp>
#include <moebal/select/top_k.hpp>
#include <moebal/stats/score_sums.hpp>

#include <array>

namespace {

using namespace train;

struct TinyModel {
  ModelShape shape{
      .experts = 5, .top_k = 2, .width = 6, .expert_width = 3, .recent = 3, .recent_width = 2, .bag_width = 4};
  std::string text;
  Vector<double> weights;
  std::vector<double> slopes = std::vector<double>(5);
  moebal::ZeroExperts zeros{.ffn = 5};
  Batch batch{.domain = 0, .window = {.context = 7, .length = 5}, .windows = {}};

  TinyModel() {
    weights.resize(parameter_count(shape));
    initialise(shape, 3, weights.data());
    Random random{9};
    for (int i = 0; i < 64; ++i) text += char(random.below(256));
    for (double& s : slopes) s = 0.01 * random.normal();
    for (int i : {0, 17, 40}) batch.windows.push_back(reinterpret_cast<std::uint8_t const*>(text.data()) + i);
  }

  /// The loss; with a gradient, that too.
  template <class Router>
  double loss(Router const& router, Activations<double>& a, Vector<double>* gradient = nullptr) {
    using Scored = moebal::stats::List<moebal::stats::ScoreSums>;
    Parameters<double> const p(shape, weights.data());
    embed(shape, p, batch, a);
    a.logits.noalias() = a.n * p.router;
    auto [routing, load] = router.template route_with<Scored>(moebal::EigenExec{}, a.logits);
    a.routing = std::move(routing);
    a.dispatch.group(std::as_const(a.routing).expert_ids(), zeros);
    double loss = predict(shape, p, a);
    for (Index e = 0; e < shape.experts; ++e)
      loss += slopes[std::size_t(e)] * double(load.template get<moebal::stats::ScoreSums>()[e]) /
              moebal::stats::score_one<double>;
    if (gradient) {
      gradient->setZero(weights.size());
      Parameters<double> g(shape, gradient->data());
      predict_backward(shape, p, 1.0, a, g);
      a.d_logits.resize(a.logits.rows(), a.logits.cols());
      moebal::EigenExec const exec;
      moebal::Workspace workspace(
          router.template workspace_bytes<moebal::stats::None, double>(exec, batch.tokens(), shape.experts));
      router.backward_into(exec, a.logits, moebal::RowOptions<>{}, std::as_const(a.routing).expert_ids(),
                           moebal::RouterGradient<double>{.d_weights = moebal::as_matrix(std::as_const(a.d_weights)),
                                                          .slopes = {slopes.data(), 1, shape.experts},
                                                          .z_slopes = {}},
                           moebal::as_matrix(a.d_logits), moebal::WorkspaceView<>(workspace));
      g.router.noalias() += a.n.transpose() * a.d_logits;
      a.d_n.noalias() += a.d_logits * p.router.transpose();
      embed_backward(shape, p, a, g);
    }
    return loss;
  }
};

template <class Gate> void check_gradient(Gate gate, moebal::ZeroExperts zeros = {.ffn = 5}) {
  TinyModel model;
  model.zeros = zeros;
  moebal::Router const router{moebal::TopK<2>{}, gate};
  Activations<double> a;
  Vector<double> gradient;
  model.loss(router, a, &gradient);
  std::vector<moebal::ExpertId> const chosen(a.routing.expert_ids().data(), a.routing.expert_ids().data() + 30);

  // Every weight of the layers, and the embeddings of bytes that occur.
  Index checked = 0;
  for (Index i = 0; i < model.weights.size(); ++i) {
    double const before = model.weights[i], h = 1e-5;
    if (gradient[i] == 0 && i % 7 != 0) continue;
    model.weights[i] = before + h;
    double const up = model.loss(router, a);
    bool const same_up = std::equal(chosen.begin(), chosen.end(), a.routing.expert_ids().data());
    model.weights[i] = before - h;
    double const down = model.loss(router, a);
    bool const same_down = std::equal(chosen.begin(), chosen.end(), a.routing.expert_ids().data());
    model.weights[i] = before;
    if (!same_up || !same_down) continue; // a choice changed in between: the loss has a step there
    double const numeric = (up - down) / (2 * h);
    BOOST_TEST_INFO("weight " << i);
    BOOST_TEST(std::abs(numeric - gradient[i]) <= 1e-6 * (1 + std::abs(numeric)));
    ++checked;
  }
  BOOST_TEST(checked > 600);
}

} // namespace

BOOST_AUTO_TEST_SUITE(examples_model)

using moebal::Normalise;

BOOST_AUTO_TEST_CASE(gradient_with_the_softmax_gate) {
  check_gradient(moebal::Softmax{.normalise = Normalise::OverChosen});
}
BOOST_AUTO_TEST_CASE(gradient_with_the_sigmoid_gate) { check_gradient(moebal::Sigmoid{.normalise = Normalise::None}); }
BOOST_AUTO_TEST_CASE(gradient_with_zero_computation_experts) {
  check_gradient(moebal::Softmax{}, {.ffn = 2, .zero = 1, .copy = 2});
}

BOOST_AUTO_TEST_SUITE_END()
