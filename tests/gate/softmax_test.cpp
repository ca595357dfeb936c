// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "gate/rows.hpp"

#include <moebal/gate/softmax.hpp>

#include <limits>

using namespace moebal;
using namespace gate_rows;

static_assert(std::is_trivially_copyable_v<Softmax> && std::is_aggregate_v<Softmax>);

BOOST_AUTO_TEST_SUITE(gate_softmax)

BOOST_AUTO_TEST_CASE(plain_probabilities_by_default) {
  reference::Row const p = reference::softmax(logits), w = weights(Softmax{}, logits, chosen);
  for (std::size_t k = 0; k < 3; ++k) BOOST_TEST(std::abs(w[k] - p[std::size_t(chosen[k])]) < 1e-15);
  BOOST_TEST(close(balance(Softmax{}, logits), p, 1e-15));
  BOOST_TEST(close(balance(SoftmaxOverChosen{}, logits), p, 1e-15));
  BOOST_TEST(std::abs(weights(Softmax{.normalise = Normalise::OverChosen}, logits, {2})[0] - 1) < 1e-15); // Mixtral
  double const raw =
      weights(Softmax{.normalise = Normalise::OverChosen, .single_choice = SingleChoice::Raw}, logits, {2})[0];
  BOOST_TEST(std::abs(raw - p[2]) < 1e-15); // Megatron
}

BOOST_AUTO_TEST_CASE(renormalised_and_over_the_chosen_are_one) {
  reference::Row const a = weights(Softmax{.normalise = Normalise::OverChosen, .scale = 2}, logits, chosen),
                       b = weights(SoftmaxOverChosen{.scale = 2}, logits, chosen);
  BOOST_TEST((a == b));
  double sum = 0;
  for (double w : a) sum += w;
  BOOST_TEST(std::abs(sum - 2) < 1e-15);
  BOOST_TEST((weights_gradient(Softmax{.normalise = Normalise::OverChosen}, logits, chosen, pulls) ==
              weights_gradient(SoftmaxOverChosen{}, logits, chosen, pulls)));
}

BOOST_AUTO_TEST_CASE(large_logits_neither_overflow_nor_shift) {
  reference::Row shifted = logits;
  for (double& z : shifted) z += 4096; // exact in fp32 for none of them, in double for all
  BOOST_TEST(close(weights(Softmax{}, shifted, chosen), weights(Softmax{}, logits, chosen), 1e-11));
  for (double w : weights<float>(Softmax{}, {3e38, -3e38, 0}, {0, 1, 2})) BOOST_TEST(std::isfinite(w));
}

BOOST_AUTO_TEST_CASE(gradients) {
  reference::Gate const none{.score = reference::Score::Softmax};
  BOOST_TEST(close(weights_gradient(Softmax{}, logits, chosen, pulls),
                   reference::weights_gradient(none, logits, chosen, pulls), 1e-13));
  reference::Gate const over{.score = reference::Score::Softmax, .normalise = true};
  BOOST_TEST(close(weights_gradient(Softmax{.normalise = Normalise::OverChosen}, logits, chosen, pulls),
                   reference::weights_gradient(over, logits, chosen, pulls), 1e-13));
  reference::Gate const epsilon{.score = reference::Score::Softmax, .normalise = true, .epsilon = double(0.1f)};
  BOOST_TEST(
      close(weights_gradient(Softmax{.normalise = Normalise::OverChosen, .epsilon = 0.1f}, logits, chosen, pulls),
            reference::weights_gradient(epsilon, logits, chosen, pulls), 1e-13));
  BOOST_TEST(close(balance_gradient(Softmax{}, logits, slopes),
                   reference::normalised_scores_gradient(none.score, logits, slopes), 1e-13));
}

BOOST_AUTO_TEST_SUITE_END()
