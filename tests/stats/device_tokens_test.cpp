// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "support/inputs.hpp"

#include <moebal/moebal.hpp>
#include <moebal/stats/device_tokens.hpp>

#include <set>
#include <unsupported/Eigen/CXX11/ThreadPool>

using namespace moebal;
using namespace moebal_test;

namespace {

template <class Devices, Index K> void check(Index tokens, Index experts) {
  using Needs = stats::List<stats::DeviceTokens<Devices>, stats::Counts>;
  auto const logits = logits_of<float>(Kind::Bell, tokens, experts);
  Options options{.padding = padding_of(tokens)};
  Router const router{TopK<int(K)>{}, Softmax{}};
  Eigen::ThreadPool pool(3);
  for (auto const& exec : {EigenExec{}, EigenExec{&pool}.on_every_thread()}) {
    auto const [routing, load] =
        router.template route_with<Needs>(exec, matrix(logits, tokens, experts), options.view());
    std::vector<std::int64_t> expected(std::size_t(Devices::groups));
    for (Index t = 0; t < tokens; ++t) {
      std::set<Index> reached;
      for (Index k = 0; k < K; ++k)
        if (auto const e = routing.expert_ids()(t, k); e != no_expert) reached.insert(Devices::of(e, experts));
      for (Index const d : reached) ++expected[std::size_t(d)];
    }
    auto const got = load.template get<stats::DeviceTokens<Devices>>();
    BOOST_TEST(std::vector<std::int64_t>(got.begin(), got.end()) == expected, boost::test_tools::per_element());
  }
}
struct Striped {
  static constexpr Index groups = 3;
  MOEBAL_FN static Index of(Index expert, Index) { return expert % 3; }
};

} // namespace

BOOST_AUTO_TEST_SUITE(stats_device_tokens)

BOOST_AUTO_TEST_CASE(a_token_counts_once_for_a_device) {
  for (Index const tokens : {0, 1, 7, 200}) {
    check<ExpertBlocks<4>, 6>(tokens, 16);
    check<ExpertBlocks<8>, 6>(tokens, 160);
    check<ExpertBlocks<3>, 3>(tokens, 3);
    check<ExpertBlocks<8>, 1>(tokens, 5); // more devices than experts
    check<Striped, 4>(tokens, 10);
  }
}

BOOST_AUTO_TEST_CASE(blocks_are_as_equal_as_can_be) {
  std::vector<Index> sizes(3);
  for (Index e = 0; e < 10; ++e) ++sizes[std::size_t(ExpertBlocks<3>::of(e, 10))];
  BOOST_TEST(sizes == (std::vector<Index>{4, 3, 3}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
