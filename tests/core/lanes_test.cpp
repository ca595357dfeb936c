// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The plain lanes, which are the oracle of all others, and the canonical order of sums.
#include "support/test.hpp"

#include "support/inputs.hpp"

#include <moebal/core/lanes.hpp>

#include <cmath>
#include <limits>

using namespace moebal;
using namespace moebal_test;

namespace {

/// The canonical order in other words: element e belongs to partial e mod 32; a tree of 16, 8, 4, 2, 1.
float canonical(std::vector<float> const& x) {
  std::vector<std::vector<float>> strands(32);
  for (std::size_t e = 0; e < x.size(); ++e) strands[e % 32].push_back(x[e]);
  std::vector<float> partial;
  for (auto const& s : strands) {
    float sum = 0;
    for (float v : s) sum += v;
    partial.push_back(sum);
  }
  while (partial.size() > 1) {
    std::vector<float> half;
    for (std::size_t i = 0; i < partial.size() / 2; ++i) half.push_back(partial[i] + partial[i + partial.size() / 2]);
    partial = half;
  }
  return partial[0];
}

} // namespace

BOOST_AUTO_TEST_SUITE(core_lanes)

BOOST_AUTO_TEST_CASE(sums_are_canonical) {
  SerialLanes const lanes;
  bool differs = false;
  for (Index n = 0; n <= 200; ++n) {
    auto const x = logits_of(Kind::Wide, 1, n, std::uint64_t(n));
    auto const at = [&](Index e) { return x[std::size_t(e)]; };
    float const sum = lanes.sum<float>(n, at);
    BOOST_TEST_REQUIRE(sum == canonical(x));
    float forward = 0;
    for (float v : x) forward += v;
    differs = differs || forward != sum;
  }
  BOOST_TEST(differs); // another order gives other bits, so the order is worth a contract
}

BOOST_AUTO_TEST_CASE(dots_fuse_each_product) {
  SerialLanes const lanes;
  float const a = 0x1.000002p0f;
  std::vector<float> x(33, 0), y(33, 0);
  x[0] = -0x1.000004p0f, y[0] = 1;
  x[32] = a, y[32] = a; // the same strand: -1.000004p0 + a * a in one rounding
  auto const dot =
      lanes.dot<float>(33, [&](Index e) { return x[std::size_t(e)]; }, [&](Index e) { return y[std::size_t(e)]; });
  BOOST_TEST(dot == 0x1p-46f);
}

BOOST_AUTO_TEST_CASE(maxima_skip_nan) {
  SerialLanes const lanes;
  float const nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> const x{nan, -3, nan, 2, nan};
  auto const at = [&](Index e) { return x[std::size_t(e)]; };
  BOOST_TEST(lanes.max<float>(5, at, -10.0f) == 2);
  BOOST_TEST(lanes.max<float>(5, at, 7.0f) == 7);
  BOOST_TEST(lanes.max<float>(0, at, -10.0f) == -10);
  BOOST_TEST(lanes.max<float>(1, at, -10.0f) == -10);
}

BOOST_AUTO_TEST_CASE(any_and_each) {
  SerialLanes const lanes;
  BOOST_TEST(!lanes.any(0, [](Index) { return true; }));
  BOOST_TEST(lanes.any(10, [](Index e) { return e == 9; }));
  BOOST_TEST(!lanes.any(9, [](Index e) { return e == 9; }));
  std::vector<int> seen(20);
  lanes.each(20, [&](Index e) { ++seen[std::size_t(e)]; });
  lanes.each_one(20, [&](Index e) { ++seen[std::size_t(e)]; });
  for (int n : seen) BOOST_TEST(n == 2);
  int calls = 0;
  lanes.once([&] { ++calls; });
  BOOST_TEST(calls == 1);
}

BOOST_AUTO_TEST_CASE(loads_widen) {
  BFloat16 const b[] = {{0x3f80}, {0x4000}};
  Half const h[] = {{0x3c00}, {0x4000}};
  BOOST_TEST(load(b, 1) == 2);
  BOOST_TEST(load(h, 0) == 1);
  float f[2] = {};
  store(f, 1, 3.0f);
  BOOST_TEST(f[1] == 3);
}

BOOST_AUTO_TEST_SUITE_END()
