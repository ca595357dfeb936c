// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/allocations.hpp"
#include "support/backends.hpp"
#include "support/inputs.hpp"
#include "support/serial_exec.hpp"
#include "support/test.hpp"

#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/recipes.hpp>
#include <moebal/router.hpp>
#include <moebal/select/sinkhorn.hpp>
#include <moebal/select/top_k.hpp>
#include <moebal/stats/counts.hpp>
#include <moebal/stats/score_sums.hpp>

#include <cmath>
#include <cstring>

using namespace moebal;
using namespace moebal_test;

BOOST_AUTO_TEST_SUITE(router_route_tokens)

namespace {

using Needs = stats::List<stats::Counts, stats::ScoreSums>;

// The order of the sums as it is promised, in plain loops.
template <class X, class W, class Real = compute_t<X>>
std::vector<Real> promised(std::vector<X> const& x, std::vector<W> const& w, Index T, Index E, Index D) {
  std::vector<Real> z(std::size_t(T * E));
  for (Index t = 0; t < T; ++t)
    for (Index e = 0; e < E; ++e) {
      Real& sum = z[std::size_t(t * E + e)];
      for (Index from = 0; from < D; from += 128) {
        Real run = 0;
        for (Index d = from; d < D && d < from + 128; ++d)
          run = std::fma(Real(widen(x[std::size_t(t * D + d)])), Real(widen(w[std::size_t(e * D + d)])), run);
        sum = sum + run;
      }
      sum = math::keep_nan(sum, sum);
    }
  return z;
}

template <class T> bool same_bits(T const* a, T const* b, Index n) {
  return n == 0 || std::memcmp(a, b, std::size_t(n) * sizeof(T)) == 0;
}

template <class Real> struct Answer {
  Answer(Index T, Index E, Index K, Index S = 1) : logits(std::size_t(T * E), Real(-7)), routing(T, K), load(S, E) {}
  std::vector<Real> logits;
  Routing<Real> routing;
  Load<Needs> load;
  friend bool operator==(Answer const& a, Answer const& b) {
    auto const n = a.routing.tokens() * a.routing.top_k();
    return same_bits(a.logits.data(), b.logits.data(), Index(a.logits.size())) &&
           same_bits(a.routing.expert_ids().data(), b.routing.expert_ids().data(), n) &&
           same_bits(a.routing.weights().data(), b.routing.weights().data(), n) &&
           a.load == b.load;
  }
};

Index sequences(RowOptions<> const& options) { return options.segments.empty() ? 1 : options.segments.size() - 1; }

template <class Exec, class Router, class X, class W>
auto tokens_routed(Exec const& exec, Router const& router, MatrixView<X const> x, W const& w, Index E, RowOptions<> options = {}) {
  using Real = compute_t<X>;
  Index const T = x.rows();
  Answer<Real> a(T, E, Router::top_k, sequences(options));
  Workspace workspace(router.template tokens_workspace_bytes<Needs, X>(exec, T, E, sequences(options)));
  router.template route_tokens_into<Needs>(exec, x, w, options, a.routing.view(), a.load.view(), WorkspaceView<>(workspace),
                                           MatrixView<Real>(a.logits.data(), T, E));
  return a;
}
template <class Router, class Real>
auto logits_routed(Router const& router, std::vector<Real> z, Index T, Index E, RowOptions<> options = {}) {
  Answer<Real> a(T, E, Router::top_k, sequences(options));
  EigenExec const exec;
  Workspace workspace(router.template workspace_bytes<Needs, Real>(exec, T, E, sequences(options)));
  a.logits = std::move(z);
  router.template route_into<Needs>(exec, matrix(a.logits, T, E), options, a.routing.view(), a.load.view(),
                                    WorkspaceView<>(workspace));
  return a;
}

template <class X, class W, class Router> void check(Router const& router, Index T, Index E, Index D, RowOptions<> options = {}) {
  BOOST_TEST_CONTEXT("T " << T << ", E " << E << ", D " << D) {
    auto const x = logits_of<X>(Kind::Bell, T, D, 1);
    auto const w = logits_of<W>(Kind::Bell, E, D, 2);
    auto const expected = logits_routed(router, promised(x, w, T, E, D), T, E, options);
    auto const in = matrix(x, T, D);
    auto const weight = matrix(w, E, D);
    BOOST_TEST((tokens_routed(EigenExec{}, router, in, weight, E, options) == expected));
    BOOST_TEST((tokens_routed(EigenExec{&pool_of(3)}.on_every_thread(), router, in, weight, E, options) == expected));
    BOOST_TEST((tokens_routed(SerialExec{.pretended_workers = 3, .backwards = true}, router, in, weight, E, options) == expected));
    if constexpr (std::same_as<compute_t<W>, float>) {
      PackedGate const packed(weight);
      BOOST_TEST((tokens_routed(EigenExec{&pool_of(3)}.on_every_thread(), router, in, packed, E, options) == expected));
      BOOST_TEST((tokens_routed(SerialExec{}, router, in, packed, E, options) == expected));
    }
  }
}

} // namespace

// Remainders of every blocking: of tiles, blocks, panels, registers and runs.
BOOST_AUTO_TEST_CASE(logits_are_the_promised_sums_and_are_routed_as_logits) {
  Router const one{TopK<1>{}, Softmax{}};
  for (Index E : {1, 3, 60, 160, 384})
    for (Index D : {0, 1, 7, 64, 300})
      for (Index T : {0, 1, 7}) check<float, float>(one, T, E, D);
  Router const three{TopK<3>{}, Softmax{}};
  for (Index E : {3, 16, 17, 49, 72})
    for (Index T : {2, 191, 192, 193, 205}) check<float, float>(three, T, E, 129);
  check<float, float>(three, 4097, 60, 7);
  check<float, float>(three, 9, 64, 2048);
}

BOOST_AUTO_TEST_CASE(every_element_type) {
  Router const router{TopK<4>{}, Sigmoid{}};
  for (Index T : {1, 37, 200}) {
    check<BFloat16, BFloat16>(router, T, 60, 200);
    check<Half, Half>(router, T, 60, 200);
    check<BFloat16, float>(router, T, 60, 200);
    check<float, Half>(router, T, 60, 200);
    check<double, double>(router, T, 60, 200);
  }
}

BOOST_AUTO_TEST_CASE(bias_padding_segments_and_statistics_are_those_of_the_logits) {
  auto const bias = bias_of(64, 0.3f);
  auto const padding = padding_of(250);
  check<float, float>(recipes::KimiK2::router(), 250, 64, 100, RowOptions<>{.bias = bias, .padding = padding});
  auto const segments = segments_of(250, 5);
  check<float, float>(Router{TopK<2>{}, Softmax{}}, 250, 64, 100, RowOptions<>{.padding = padding, .segments = segments});
}

BOOST_AUTO_TEST_CASE(selections_over_the_batch) {
  check<float, float>(Router{Sinkhorn<2>{}, Softmax{}}, 50, 20, 140);
  Router const router{Sinkhorn<2>{}, Softmax{}}; // without logits it has to keep them itself
  auto const x = logits_of(Kind::Bell, 50, 140, 1), w = logits_of(Kind::Bell, 20, 140, 2);
  auto const expected = router.route(EigenExec{}, matrix(promised(x, w, 50, 20, 140), 50, 20));
  auto const got = router.route_tokens(EigenExec{}, matrix(x, 50, 140), matrix(w, 20, 140));
  BOOST_TEST(same_bits(got.expert_ids().data(), expected.expert_ids().data(), 100));
  BOOST_TEST(same_bits(got.weights().data(), expected.weights().data(), 100));
}

BOOST_AUTO_TEST_CASE(hostile_numbers_keep_every_promise) {
  Router const router{TopK<3>{}, Softmax{}};
  Index const T = 40, E = 20, D = 150;
  for (Kind const kind : {Kind::AnyBits, Kind::Specials, Kind::MinusInf, Kind::Denormals}) {
    auto const x = logits_of(kind, T, D, 1), w = logits_of(Kind::Bell, E, D, 2);
    auto const expected = logits_routed(router, promised(x, w, T, E, D), T, E);
    BOOST_TEST((tokens_routed(EigenExec{}, router, matrix(x, T, D), matrix(w, E, D), E) == expected), name_of(kind));
    BOOST_TEST((tokens_routed(SerialExec{}, router, matrix(x, T, D), matrix(w, E, D), E) == expected), name_of(kind));
  }
}

BOOST_AUTO_TEST_CASE(a_nan_stays_in_its_row) {
  Router const router{TopK<2>{}, Softmax{}};
  Index const T = 20, E = 40, D = 130;
  auto x = logits_of(Kind::Bell, T, D, 1);
  auto const w = logits_of(Kind::Bell, E, D, 2);
  auto const clean = tokens_routed(EigenExec{}, router, matrix(x, T, D), matrix(w, E, D), E);
  x[std::size_t(7 * D + 129)] = std::nanf("");
  auto const got = tokens_routed(EigenExec{}, router, matrix(x, T, D), matrix(w, E, D), E);
  for (Index t = 0; t < T; ++t)
    for (Index e = 0; e < E; ++e) {
      float const z = got.logits[std::size_t(t * E + e)];
      BOOST_TEST_REQUIRE((t == 7 ? std::isnan(z) : z == clean.logits[std::size_t(t * E + e)]));
    }
  BOOST_TEST(got.routing.expert_ids()(7, 0) == 0);
  BOOST_TEST(got.routing.expert_ids()(7, 1) == 1);
  BOOST_TEST(std::isnan(got.routing.weights()(7, 0)));
}

BOOST_AUTO_TEST_CASE(rounding_is_small) {
  Index const T = 8, E = 30, D = 2880;
  auto const x = logits_of(Kind::Bell, T, D, 1), w = logits_of(Kind::Bell, E, D, 2);
  auto const got = tokens_routed(EigenExec{}, Router{TopK<1>{}, Softmax{}}, matrix(x, T, D), matrix(w, E, D), E);
  for (Index t = 0; t < T; ++t)
    for (Index e = 0; e < E; ++e) {
      double exact = 0, size = 0;
      for (Index d = 0; d < D; ++d) {
        double const product = double(x[std::size_t(t * D + d)]) * double(w[std::size_t(e * D + d)]);
        exact += product;
        size += std::abs(product);
      }
      Index const additions = 128 + (D + 127) / 128;
      BOOST_TEST_REQUIRE(std::abs(double(got.logits[std::size_t(t * E + e)]) - exact) <= double(additions) * 0x1p-24 * size);
    }
}

BOOST_AUTO_TEST_CASE(rows_with_gaps_and_a_gate_that_is_packed_anew) {
  Router const router{TopK<2>{}, Softmax{}};
  Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> wide(30, 50), weight(20, 60);
  for (Index i = 0; i < wide.size(); ++i) wide.data()[i] = float((i * 37) % 101) / 64;
  for (Index i = 0; i < weight.size(); ++i) weight.data()[i] = float((i * 53) % 97 - 48) / 64;
  Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> const x = wide.middleCols(5, 40), w = weight.middleCols(9, 40);
  auto const expected = router.route_tokens(EigenExec{}, x, w);
  auto const same = [&](auto const& got) { return same_bits(got.expert_ids().data(), expected.expert_ids().data(), 60); };
  BOOST_TEST(same(router.route_tokens(EigenExec{}, wide.middleCols(5, 40), weight.middleCols(9, 40))));
  PackedGate packed(wide);
  packed.pack(weight.middleCols(9, 40));
  BOOST_TEST(packed.experts() == 20);
  BOOST_TEST(packed.hidden() == 40);
  BOOST_TEST(same(router.route_tokens(EigenExec{}, x, packed)));
}

BOOST_AUTO_TEST_CASE(nothing_is_allocated) {
  Router const router{TopK<2>{}, Softmax{}};
  Index const T = 300, E = 40, D = 130;
  auto const x = logits_of(Kind::Bell, T, D, 1), w = logits_of(Kind::Bell, E, D, 2);
  PackedGate const packed(matrix(w, E, D));
  EigenExec const exec;
  Answer<float> a(T, E, 2);
  Workspace workspace(router.tokens_workspace_bytes<Needs>(exec, T, E));
  auto const before = allocations();
  router.route_tokens_into<Needs>(exec, matrix(x, T, D), matrix(w, E, D), RowOptions<>{}, a.routing.view(), a.load.view(),
                                  WorkspaceView<>(workspace));
  router.route_tokens_into<Needs>(exec, matrix(x, T, D), packed, RowOptions<>{}, a.routing.view(), a.load.view(),
                                  WorkspaceView<>(workspace));
  BOOST_TEST(allocations() == before);
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  Router const router{TopK<2>{}, Softmax{}};
  std::vector<float> const x(60), w(100);
  EigenExec const exec;
  Answer<float> a(3, 5, 2);
  Workspace workspace(router.tokens_workspace_bytes(exec, 3, 5)), small(64);
  auto const route = [&](MatrixView<float const> weight, Workspace& ws, MatrixView<float> logits) {
    router.route_tokens_into(exec, matrix(x, 3, 20), weight, RowOptions<>{}, a.routing.view(), LoadView<stats::None>{},
                             WorkspaceView<>(ws), logits);
  };
  auto const says = [](std::string text) {
    return [=](ShapeError const& e) { return std::string(e.what()).find(text) != std::string::npos; };
  };
  BOOST_CHECK_EXCEPTION(route(matrix(w, 5, 19), workspace, {}), ShapeError, says("weight [E, D], columns: needed 20, had 19"));
  BOOST_CHECK_EXCEPTION(route(matrix(w, 5, 20), workspace, {a.logits.data(), 3, 4}), ShapeError,
                        says("logits [T, E], columns: needed 5, had 4"));
  BOOST_CHECK_EXCEPTION(route(matrix(w, 1, 20), workspace, {}), ShapeError, says("E"));
  BOOST_CHECK_EXCEPTION(route(matrix(w, 5, 20), small, {}), ShapeError, says("workspace bytes"));
  BOOST_CHECK_NO_THROW(route(matrix(w, 5, 20), workspace, {}));
}

BOOST_AUTO_TEST_SUITE_END()
