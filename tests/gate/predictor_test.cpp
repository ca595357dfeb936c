// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/maps.hpp"

#include <moebal/balance/choice_prediction.hpp>
#include <moebal/gate/predictor.hpp>
#include <moebal/moebal.hpp>

using namespace moebal;
using namespace maps;

namespace {

template <class Real> struct Learned {
  Matrix<Real> w1, w2;
  std::vector<Real> b1, b2;
  Learned(Index D, Index H, Index E)
      : w1(random_matrix<Real>(H, D, 1)), w2(random_matrix<Real>(E, H, 2)), b1(random_matrix<Real>(1, H, 3).values),
        b2(random_matrix<Real>(1, E, 4).values) {}
  PredictorParameters<Real> view() const { return {w1.view(), b1, w2.view(), b2}; }
  PredictorGradient<Real> gradient() { return {w1.view(), b1, w2.view(), b2}; }
  template <class F> void each(Learned const& other, F f) {
    for (std::size_t i = 0; i < w1.values.size(); ++i) f(w1.values[i], other.w1.values[i]);
    for (std::size_t i = 0; i < w2.values.size(); ++i) f(w2.values[i], other.w2.values[i]);
    for (std::size_t i = 0; i < b1.size(); ++i) f(b1[i], other.b1[i]);
    for (std::size_t i = 0; i < b2.size(); ++i) f(b2[i], other.b2[i]);
  }
};
template <class Real> struct Predicted {
  Matrix<Real> hidden, p;
};
template <class Real> Predicted<Real> predict(Matrix<Real> const& x, Learned<Real> const& net, EigenExec exec = {}) {
  Predicted<Real> out{{x.rows, net.w1.rows}, {x.rows, net.w2.rows}};
  Workspace workspace(Predictor::workspace_bytes<Real>(x.rows, net.w1.rows));
  logits_into(exec, Predictor{}, x.view(), net.view(), out.hidden.view(), out.p.view(), WorkspaceView<>(workspace));
  return out;
}
template <class Real>
Learned<Real> backward(Matrix<Real> const& x, Learned<Real> const& net, Matrix<Real> const& d_p, EigenExec exec = {}) {
  auto const seen = predict(x, net);
  Learned<Real> d = net;
  Workspace workspace(Predictor::workspace_bytes<Real>(x.rows, net.w1.rows));
  backward_into(exec, Predictor{}, x.view(), net.view(), seen.hidden.view(), d_p.view(), d.gradient(),
                WorkspaceView<>(workspace));
  return d;
}

} // namespace

BOOST_AUTO_TEST_SUITE(gate_predictor)

BOOST_AUTO_TEST_CASE(by_hand) {
  Matrix<double> x(1, 1);
  x.values = {2};
  Learned<double> net(1, 2, 2);
  net.w1.values = {1, -1};
  net.b1 = {-2 + std::log(3.0), 2};
  net.w2.values = {4, 100, 0, 1};
  net.b2 = {1, -3};
  auto const out = predict(x, net); // hidden (ln 3, 0), silu (3/4 ln 3, 0)
  using boost::test_tools::tolerance;
  BOOST_TEST(out.p(0, 0) == 3 * std::log(3.0) + 1, tolerance(1e-13));
  BOOST_TEST(out.p(0, 1) == -3.0, tolerance(1e-13));
}

BOOST_AUTO_TEST_CASE(gradients) {
  auto const x = random_matrix<double>(5, 3, 7), pull = random_matrix<double>(5, 6, 8);
  Learned<double> net(3, 4, 6);
  auto const d = backward(x, net, pull);
  auto const loss = [&] { return inner(predict(x, net).p, pull); };
  BOOST_TEST(gradient_error(net.w1.values, d.w1.values, loss) < 1e-7);
  BOOST_TEST(gradient_error(net.b1, d.b1, loss) < 1e-7);
  BOOST_TEST(gradient_error(net.w2.values, d.w2.values, loss) < 1e-7);
  BOOST_TEST(gradient_error(net.b2, d.b2, loss) < 1e-7);
}

// DiffMoE from end to end: what the pool of the batch chooses, learned by the predictor, and then done without the
// pool.
BOOST_AUTO_TEST_CASE(it_learns_what_the_pool_chooses) {
  constexpr Index T = 512, D = 4, E = 4, H = 16;
  auto const w = random_matrix<float>(E, D, 9);
  Learned<float> net(D, H, E);
  std::vector<float> thresholds(E);
  EmaThreshold const ema{};
  Workspace columns(EmaThreshold::workspace_bytes<float>(E));
  auto const logits_of = [&](Matrix<float> const& x) {
    Matrix<float> z(x.rows, E);
    logits_into(EigenExec{}, Linear{}, x.view(), w.view(), {}, z.view());
    return z;
  };
  double first = 0, last = 0;
  for (int step = 0; step < 400; ++step) {
    auto const x = random_matrix<float>(T, D, std::uint64_t(100 + step % 8));
    auto const ids = Router{BatchPool<E>{}, Softmax{}}.route(EigenExec{}, logits_of(x).view());
    auto const seen = predict(x, net);
    std::vector<float> losses(T);
    choice_predictions_into(EigenExec{}, seen.p.view(), ids.expert_ids(), {}, VectorView<float>(losses));
    last = 0;
    for (float const l : losses) last += double(l) / double(T * E);
    if (step == 0) first = last;
    Matrix<float> d_p(T, E), chances(T, E);
    choice_predictions_backward_into(EigenExec{}, seen.p.view(), ids.expert_ids(), {}, 1.0f / float(T * E), d_p.view());
    net.each(backward(x, net, d_p), [](float& value, float d) { value -= 1.5f * d; });
    for (std::size_t i = 0; i < seen.p.values.size(); ++i) chances.values[i] = math::sigmoid(seen.p.values[i]);
    ema.update(EigenExec{}, std::as_const(chances).view(), VectorView<std::uint8_t const>{},
               VectorView<float>(thresholds), WorkspaceView<>(columns));
  }
  BOOST_TEST(last < 0.4 * first);

  auto const x = random_matrix<float>(T, D, 5); // tokens that it has not seen
  auto const z = logits_of(x);
  auto const pool_choice = Router{BatchPool<E>{}, Softmax{}}.route(EigenExec{}, z.view());
  std::vector<float> bias;
  for (float const t : thresholds) bias.push_back(-t);
  auto alone = Router{Threshold<E>{}, Sigmoid{.normalise = Normalise::None}}.route(
      EigenExec{}, predict(x, net).p.view(), {.bias = bias});
  Router const given{select::Given<E>{}, Softmax{}};
  Workspace workspace(given.workspace_bytes<stats::None, float>(EigenExec{}, T, E));
  given.route_into<stats::None>(EigenExec{}, z.view(), RowOptions<>{}, alone.view(), {}, WorkspaceView<>(workspace));
  Index agree = 0, chosen = 0;
  for (Index t = 0; t < T; ++t)
    for (Index k = 0; k < E; ++k) {
      ExpertId const e = alone.expert_ids()(t, k);
      chosen += e != no_expert ? 1 : 0;
      for (Index j = 0; j < E && e != no_expert; ++j)
        if (pool_choice.expert_ids()(t, j) == e) {
          ++agree;
          BOOST_TEST(alone.weights()(t, k) == pool_choice.weights()(t, j)); // the gate's, not the predictor's
        }
    }
  BOOST_TEST(std::abs(double(chosen) - double(T)) < 0.15 * double(T)); // as many as the pool: one expert a token
  BOOST_TEST(double(agree) > 0.8 * double(T));
}

BOOST_AUTO_TEST_CASE(any_shape_and_any_number_of_threads) {
  EigenExec const three = EigenExec{&pool()}.on_every_thread();
  for (auto const [T, E] : shapes) {
    auto const x = random_matrix<float>(T, 5, 1), pull = random_matrix<float>(T, E, 2);
    Learned<float> const net(5, 7, E);
    BOOST_TEST((predict(x, net).p == predict(x, net, three).p));
    auto const one = backward(x, net, pull), many = backward(x, net, pull, three);
    BOOST_TEST((one.w1 == many.w1 && one.w2 == many.w2 && one.b1 == many.b1 && one.b2 == many.b2));
  }
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  Matrix<float> const x(4, 3);
  Matrix<float> hidden(4, 5), p(4, 2), wide(4, 6);
  Learned<float> const net(3, 5, 2);
  Workspace enough(4096), small(8);
  auto const run = [&](MatrixView<float> h, MatrixView<float> out, Workspace& memory) {
    logits_into(EigenExec{}, Predictor{}, x.view(), net.view(), h, out, WorkspaceView<>(memory));
  };
  run(hidden.view(), p.view(), enough);
  BOOST_CHECK_THROW(run(wide.view(), p.view(), enough), ShapeError);
  BOOST_CHECK_THROW(run(hidden.view(), wide.view(), enough), ShapeError);
  BOOST_CHECK_THROW(run(hidden.view(), p.view(), small), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
