// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/batch.hpp"
#include "select/rows.hpp"

#include <moebal/select/batch_pool.hpp>

using namespace select_batch;
using moebal_test::Kind;

namespace {
template <class Real>
std::vector<float> moved(EmaThreshold const& rule, Batch<Real> const& b, std::vector<float> thresholds) {
  Workspace memory(EmaThreshold::workspace_bytes<Real>(b.experts));
  rule.update(SerialExec{}, MatrixView<Real const>(b.scores.data(), b.tokens, b.experts),
              VectorView<std::uint8_t const>(b.padding), VectorView<float>(thresholds), WorkspaceView<>(memory));
  return thresholds;
}
} // namespace

BOOST_AUTO_TEST_SUITE(select_batch_pool)

BOOST_AUTO_TEST_CASE(rounds_down) {
  auto const b = batch_of<float>(Kind::Bell, 10, 4);
  BOOST_TEST((loads(choices(BatchPool<4>{}, b), 4) == std::vector<Index>{2, 2, 2, 2})); // int(10 / 4)
  BOOST_TEST((loads(choices(BatchPool<4>{.slots = {.per_token = 2}}, b), 4) == std::vector<Index>{5, 5, 5, 5}));
  BOOST_TEST((choices(BatchPool<4>{}, batch_of<float>(Kind::Bell, 3, 4)) == Ids{{}, {}, {}}));
}

BOOST_AUTO_TEST_CASE(thresholds_follow_the_last_one_in) {
  auto const b = batch_of<float>({{.9f, .1f}, {.5f, .25f}, {.7f, .125f}, {-.2f, -.5f}});
  EmaThreshold const two{.decay = .5f, .slots = {.fixed = 2}}; // .7 and .125
  auto const thresholds = moved(two, b, {.1f, .125f});
  BOOST_TEST(thresholds[0] == .4f, boost::test_tools::tolerance(1e-6f));
  BOOST_TEST(thresholds[1] == .125f);
  EmaThreshold const all{.decay = 0, .slots = {.fixed = 4}};
  BOOST_TEST((moved(all, b, {9, 9}) == std::vector<float>{-.2f, -.5f}));
  // Nothing to learn from: no slot, fewer tokens than slots, NaN at the cut.
  for (Index const slots : {0, 5})
    BOOST_TEST((moved({.decay = 0, .slots = {.fixed = slots}}, b, {9, 8}) == std::vector<float>{9, 8}));
  auto const bad = batch_of<float>({{NAN, 1}, {NAN, -INFINITY}});
  BOOST_TEST((moved({.decay = 0, .slots = {.fixed = 1}}, bad, {9, 8}) == std::vector<float>{9, 1}));
  auto padded = batch_of<double>({{.5, .25}, {.9, .8}});
  padded.padding = {0, 1};
  BOOST_TEST((moved({.decay = 0, .slots = {.fixed = 1}}, padded, {9, 8}) == std::vector<float>{.5f, .25f}));
  BOOST_CHECK_THROW(moved(two, b, {1, 2, 3}), ShapeError);
}

// Without ties, the partner with thresholds just below the last one in lets through exactly the pool.
BOOST_AUTO_TEST_CASE(the_partner_agrees) {
  for (Index const experts : {5, 17}) {
    auto const b = batch_of<float>(Kind::Bell, 200, experts);
    Slots const slots{.per_token = 2, .rounding = SlotRounding::Down};
    auto const pool = choices(BatchPool<5>{.slots = slots}, b);
    EmaThreshold const next{.decay = 0, .slots = {.fixed = slots.of(200, experts) + 1}};

    auto const thresholds = moved(next, b, std::vector<float>(std::size_t(experts), 0));
    for (Index t = 0; t < b.tokens; ++t) {
      std::vector<float> keys;
      for (Index e = 0; e < experts; ++e) keys.push_back(b.at(t, e) - thresholds[std::size_t(e)]);
      auto const chosen = select_rows::choose(BatchPool<5>::Inference{}, keys);
      std::size_t above = 0;
      for (float const k : keys) above += k > 0;
      BOOST_TEST(chosen.size() == std::min<std::size_t>(above, 5));
      BOOST_TEST(chosen.empty() == pool[std::size_t(t)].empty());
    }
  }
}

BOOST_AUTO_TEST_CASE(laws) { check_all(BatchPool<3>{}, {3, 60}); }

BOOST_AUTO_TEST_SUITE_END()
