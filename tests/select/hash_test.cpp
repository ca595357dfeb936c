// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/random_rows.hpp"
#include "select/rows.hpp"

#include <moebal/gate/softmax.hpp>
#include <moebal/gate/sqrt_softplus.hpp>
#include <moebal/select/hash.hpp>
#include <moebal/select/hash_table.hpp>

using namespace moebal;
using select_rows::choose;

static_assert(std::is_trivially_copyable_v<HashLayer<2>> && std::is_aggregate_v<HashLayer<2>> && HashLayer<2>::causal);

BOOST_AUTO_TEST_SUITE(select_hash)

BOOST_AUTO_TEST_CASE(the_table_decides) {
  HashTable const table({3, 1, 0, 2, 2, 3}, 2, 4);
  auto const selection = table.selection<2>();
  std::vector<float> const any{9, 1, 2, 3};
  BOOST_TEST((choose(selection, any, 0) == reference::Ids{3, 1}));
  BOOST_TEST((choose(selection, any, 2) == reference::Ids{2, 3}));
  BOOST_TEST(choose(selection, any, 3).empty());
  BOOST_TEST(choose(selection, any, -1).empty());
  BOOST_CHECK_THROW(selection.check(5), ShapeError);
  BOOST_CHECK_THROW((HashLayer<3>{table.rows(), 4}.check(4)), ShapeError);
  BOOST_CHECK_THROW(HashLayer<2>{}.check(4), ShapeError);
}

BOOST_AUTO_TEST_CASE(weights_of_the_paper_and_of_deepseek_v4) {
  std::vector<float> const z{1, -1, 0, 2};
  std::vector<Index> const tags{1};
  MatrixView<float const> const row(z.data(), 1, 4);
  HashTable const single({0, 2}, 1, 4);
  auto const hashed = Router{single.selection<1>(), SoftmaxOverChosen{}}.route(EigenExec{}, row, {.tags = tags});
  BOOST_TEST(hashed.expert_ids()(0, 0) == 2);
  BOOST_TEST(hashed.weights()(0, 0) == 1);
  HashTable const table({3, 1, 0, 2}, 2, 4);
  auto const routing =
      Router{table.selection<2>(), SqrtSoftplus{.scale = 1.5f}}.route(EigenExec{}, row, {.tags = tags});
  double const s0 = std::sqrt(std::log1p(std::exp(1.0))), s2 = std::sqrt(std::log(2.0));
  BOOST_TEST(routing.expert_ids()(0, 0) == 0);
  BOOST_TEST(std::abs(routing.weights()(0, 0) - 1.5 * s0 / (s0 + s2)) < 1e-6);
  BOOST_TEST(std::abs(routing.weights()(0, 1) - 1.5 * s2 / (s0 + s2)) < 1e-6);
}

BOOST_AUTO_TEST_CASE(contract) {
  auto const seventeen = HashTable::random(4, 3, 17), one = HashTable::by_id(4, 1, 1); // the tag 4 is out of the table
  BOOST_TEST(select_rows::keeps_the_contract(seventeen.selection<3>(), Softmax{}, 17, true));
  BOOST_TEST(select_rows::keeps_the_contract(one.selection<1>(), Softmax{}, 1, true));
}

BOOST_AUTO_TEST_SUITE_END()
