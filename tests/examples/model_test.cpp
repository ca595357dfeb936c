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
  std::vector<double> slopes;
  moebal::ZeroExperts zeros{.ffn = 5};
  Batch batch{.domain = 0, .window = {.context = 7, .length = 5}, .windows = {}};

  explicit TinyModel(Index layers) {
    shape.layers = layers;
    weights.setZero(parameter_count(shape));
    Parameters<double> p(shape, weights.data());
    initialise(shape, 3, p);
    Random random{9};
    for (int i = 0; i < 64; ++i) text += char(random.below(256));
    for (Index i = 0; i < layers * shape.experts; ++i) slopes.push_back(0.01 * random.normal());
    for (int i : {0, 17, 40}) batch.windows.push_back(reinterpret_cast<std::uint8_t const*>(text.data()) + i);
  }

  /// The loss; with a gradient, that too.
  template <class Router>
  double loss(Router const& router, Activations<double>& a, Vector<double>* gradient = nullptr) {
    using Scored = moebal::stats::List<moebal::stats::ScoreSums>;
    Parameters<double> const p(shape, weights.data());
    embed(shape, p, batch, a);
    double loss = 0;
    for (Index l = 0; l < shape.layers; ++l) {
      LayerActivations<double>& layer = a.layers[std::size_t(l)];
      normalise(a.h, layer);
      layer.logits.noalias() = layer.n * p.routers[std::size_t(l)];
      auto [routing, load] = router.template route_with<Scored>(moebal::EigenExec{}, layer.logits);
      layer.routing = std::move(routing);
      layer.dispatch.group(std::as_const(layer.routing).expert_ids(), zeros);
      for (Index e = 0; e < shape.experts; ++e)
        loss += slopes[std::size_t(l * shape.experts + e)] * double(load.template get<moebal::stats::ScoreSums>()[e]) /
                moebal::stats::score_one<double>;
      mix(shape, p, l, layer, a.h);
    }
    loss += predict(p, a);
    if (!gradient) return loss;
    gradient->setZero(weights.size());
    Parameters<double> g(shape, gradient->data());
    predict_backward(p, 1.0, a, g);
    for (Index l = shape.layers - 1; l >= 0; --l) {
      LayerActivations<double>& layer = a.layers[std::size_t(l)];
      mix_backward(shape, p, l, a.d_h, layer, g);
      layer.d_logits.resize(layer.logits.rows(), layer.logits.cols());
      moebal::EigenExec const exec;
      moebal::Workspace workspace(
          router.template workspace_bytes<moebal::stats::None, double>(exec, batch.tokens(), shape.experts));
      router.backward_into(
          exec, layer.logits, moebal::RowOptions<>{}, std::as_const(layer.routing).expert_ids(),
          moebal::RouterGradient<double>{.d_weights = moebal::as_matrix(std::as_const(layer.d_weights)),
                                         .slopes = {slopes.data() + l * shape.experts, 1, shape.experts},
                                         .z_slopes = {}},
          moebal::as_matrix(layer.d_logits), moebal::WorkspaceView<>(workspace));
      g.routers[std::size_t(l)].noalias() += layer.n.transpose() * layer.d_logits;
      layer.d_n.noalias() += layer.d_logits * p.routers[std::size_t(l)].transpose();
      normalise_backward(layer, a.d_h);
    }
    embed_backward(shape, p, a, g);
    return loss;
  }

  std::vector<moebal::ExpertId> chosen(Activations<double> const& a) const {
    std::vector<moebal::ExpertId> all;
    for (auto const& layer : a.layers) {
      auto const ids = layer.routing.expert_ids();
      all.insert(all.end(), ids.data(), ids.data() + ids.rows() * ids.cols());
    }
    return all;
  }
};

template <class Gate> void check_gradient(Gate gate, moebal::ZeroExperts zeros = {.ffn = 5}, Index layers = 1) {
  TinyModel model(layers);
  model.zeros = zeros;
  moebal::Router const router{moebal::TopK<2>{}, gate};
  Activations<double> a;
  Vector<double> gradient;
  model.loss(router, a, &gradient);
  auto const chosen = model.chosen(a);

  // Every weight of the layers, and the embeddings of bytes that occur.
  Index checked = 0;
  for (Index i = 0; i < model.weights.size(); ++i) {
    double const before = model.weights[i], h = 1e-5;
    if (gradient[i] == 0 && i % 7 != 0) continue;
    model.weights[i] = before + h;
    double const up = model.loss(router, a);
    bool const same_up = model.chosen(a) == chosen;
    model.weights[i] = before - h;
    double const down = model.loss(router, a);
    bool const same_down = model.chosen(a) == chosen;
    model.weights[i] = before;
    if (!same_up || !same_down) continue; // a choice changed in between: the loss has a step there
    double const numeric = (up - down) / (2 * h);
    BOOST_TEST_INFO("weight " << i);
    BOOST_TEST(std::abs(numeric - gradient[i]) <= 1e-6 * (1 + std::abs(numeric)));
    ++checked;
  }
  BOOST_TEST(checked > 600 + 150 * (layers - 1));
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

BOOST_AUTO_TEST_CASE(gradient_of_two_layers) { check_gradient(moebal::Softmax{}, {.ffn = 5}, 2); }
BOOST_AUTO_TEST_CASE(gradient_of_three_layers_with_zero_computation_experts) {
  check_gradient(moebal::Sigmoid{}, {.ffn = 3, .zero = 1, .copy = 1}, 3);
}

BOOST_AUTO_TEST_CASE(more_layers_start_where_fewer_do) {
  TinyModel const one(1), two(2);
  Index const first = expert_count(one.shape), dense = shared_count(one.shape);
  for (Index i = 0; i < dense; ++i) BOOST_TEST(one.weights[i] == two.weights[i]);
  for (Index e = 0; e < one.shape.experts; ++e)
    for (Index i = 0; i < first; ++i)
      BOOST_TEST(one.weights[dense + e * first + i] == two.weights[shared_count(two.shape) + e * 2 * first + i]);
}

BOOST_AUTO_TEST_CASE(held_experts_are_drawn_as_if_all_were) {
  TinyModel const whole(2);
  Index const dense = shared_count(whole.shape), expert = expert_count(whole.shape);
  for (ExpertRange const held : {ExpertRange{.first = 0, .count = 2}, ExpertRange{.first = 2, .count = 3}}) {
    Vector<double> shared = Vector<double>::Zero(dense), experts = Vector<double>::Zero(held.count * expert);
    Parameters<double> p(whole.shape, shared.data(), experts.data(), held);
    initialise(whole.shape, 3, p);
    BOOST_TEST((shared == whole.weights.head(dense)));
    BOOST_TEST((experts == whole.weights.segment(dense + held.first * expert, held.count * expert)));
  }
}

BOOST_AUTO_TEST_SUITE_END()
