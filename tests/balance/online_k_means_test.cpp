// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/maps.hpp"

#include <moebal/balance/online_k_means.hpp>
#include <moebal/moebal.hpp>

using namespace moebal;
using namespace maps;
namespace tt = boost::test_tools;

namespace {

std::vector<std::int64_t> scaled(std::vector<double> const& values) {
  std::vector<std::int64_t> all;
  for (double const v : values) all.push_back(std::int64_t(v * TokenSums::one));
  return all;
}
/// Tokens around `centres` directions of their own, as many of each.
Matrix<float> clustered(Index tokens, Index width, Index centres, std::uint64_t seed) {
  auto const direction = random_matrix<float>(centres, width, 77, 3);
  auto x = random_matrix<float>(tokens, width, seed, 0.3f);
  for (Index t = 0; t < tokens; ++t)
    for (Index d = 0; d < width; ++d) x(t, d) += direction(t % centres, d);
  return x;
}

struct Centroids {
  Matrix<float> at;
  std::vector<double> counts;
  explicit Centroids(Matrix<float> start) : at(start), counts(std::size_t(start.rows)) {}
  Routing<float> route(MatrixView<float const> x) const {
    Matrix<float> z(x.rows(), at.rows);
    Workspace workspace(Cosine::workspace_bytes<float>(EigenExec{}, x.rows(), at.rows));
    logits_into(EigenExec{}, Cosine{.temperature = 1}, x, at.view(), z.view(), WorkspaceView<>(workspace));
    return Router{TopK<1>{}, Sigmoid{}}.route(EigenExec{}, z.view());
  }
};

} // namespace

BOOST_AUTO_TEST_SUITE(balance_online_k_means)

BOOST_AUTO_TEST_CASE(the_running_mean_by_hand) {
  Matrix<float> centroids(3, 2);
  centroids.values = {9, 9, 1, 1, 5, 5};
  std::vector<double> counts{0, 2, 4};
  auto sums = scaled({3, 6, 3, /**/ 4, 0, 2, /**/ 0, 0, 0}); // three tokens, two, none
  OnlineKMeans{}.move(MatrixView<std::int64_t const>(sums.data(), 3, 3), centroids.view(), VectorView<double>(counts));
  BOOST_TEST(centroids.values == (std::vector<float>{1, 2, 1.5f, 0.5f, 5, 5}), tt::per_element());
  BOOST_TEST(counts == (std::vector<double>{3, 4, 4}), tt::per_element());
  OnlineKMeans{.keep = 0.5}.move(MatrixView<std::int64_t const>(sums.data(), 3, 3), centroids.view(),
                                 VectorView<double>(counts));
  BOOST_TEST(counts == (std::vector<double>{4.5, 4, 2}), tt::per_element());
  BOOST_TEST(centroids(1, 0) == 1.75f); // (2 * 1.5 + 4) / 4
}

// The mean of all tokens that an expert ever got, whatever the steps.
BOOST_AUTO_TEST_CASE(steps_make_no_difference_to_a_mean) {
  auto const x = random_matrix<float>(60, 5, 1);
  std::vector<ExpertId> ids(60);
  for (std::size_t t = 0; t < 60; ++t) ids[t] = ExpertId(t * t % 3);
  auto const after = [&](Index step) {
    Centroids c(Matrix<float>(3, 5, 4));
    Matrix<std::int64_t> sums(3, 6);
    for (Index from = 0; from < 60; from += step) {
      token_sums_into(EigenExec{}, MatrixView<float const>(x.values.data() + from * 5, step, 5),
                      MatrixView<ExpertId const>(ids.data() + from, step, 1), MatrixView<float const>{}, sums.view());
      OnlineKMeans{}.move(std::as_const(sums).view(), c.at.view(), VectorView<double>(c.counts));
    }
    return c.at.values;
  };
  BOOST_TEST(after(60) == after(4), tt::tolerance(1e-5f) << tt::per_element());
}

// Four clusters of unequal directions, four centroids that start at tokens: they find them, and the loads are even.
BOOST_AUTO_TEST_CASE(it_finds_clusters_and_balances_and_no_cut_matters) {
  constexpr Index T = 200, D = 16, E = 4;
  auto const after = [&](Index ranks, Index micro_batches) {
    Centroids found(Matrix<float>(E, D));
    run_ranks(ranks, [&](Communicator<Threads> comm) {
      auto const first = clustered(T, D, E, 1);
      Centroids c(Matrix<float>(E, D));
      std::copy_n(first.values.begin(), E * D, c.at.values.begin()); // one token of each cluster
      for (std::uint64_t step = 1; step <= 5; ++step) {
        auto const x = clustered(T, D, E, step);
        Matrix<std::int64_t> sums(E, D + 1), part(E, D + 1);
        for (Index g = 0; g < micro_batches; ++g) {
          Index const p = comm.rank() * micro_batches + g, parts = ranks * micro_batches;
          Index const from = p * p * T / (parts * parts), end = (p + 1) * (p + 1) * T / (parts * parts);
          MatrixView<float const> const some(x.values.data() + from * D, end - from, D);
          auto const routing = c.route(some);
          token_sums_into(EigenExec{}, some, routing.expert_ids(), MatrixView<float const>{}, part.view());
          for (std::size_t i = 0; i < sums.values.size(); ++i) sums.values[i] += part.values[i];
        }
        comm.all_reduce_sum(VectorView<std::int64_t>(sums.values));
        OnlineKMeans{}.move(std::as_const(sums).view(), c.at.view(), VectorView<double>(c.counts));
      }
      if (comm.rank() == 0) found = c;
    });
    return found;
  };
  auto const whole = after(1, 1);
  auto const routing = whole.route(clustered(T, D, E, 9).view());
  std::vector<Index> loads(E);
  for (Index t = 0; t < T; ++t) ++loads[std::size_t(routing.expert_ids()(t, 0))];
  for (Index const n : loads) BOOST_TEST(n == T / E);
  BOOST_TEST((after(3, 2).at == whole.at));
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  Matrix<std::int64_t> const sums(3, 5);
  Matrix<float> fits(3, 4), rows(2, 4), columns(3, 5);
  std::vector<double> counts(3), few(2);
  OnlineKMeans{}.move(sums.view(), fits.view(), VectorView<double>(counts));
  BOOST_CHECK_THROW(OnlineKMeans{}.move(sums.view(), rows.view(), VectorView<double>(counts)), ShapeError);
  BOOST_CHECK_THROW(OnlineKMeans{}.move(sums.view(), columns.view(), VectorView<double>(counts)), ShapeError);
  BOOST_CHECK_THROW(OnlineKMeans{}.move(sums.view(), fits.view(), VectorView<double>(few)), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
