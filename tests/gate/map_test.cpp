// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What all logit maps promise: the same bits on plain loops, in any order of tokens, and on SIMD lanes.
#include "support/test.hpp"

#include "gate/maps.hpp"
#include "support/serial_exec.hpp"

#include <moebal/gate/cosine.hpp>
#include <moebal/gate/cosine_grap.hpp>
#include <moebal/gate/grap.hpp>
#include <moebal/gate/jitter.hpp>
#include <moebal/gate/linear.hpp>
#include <moebal/gate/noisy_load.hpp>
#include <moebal/gate/random_logits.hpp>

using namespace moebal;
using namespace maps;

namespace {

/// Everything that the maps write, for T tokens, E experts and D = 3 E features.
template <class Real, class Exec> std::vector<std::vector<Real>> all_maps(Exec const& exec, Index T, Index E) {
  Index const D = 3 * E;
  auto const x = random_matrix<Real>(T, D, 1), w = random_matrix<Real>(E, D, 2), z = random_matrix<Real>(T, E, 3);
  auto const n = random_matrix<Real>(T, E, 4), g = random_matrix<Real>(T, E, 5);
  std::vector<Matrix<Real>> out;
  auto const next = [&](Index rows, Index cols) {
    out.emplace_back(rows, cols, Real(0));
    return out.back().view();
  };
  Workspace workspace(Cosine::workspace_bytes<Real>(exec, T, E) + NoisyLoad::workspace_bytes<Real>(exec, E));
  out.reserve(32);

  logits_into(exec, Linear{}, x.view(), w.view(), VectorView<Real const>(w.values.data(), E), next(T, E));
  auto const dx = next(T, D), dw = next(E, D), db = next(1, E);
  backward_into(exec, Linear{}, x.view(), w.view(), g.view(),
                LinearGradient<Real>{dx, dw, VectorView<Real>(db.data(), E)});

  auto const c = next(T, E), dh = next(T, D), dv = next(E, D), dt = next(1, 1);
  logits_into(exec, Cosine{}, x.view(), w.view(), c, WorkspaceView<>(workspace));
  backward_into(exec, Cosine{}, x.view(), w.view(), c, g.view(),
                CosineGradient<Real>{dh, dv, VectorView<Real>(dt.data(), 1)}, WorkspaceView<>(workspace));

  auto const p = next(T, E), dp = next(T, D), a = next(T, E), da = next(T, D);
  logits_into(exec, GrAP{}, x.view(), {}, p);
  backward_into(exec, GrAP{}, p, g.view(), dp);
  logits_into(exec, CosineGrAP{}, x.view(), a);
  backward_into(exec, CosineGrAP{}, x.view(), a, g.view(), da);

  auto const h = next(T, E), dz = next(T, E), dn = next(T, E), dH = next(T, E);
  logits_into(exec, LearnedNoise{.seed = 6}, z.view(), n.view(), h);
  NoisyLoad const load{.top_k = std::min<Index>(2, E)};
  std::vector<std::int64_t> sums(std::size_t(E), 0);
  load_into(exec, load, LearnedNoise{}, z.view(), n.view(), h, {}, VectorView<std::int64_t>(sums),
            WorkspaceView<>(workspace));
  load_backward_into(exec, load, LearnedNoise{}, z.view(), n.view(), h, {}, VectorView<Real const>(w.values.data(), E),
                     NoisyLoadGradient<Real>{dz, dH, dn}, WorkspaceView<>(workspace));
  backward_into(exec, LearnedNoise{.seed = 6}, n.view(), dH, dz, dn);
  auto const sum = next(1, E);
  for (Index e = 0; e < E; ++e) sum(0, e) = Real(sums[std::size_t(e)]);

  jitter_into(exec, InputJitter{.seed = 7}, x.view(), next(T, D));
  logits_into(exec, RandomLogits{.seed = 8}, next(T, E));

  std::vector<std::vector<Real>> values;
  for (auto const& m : out) values.push_back(m.values);
  return values;
}

} // namespace

BOOST_AUTO_TEST_SUITE(gate_map)

BOOST_AUTO_TEST_CASE(same_bits_on_loops_and_on_lanes) {
  for (auto const [T, E] : {Shape{1, 1}, Shape{7, 60}, Shape{33, 3}, Shape{19, 37}}) {
    moebal_test::SerialExec const loops{}, backwards{.pretended_workers = 3, .backwards = true};
    auto const expected = all_maps<float>(loops, T, E);
    BOOST_TEST((expected == all_maps<float>(backwards, T, E)));
    BOOST_TEST((expected == all_maps<float>(EigenExec{}, T, E)));
    BOOST_TEST((expected == all_maps<float>(EigenExec{&pool()}.on_every_thread(), T, E)));
    auto const wide = all_maps<double>(loops, T, E);
    BOOST_TEST((wide == all_maps<double>(EigenExec{}, T, E)));
    for (std::size_t i = 0; i + 1 < wide.size(); ++i) { // and float is double, rounded here and there
      double scale = 1e-30, worst = 0;
      for (std::size_t j = 0; j < wide[i].size(); ++j) {
        scale = std::max(scale, std::abs(wide[i][j]));
        worst = std::max(worst, std::abs(wide[i][j] - double(expected[i][j])));
      }
      BOOST_TEST(worst <= 1e-4 * scale, "output " << i << ", T " << T << ", E " << E);
    }
  }
}

BOOST_AUTO_TEST_CASE(shapes_are_named) {
  Matrix<float> const m(2, 3);
  BOOST_CHECK_NO_THROW(gate::require_shape("x [T, D]", 2, 3, m.view()));
  BOOST_CHECK_NO_THROW(gate::require_shape_or_none("x [T, D]", 9, 9, MatrixView<float>{}));
  BOOST_CHECK_NO_THROW(gate::require_size_or_none("bias [E]", 9, VectorView<float>{}));
  try {
    gate::require_shape("x [T, D]", 2, 4, m.view());
    BOOST_FAIL("not refused");
  } catch (ShapeError const& error) {
    BOOST_TEST(std::string(error.what()) == "moebal: x [T, D], columns: needed 4, had 3");
  }
}

BOOST_AUTO_TEST_SUITE_END()
