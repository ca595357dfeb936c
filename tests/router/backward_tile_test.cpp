// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The way back in tiles of rows and packs of lanes against plain loops: the same bits, whichever gradients are given.
#include "support/test.hpp"

#include "support/inputs.hpp"
#include "support/serial_exec.hpp"

#include <moebal/backend/eigen.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/gate/sqrt_softplus.hpp>
#include <moebal/router.hpp>
#include <moebal/select/top_k.hpp>

using namespace moebal;
using namespace moebal_test;

namespace {

/// No payload of a NaN is promised.
bool same(float a, float b) {
  return (math::is_nan(a) && math::is_nan(b)) || std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

template <class Logit, class Router>
std::vector<float> pulled(Router const& router, auto exec, MatrixView<Logit const> x, RowOptions<> options,
                          MatrixView<ExpertId const> ids, RouterGradient<float> gradient) {
  std::vector<float> d(std::size_t(x.rows() * x.cols()), 42.0f);
  Workspace workspace(router.template workspace_bytes<stats::None, Logit>(exec, x.rows(), x.cols()));
  router.backward_into(exec, x, options, ids, gradient, MatrixView<float>(d.data(), x.rows(), x.cols()),
                       WorkspaceView<>(workspace));
  return d;
}

template <class Logit, class Router> void every_gradient(Router const& router, std::initializer_list<Index> experts) {
  constexpr Index top_k = Router::top_k;
  for (Kind kind : all_kinds)
    for (Index e : experts)
      for (Index t : {0, 1, 7, 16, 33, 50}) {
        auto const logits = logits_of<Logit>(kind, t, e, std::uint64_t(t + e));
        auto const d_weights = logits_of<float>(Kind::Bell, t, top_k, 5);
        auto const slopes = logits_of<float>(Kind::Bell, 1, e, 6);
        auto const x = matrix(logits, t, e);
        auto routing = router.route(SerialExec{}, x);
        if (t > 40) routing.expert_ids()(40, top_k - 1) = no_expert; // one tile of rows with a choice fewer
        std::vector<std::uint8_t> padding(std::size_t(t), 0);
        if (t > 20) padding[20] = 1;
        for (int given = 0; given < 8; ++given) {
          RouterGradient<float> gradient;
          RowOptions<> options;
          if (given & 1) gradient.d_weights = {d_weights.data(), t, top_k};
          if (given & 2) gradient.slopes = {slopes.data(), 1, e};
          if (given & 4) options.padding = padding;
          auto const ids = std::as_const(routing).expert_ids();
          auto const plain = pulled(router, SerialExec{}, x, options, ids, gradient);
          auto const fast = pulled(router, EigenExec{}, x, options, ids, gradient);
          BOOST_TEST_REQUIRE(std::equal(plain.begin(), plain.end(), fast.begin(), fast.end(), same),
                             name_of(kind) << ", T " << t << ", E " << e << ", K " << top_k << ", given " << given);
        }
      }
}

} // namespace

BOOST_AUTO_TEST_SUITE(router_backward_tile)

BOOST_AUTO_TEST_CASE(weights_that_read_the_row) {
  every_gradient<float>(Router(TopK<1>{}, Softmax{}), {1, 3, 60, 160});
  every_gradient<float>(Router(TopK<8>{}, Softmax{.scale = 2.5f}), {8, 64, 384});
}
BOOST_AUTO_TEST_CASE(weights_over_the_chosen) {
  every_gradient<float>(Router(TopK<8>{}, Softmax{.normalise = Normalise::OverChosen}), {8, 60, 128});
  every_gradient<float>(Router(TopK<3>{}, SoftmaxOverChosen{}), {3, 17, 160});
}
BOOST_AUTO_TEST_CASE(element_wise_gates) {
  every_gradient<float>(Router(TopK<8>{}, Sigmoid{}), {8, 60, 256, 384});
  every_gradient<float>(Router(TopK<6>{}, SqrtSoftplus{}), {6, 33});
}
BOOST_AUTO_TEST_CASE(sixteen_bit_logits) {
  every_gradient<BFloat16>(Router(TopK<8>{}, Softmax{.normalise = Normalise::OverChosen}), {8, 64, 129});
}
BOOST_AUTO_TEST_CASE(more_choices_than_a_tile_takes) { every_gradient<float>(Router(TopK<17>{}, Sigmoid{}), {17, 64}); }

BOOST_AUTO_TEST_SUITE_END()
