// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/batch.hpp"

#include <moebal/select/bip.hpp>

using namespace select_batch;
using moebal_test::Kind;

namespace {
// The same by sorting, in the type of the scores.
template <int K, class Real> Ids by_sorting(Batch<Real> const& b, Index iterations, Index slots) {
  std::vector<Real> q(std::size_t(b.experts), 0), p(std::size_t(b.tokens), 0);
  auto const dual = [](std::vector<Real> v, Index nth) {
    std::sort(v.begin(), v.end(), std::greater<>());
    return nth < Index(v.size()) ? std::max(Real(0), v[std::size_t(nth)]) : Real(0);
  };
  for (Index i = 0; i < iterations; ++i) {
    for (Index t = 0; t < b.tokens; ++t) {
      std::vector<Real> row;
      for (Index e = 0; e < b.experts; ++e) row.push_back(b.at(t, e) - q[std::size_t(e)]);
      p[std::size_t(t)] = dual(row, K);
    }
    for (Index e = 0; e < b.experts; ++e) {
      std::vector<Real> column;
      for (Index t = 0; t < b.tokens; ++t) column.push_back(b.at(t, e) - p[std::size_t(t)]);
      q[std::size_t(e)] = dual(column, slots);
    }
  }
  Ids ids;
  for (Index t = 0; t < b.tokens; ++t) {
    std::vector<rank_word_t<Real>> row;
    for (Index e = 0; e < b.experts; ++e) row.push_back(rank_word(b.at(t, e) - q[std::size_t(e)], e));
    std::sort(row.begin(), row.end(), std::greater<>());
    ids.emplace_back();
    for (int k = 0; k < K; ++k) ids.back().push_back(id_of(row[std::size_t(k)]));
  }
  return ids;
}
} // namespace

BOOST_AUTO_TEST_SUITE(select_bip)

// The quantile-balancing example: top-1 loads (4, 0), one round gives q = (.15, 0) and loads (2, 2) but for the tie of
// the last token, .6 - .15 against .45, which the rounding decides.
BOOST_AUTO_TEST_CASE(worked_example) {
  auto const b = batch_of<double>({{.9, .5}, {.8, .7}, {.7, .2}, {.6, .45}});
  BOOST_TEST((loads(choices(Bip<1>{.iterations = 0}, b), 2) == std::vector<Index>{4, 0}));
  for (Index const i : {1, 2, 5}) {
    auto const ids = choices(Bip<1>{.iterations = i}, b);
    for (std::size_t const t : {0, 2}) BOOST_TEST((ids[t] == std::vector<ExpertId>{0}));
    BOOST_TEST((ids[1] == std::vector<ExpertId>{1}));
    BOOST_TEST((ids == by_sorting<1>(b, i, 2)));
  }
}

BOOST_AUTO_TEST_CASE(as_sorting) {
  for (auto const kind : {Kind::Bell, Kind::Wide, Kind::Coarse, Kind::Equal, Kind::Ascending, Kind::Zeros})
    for (Index const e : {1, 3, 17})
      for (Index const t : {0, 1, 7, 130})
        for (Index const i : {0, 1, 3}) {
          auto const b = batch_of<float>(kind, t, e);
          auto const d = batch_of<double>(kind, t, e);
          BOOST_TEST((choices(Bip<1>{.iterations = i}, b) == by_sorting<1>(b, i, (t + e - 1) / e)));
          if (e >= 3) BOOST_TEST((choices(Bip<3>{.iterations = i}, d) == by_sorting<3>(d, i, (3 * t + e - 1) / e)));
        }
}

BOOST_AUTO_TEST_CASE(balances_a_skewed_batch) {
  auto b = batch_of<float>(Kind::Bell, 512, 8);
  for (Index t = 0; t < b.tokens; ++t) b.scores[std::size_t(t * 8)] += 2; // everybody's favourite
  auto const worst = [&](Index iterations) {
    auto const n = loads(choices(Bip<2>{.iterations = iterations}, b), 8);
    return *std::max_element(n.begin(), n.end());
  };
  BOOST_TEST(worst(0) > 350);
  BOOST_TEST(worst(8) < 160); // the mean is 128
}

BOOST_AUTO_TEST_CASE(laws) {
  check_all(Bip<1>{}, {1, 3, 60}, false); // best first by score - q
  check_all(Bip<4>{.iterations = 2}, {4, 60}, false);
  BOOST_CHECK_THROW(Bip<1>{.iterations = -1}.check(1, 1), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
