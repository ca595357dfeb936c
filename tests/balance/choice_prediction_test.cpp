// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/maps.hpp"
#include "support/inputs.hpp"

#include <moebal/balance/choice_prediction.hpp>
#include <moebal/moebal.hpp>

using namespace moebal;
using namespace maps;
namespace tt = boost::test_tools;

BOOST_AUTO_TEST_SUITE(balance_choice_prediction)

// -ln sigmoid(p) of what is chosen, -ln (1 - sigmoid(p)) of the rest: sigmoid(ln 3) = 3/4, sigmoid(-ln 3) = 1/4.
BOOST_AUTO_TEST_CASE(by_hand) {
  double const l = std::log(3.0);
  std::vector<double> const p{l, -l, 0, l, -l, 0, l, -l, 0};
  std::vector<ExpertId> const ids{0, no_expert, 1, 2, 0, 1};
  std::vector<std::uint8_t> const padding{0, 0, 1};
  std::vector<double> losses(3, 9);
  choice_predictions_into(EigenExec{}, moebal_test::matrix(p, 3, 3), MatrixView<ExpertId const>(ids.data(), 3, 2),
                          padding, VectorView<double>(losses));
  BOOST_TEST(losses[0] == -2 * std::log(0.75) - std::log(0.5), tt::tolerance(1e-14));
  BOOST_TEST(losses[1] == -2 * std::log(0.25) - std::log(0.5), tt::tolerance(1e-14));
  BOOST_TEST(losses[2] == 0.0);
}

BOOST_AUTO_TEST_CASE(gradient) {
  for (auto const [T, E] : shapes) {
    if (T > 20) continue;
    auto p = random_matrix<double>(T, E, 1, 2);
    auto const routing = Router{TopK<1>{}, Softmax{}}.route(EigenExec{}, random_matrix<double>(T, E, 2).view());
    auto const padding = moebal_test::padding_of(T);
    auto const loss = [&] {
      std::vector<double> losses(std::size_t(T), 9.0);
      choice_predictions_into(EigenExec{}, p.view(), routing.expert_ids(), padding, VectorView<double>(losses));
      double sum = 0;
      for (double const l : losses) sum += l;
      return 0.01 * sum;
    };
    Matrix<double> d(T, E);
    choice_predictions_backward_into(EigenExec{}, p.view(), routing.expert_ids(), padding, 0.01, d.view());
    BOOST_TEST(gradient_error(p.values, d.values, loss) < 1e-6);
  }
}

BOOST_AUTO_TEST_CASE(the_same_bits_for_any_number_of_threads) {
  auto const p = random_matrix<float>(4097, 60, 1, 2);
  auto const routing = Router{TopK<3>{}, Softmax{}}.route(EigenExec{}, p.view());
  std::vector<float> one(4097), three(4097);
  choice_predictions_into(EigenExec{}, p.view(), routing.expert_ids(), {}, VectorView<float>(one));
  choice_predictions_into(EigenExec{&pool()}.on_every_thread(), p.view(), routing.expert_ids(), {}, VectorView<float>(three));
  BOOST_TEST((one == three));
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  Matrix<float> p(4, 3), wrong(4, 2);
  std::vector<ExpertId> const ids(8);
  std::vector<float> few(3);
  std::vector<std::uint8_t> const padding(3);
  MatrixView<ExpertId const> const fits(ids.data(), 4, 2), short_ids(ids.data(), 3, 2);
  std::vector<float> losses(4);
  auto const forward = [&](auto view, VectorView<std::uint8_t const> pad, std::vector<float>& to) {
    choice_predictions_into(EigenExec{}, p.view(), view, pad, VectorView<float>(to));
  };
  BOOST_CHECK_THROW(forward(short_ids, {}, losses), ShapeError);
  BOOST_CHECK_THROW(forward(fits, padding, losses), ShapeError);
  BOOST_CHECK_THROW(forward(fits, {}, few), ShapeError);
  BOOST_CHECK_THROW(choice_predictions_backward_into(EigenExec{}, p.view(), fits, {}, 1, wrong.view()), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
