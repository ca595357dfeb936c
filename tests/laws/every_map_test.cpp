// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every map that makes logits before a router keeps the laws of maps. Parameters are fixed numbers of their shapes.
#include "support/test.hpp"

#include "laws/lawful.hpp"

#include <moebal/gate/cosine.hpp>
#include <moebal/gate/cosine_grap.hpp>
#include <moebal/gate/jitter.hpp>
#include <moebal/gate/linear.hpp>
#include <moebal/gate/noisy.hpp>
#include <moebal/gate/predictor.hpp>
#include <moebal/gate/random_logits.hpp>
#include <moebal/laws/map.hpp>

using namespace moebal;
using laws::Matrix;

namespace {

template <class Real> Matrix<Real> parameters(Index rows, Index cols) {
  return laws::matrix_of<Real>(laws::Numbers::Bell, rows, cols, 11);
}

struct LinearMap {
  static constexpr bool causal = Linear::causal;
  Index width(Index) const { return 37; }
  template <class Exec, class Real> void forward(Exec const& exec, Matrix<Real> const& x, Matrix<Real>& logits) const {
    auto const w = parameters<Real>(logits.cols, x.cols);
    auto const b = parameters<Real>(1, logits.cols);
    logits_into(exec, Linear{}, x.view(), w.view(), VectorView<Real const>(b.values), logits.view());
  }
  template <class Exec, class Real>
  void backward(Exec const& exec, Matrix<Real> const& x, Matrix<Real> const&, Matrix<Real> const& d,
                Matrix<Real>& d_x) const {
    auto const w = parameters<Real>(d.cols, x.cols);
    backward_into(exec, Linear{}, x.view(), w.view(), d.view(), LinearGradient<Real>{.d_x = d_x.view()});
  }
};
struct CosineMap {
  static constexpr bool causal = Cosine::causal;
  Cosine policy{};
  Index width(Index) const { return 16; }
  template <class Exec, class Real> void forward(Exec const& exec, Matrix<Real> const& x, Matrix<Real>& logits) const {
    auto const v = parameters<Real>(logits.cols, x.cols);
    Workspace memory(Cosine::workspace_bytes<Real>(exec, x.rows, logits.cols));
    logits_into(exec, policy, x.view(), v.view(), logits.view(), WorkspaceView<>(memory));
  }
  template <class Exec, class Real>
  void backward(Exec const& exec, Matrix<Real> const& x, Matrix<Real> const& z, Matrix<Real> const& d,
                Matrix<Real>& d_x) const {
    auto const v = parameters<Real>(d.cols, x.cols);
    Workspace memory(Cosine::workspace_bytes<Real>(exec, x.rows, d.cols));
    backward_into(exec, policy, x.view(), v.view(), z.view(), d.view(), CosineGradient<Real>{.d_h = d_x.view()},
                  WorkspaceView<>(memory));
  }
};
struct GrapMap {
  static constexpr bool causal = GrAP::causal;
  GrAP policy{};
  Index width(Index experts) const { return 5 * experts; }
  template <class Exec, class Real> void forward(Exec const& exec, Matrix<Real> const& x, Matrix<Real>& logits) const {
    auto const b = parameters<Real>(1, logits.cols);
    logits_into(exec, policy, x.view(), VectorView<Real const>(b.values), logits.view());
  }
  template <class Exec, class Real>
  void backward(Exec const& exec, Matrix<Real> const&, Matrix<Real> const& z, Matrix<Real> const& d,
                Matrix<Real>& d_x) const {
    backward_into(exec, policy, z.view(), d.view(), d_x.view());
  }
};
struct CosineGrapMap {
  static constexpr bool causal = CosineGrAP::causal;
  Index width(Index experts) const { return 5 * experts; }
  template <class Exec, class Real> void forward(Exec const& exec, Matrix<Real> const& x, Matrix<Real>& logits) const {
    logits_into(exec, CosineGrAP{}, x.view(), logits.view());
  }
  template <class Exec, class Real>
  void backward(Exec const& exec, Matrix<Real> const& x, Matrix<Real> const& z, Matrix<Real> const& d,
                Matrix<Real>& d_x) const {
    backward_into(exec, CosineGrAP{}, x.view(), z.view(), d.view(), d_x.view());
  }
};
struct JitterMap { // the logits being the jittered x
  static constexpr bool causal = InputJitter::causal;
  InputJitter policy{.epsilon = 0.1f, .seed = 4};
  Index width(Index experts) const { return experts; }
  template <class Exec, class Real> void forward(Exec const& exec, Matrix<Real> const& x, Matrix<Real>& logits) const {
    jitter_into(exec, policy, x.view(), logits.view());
  }
  template <class Exec, class Real>
  void backward(Exec const& exec, Matrix<Real> const&, Matrix<Real> const&, Matrix<Real> const& d,
                Matrix<Real>& d_x) const {
    backward_into(exec, policy, d.view(), d_x.view());
  }
  JitterMap from(Index first) const {
    JitterMap rest = *this;
    rest.policy.first = first;
    return rest;
  }
};
template <class Noise> struct NoiseMap { // x [T, E] being the clean logits, and the noise logits too
  static constexpr bool causal = Noise::causal;
  Noise policy{};
  Index width(Index experts) const { return experts; }
  template <class Exec, class Real> void forward(Exec const& exec, Matrix<Real> const& x, Matrix<Real>& logits) const {
    logits_into(exec, policy, x.view(), x.view(), logits.view());
  }
  template <class Exec, class Real>
  void backward(Exec const& exec, Matrix<Real> const& x, Matrix<Real> const&, Matrix<Real> const& d,
                Matrix<Real>& d_x) const {
    backward_into(exec, policy, x.view(), d.view(), d_x.view(), d_x.view()); // both are added
  }
  NoiseMap from(Index first) const {
    NoiseMap rest = *this;
    rest.policy.first = first;
    return rest;
  }
};
struct SiluMap {
  static constexpr bool causal = Silu::causal;
  Index width(Index experts) const { return experts; }
  template <class Exec, class Real> void forward(Exec const& exec, Matrix<Real> const& x, Matrix<Real>& logits) const {
    logits_into(exec, Silu{}, x.view(), logits.view());
  }
  template <class Exec, class Real>
  void backward(Exec const& exec, Matrix<Real> const& x, Matrix<Real> const&, Matrix<Real> const& d,
                Matrix<Real>& d_x) const {
    backward_into(exec, Silu{}, x.view(), d.view(), d_x.view());
  }
};
struct PredictorMap { // no gradient to x, by design
  static constexpr bool causal = Predictor::causal;
  Index width(Index) const { return 21; }
  template <class Exec, class Real> void forward(Exec const& exec, Matrix<Real> const& x, Matrix<Real>& logits) const {
    Index const hidden = 9;
    auto const w1 = parameters<Real>(hidden, x.cols), b1 = parameters<Real>(1, hidden);
    auto const w2 = parameters<Real>(logits.cols, hidden), b2 = parameters<Real>(1, logits.cols);
    Matrix<Real> inside(x.rows, hidden);
    Workspace memory(Predictor::workspace_bytes<Real>(x.rows, hidden));
    PredictorParameters<Real> const all{w1.view(), b1.values, w2.view(), b2.values};
    logits_into(exec, Predictor{}, x.view(), all, inside.view(), logits.view(), WorkspaceView<>(memory));
  }
};
struct RandomMap { // x is replaced, so there is nothing to derive by
  static constexpr bool causal = RandomLogits::causal;
  RandomLogits policy{};
  Index width(Index experts) const { return experts; }
  template <class Exec, class Real> void forward(Exec const& exec, Matrix<Real> const&, Matrix<Real>& logits) const {
    logits_into(exec, policy, logits.view());
  }
  RandomMap from(Index first) const {
    RandomMap rest = *this;
    rest.policy.first = first;
    return rest;
  }
};

template <class Map> void check(char const* name, Map map) { lawful::expect(name, laws::check_map(map, lawful::everywhere())); }

} // namespace

BOOST_AUTO_TEST_SUITE(laws_every_map)

BOOST_AUTO_TEST_CASE(linear) { check("Linear", LinearMap{}); }
BOOST_AUTO_TEST_CASE(cosine) {
  check("Cosine", CosineMap{{.temperature = 0.3f}});
  check("Cosine, experts alone", CosineMap{{.temperature = 0.3f, .sides = CosineSides::Experts}});
}
BOOST_AUTO_TEST_CASE(grouped_average_pooling) {
  check("GrAP", GrapMap{});
  check("GrAP, rectified", GrapMap{{.rectify = Rectify::ReLU}});
  check("CosineGrAP", CosineGrapMap{});
}
BOOST_AUTO_TEST_CASE(networks) {
  check("Silu", SiluMap{});
  check("Predictor", PredictorMap{});
}
BOOST_AUTO_TEST_CASE(jitter) { check("InputJitter", JitterMap{}); }
BOOST_AUTO_TEST_CASE(noise) {
  check("LearnedNoise", NoiseMap<LearnedNoise>{{.seed = 3}});
  check("FixedNoise", NoiseMap<FixedNoise>{{.seed = 3}});
}
BOOST_AUTO_TEST_CASE(random_logits) {
  check("RandomLogits", RandomMap{{.seed = 2}});
  check("RandomLogits, round robin", RandomMap{{.spread = ForcedBalance::RoundRobin, .top_k = 2}});
}

BOOST_AUTO_TEST_SUITE_END()
