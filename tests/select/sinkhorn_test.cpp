// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/batch.hpp"

#include <moebal/select/sinkhorn.hpp>

using namespace select_batch;
using moebal_test::Kind;

namespace {
template <class S, class Real> Batch<Real> scaled(S const& selection, Batch<Real> b) {
  Workspace memory(selection.template workspace_bytes<Real>(SerialExec{}, b.tokens, b.experts));
  selection.scale(SerialExec{}, select::BatchCandidates<Real>{{b.scores.data(), b.tokens, b.experts}, {.padding = b.padding}},
                  WorkspaceView<>(memory));
  return b;
}
template <class Real> std::vector<double> column_sums(Batch<Real> const& b) {
  std::vector<double> sums(std::size_t(b.experts), 0);
  for (Index t = 0; t < b.tokens; ++t)
    for (Index e = 0; e < b.experts; ++e) sums[std::size_t(e)] += double(b.at(t, e));
  return sums;
}
Sinkhorn<1> const as_megatron{.most_iterations = 1000, .epsilon_rule = SinkhornEpsilon::Absolute};
} // namespace

BOOST_AUTO_TEST_SUITE(select_sinkhorn)

// NVIDIA/Megatron-LM d98e8a6, sinkhorn(cost) with its default tolerance, in double: case T6E8.ties.
BOOST_AUTO_TEST_CASE(as_megatron_scales) {
  std::vector<double> const cost{1,   0.5,  0.5,  -1.5, -0,  -1,  1.5,  0,  1.5,  1.5,  1.5,  0,   0,  -1, -0.5, 1.5,
                                 2.5, -0.5, -0.5, 0.5,  -1,  -1,  -0.5, 0,  -1,   -0.5, -1.5, 0.5, -0, -0, 2.5,  -0,
                                 -0,  -0.5, -0.5, -1.5, 1.5, 0.5, 0.5,  -2, -1.5, -2,   -0.5, -2,  0,  -1, -1.5, -2.5};
  std::vector<double> const expected{
      0.020076551240339,  0.035125507620088,  0.027760279843508,  0.0068706340286919, 0.010683139781876,
      0.0092431021742578, 0.032274947558089,  0.024632019767854,  0.014929488553612,  0.043065120698792,
      0.034035089685344,  0.013888236919009,  0.0048184514618865, 0.004168946591851,  0.0019700858834656,
      0.049790939948346,  0.072777000919493,  0.010451808588721,  0.0082602402343006, 0.041062851084468,
      0.0031788332665365, 0.007476202808832,  0.0035329696102119, 0.019923394971063,  0.0020740425952328,
      0.0098638316400072, 0.0028678233707457, 0.038752819315211,  0.0081548585898075, 0.019179167821272,
      0.066969576227698,  0.018802584454523,  0.0086749451085504, 0.015177499704331,  0.011995033457567,
      0.0080699142836877, 0.056235782105629,  0.048655459955085,  0.013945791540392,  0.0039154633789505,
      0.0064679662542022, 0.011316216377441,  0.040081521260874,  0.016355522153509,  0.04192892708674,
      0.036277102521605,  0.0063066239844938, 0.0079355797080926};
  auto const d = scaled(as_megatron, Batch<double>{cost, 6, 8});
  auto const f = scaled(as_megatron, Batch<float>{{cost.begin(), cost.end()}, 6, 8});
  auto const shifted = scaled(Sinkhorn<1>{}, Batch<double>{cost, 6, 8});
  for (std::size_t i = 0; i < expected.size(); ++i) {
    BOOST_TEST(d.scores[i] == expected[i], boost::test_tools::tolerance(1e-10));
    BOOST_TEST(double(f.scores[i]) == expected[i], boost::test_tools::tolerance(1e-6));
    BOOST_TEST(shifted.scores[i] == expected[i], boost::test_tools::tolerance(1e-6));
  }
}

// The same commit's router in training: case router_sinkhorn_load_balancing.T16E8K2.
BOOST_AUTO_TEST_CASE(as_megatron_routes) {
  std::vector<float> const logits{
      -0.0956881195f, -1.21739352f,  0.0125491498f,  1.7093364f,      2.2612381f,     0.559090078f,   0.809380472f,
      0.554290175f,   0.6547997f,    -0.261966199f,  1.28449845f,     -0.220857009f,  1.29836619f,    -1.16816103f,
      1.3800863f,     -0.33570385f,  -0.773764074f,  0.219602987f,    -0.0514784344f, -2.78686118f,   -1.35618556f,
      0.738425732f,   -0.2698659f,   -2.22709012f,   -0.768989801f,   -1.61434627f,   0.808150351f,   -0.152741775f,
      0.209557161f,   0.688226283f,  -0.961264312f,  -0.288936138f,   -1.19947779f,   -1.84743309f,   0.29408884f,
      0.148878932f,   -0.735726297f, -0.729375005f,  0.292550802f,    0.0213641785f,  -1.2996558f,    0.428500086f,
      0.773819387f,   -0.459318578f, -0.584775925f,  0.909399629f,    0.00286406279f, 0.545598567f,   -0.717327654f,
      -1.36212242f,   -0.925773978f, -1.4898864f,    0.946646392f,    0.647893131f,   -1.43167484f,   1.0727824f,
      -1.79723549f,   1.03059328f,   3.24664116f,    1.33236301f,     -0.850028574f,  0.672044456f,   1.20256436f,
      0.0640327558f,  0.701911092f,  -0.53341341f,   -0.917913258f,   0.732338846f,   1.07448411f,    0.794282019f,
      1.20460176f,    0.0128017114f, 2.29782319f,    -0.501621366f,   -0.660069883f,  -0.552325785f,  -2.60473609f,
      -0.62508601f,   0.0889126807f, 0.110304199f,   -2.1360867f,     0.616887212f,   -0.960563779f,  -1.36728203f,
      -0.04764314f,   -1.16628754f,  -1.24106991f,   1.89954889f,     0.745285451f,   0.100333869f,   0.325765431f,
      -0.976298988f,  -0.721220791f, -0.0103438729f, 0.0680101737f,   -0.518441617f,  0.0908458456f,  -0.455078781f,
      -0.334843546f,  1.36345327f,   1.54205847f,    -1.20917475f,    -0.674632668f,  0.00533387158f, 0.943726242f,
      -0.212823093f,  0.949616373f,  -0.592818499f,  -1.66340518f,    -0.435968518f,  0.0147446664f,  -0.100468367f,
      1.03911805f,    0.539708972f,  -0.943329692f,  -0.00240588421f, -0.415497035f,  -0.113423042f,  -2.26981997f,
      -2.69633818f,   1.93111193f,   -1.09214878f,   -1.68365562f,    -2.6192162f,    -1.54857755f,   0.589173794f,
      1.79529321f,    -1.07064974f};
  std::vector<std::set<ExpertId>> const map{{3, 4}, {4, 6}, {1, 5}, {2, 5}, {3, 6}, {1, 5}, {4, 7}, {2, 3},
                                            {4, 6}, {0, 7}, {1, 7}, {0, 1}, {3, 4}, {0, 2}, {0, 1}, {0, 6}};
  for (auto const rule : {SinkhornEpsilon::Shifted, SinkhornEpsilon::Absolute}) {
    auto const ids = choices(Sinkhorn<2>{.epsilon_rule = rule}, Batch<float>{logits, 16, 8});
    for (std::size_t t = 0; t < map.size(); ++t)
      BOOST_TEST((std::set<ExpertId>(ids[t].begin(), ids[t].end()) == map[t]));
  }
}

BOOST_AUTO_TEST_CASE(columns_weigh_the_same) {
  for (Index const experts : {1, 3, 17}) {
    auto const b =
        scaled(Sinkhorn<1>{.tolerance = 0, .most_iterations = 300}, batch_of<double>(Kind::Bell, 200, experts));
    for (double const sum : column_sums(b)) BOOST_TEST(sum == 1 / double(experts), boost::test_tools::tolerance(1e-6));
  }
}

BOOST_AUTO_TEST_CASE(a_constant_changes_nothing) {
  auto b = batch_of<double>(Kind::Coarse, 40, 6);
  auto const before = scaled(Sinkhorn<1>{}, b);
  for (Index t = 0; t < 40; ++t)
    for (Index e = 0; e < 6; ++e) b.scores[std::size_t(t * 6 + e)] += double(t % 3) * 1024 - 1024;
  auto const after = scaled(Sinkhorn<1>{}, b);
  BOOST_TEST((before.scores == after.scores)); // also far beyond the range of exp
}

// Megatron-LM never returns from this one.
BOOST_AUTO_TEST_CASE(a_collapsed_router_ends) {
  std::vector<std::vector<float>> rows(16, std::vector<float>(8, 0));
  for (auto& row : rows) row[3] = 20;
  auto const ids = choices(Sinkhorn<1>{}, batch_of<float>(rows));
  for (auto const& row : ids) BOOST_TEST(row.size() == 1u);
  auto b = batch_of<double>(Kind::Bell, 512, 8);
  for (Index t = 0; t < b.tokens; ++t) b.scores[std::size_t(t * 8)] += 8;
  auto const n = loads(choices(Sinkhorn<1>{}, b), 8);
  BOOST_TEST(*std::max_element(n.begin(), n.end()) < 2 * 512 / 8); // top-1 would give 512
}

BOOST_AUTO_TEST_CASE(numbers_that_are_none) {
  float const inf = INFINITY;
  auto const b = batch_of<float>({{NAN, -inf, 1}, {NAN, NAN, NAN}, {-inf, -inf, -inf}, {inf, 0, NAN}, {0, 1, 2}});
  auto const s = scaled(Sinkhorn<1>{}, b);
  for (std::size_t i = 0; i < s.scores.size(); ++i) BOOST_TEST(std::isnan(s.scores[i]) == std::isnan(b.scores[i]));
  auto const ids = choices(Sinkhorn<3>{}, b);
  BOOST_TEST((ids[0] == std::vector<ExpertId>{2, 1, 0}));
  BOOST_TEST((ids[1] == std::vector<ExpertId>{0, 1, 2}));
  BOOST_TEST((ids[3] == std::vector<ExpertId>{0, 1, 2}));
}

BOOST_AUTO_TEST_CASE(laws) {
  check_all(Sinkhorn<1>{.most_iterations = 5}, {1, 3, 60}, false); // best first by the scaled matrix
  check_all(Sinkhorn<3>{.most_iterations = 5, .epsilon_rule = SinkhornEpsilon::Absolute}, {3, 17}, false);
  BOOST_CHECK_THROW(Sinkhorn<1>{.most_iterations = 0}.check(1, 1), ShapeError);
  BOOST_CHECK_THROW(Sinkhorn<1>{.epsilon = 0}.check(1, 1), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
