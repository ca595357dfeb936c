// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every gate keeps the laws of gates.
#include "support/test.hpp"

#include "laws/lawful.hpp"

#include <moebal/gate/raw_balance.hpp>
#include <moebal/gate/relu.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/gate/sqrt_softplus.hpp>
#include <moebal/laws/gate.hpp>

using namespace moebal;

namespace {

template <class Gate> void check(char const* name, Gate gate, laws::Shapes const& shapes = lawful::everywhere()) {
  lawful::expect(name, laws::check_gate(gate, shapes));
}

/// As it comes, and with every option that changes a weight.
template <class Gate> void check_options(char const* name) {
  check(name, Gate{});
  for (auto const normalise : {Normalise::None, Normalise::OverChosen})
    for (auto const single : {SingleChoice::Raw, SingleChoice::Normalised})
      for (float const epsilon : {0.0f, 0.05f, 40.0f})
        for (auto const rule : {EpsilonRule::Add, EpsilonRule::AtLeast})
          check(name,
                Gate{.normalise = normalise,
                     .single_choice = single,
                     .scale = 1.5f,
                     .epsilon = epsilon,
                     .epsilon_rule = rule},
                {.tokens = {7}, .experts = {1, 8}});
}

} // namespace

BOOST_AUTO_TEST_SUITE(laws_every_gate)

BOOST_AUTO_TEST_CASE(softmax) { check_options<Softmax>("Softmax"); }
BOOST_AUTO_TEST_CASE(softmax_over_chosen) { check("SoftmaxOverChosen", SoftmaxOverChosen{.scale = 2.5f}); }
BOOST_AUTO_TEST_CASE(sigmoid) { check_options<Sigmoid>("Sigmoid"); }
BOOST_AUTO_TEST_CASE(sqrt_softplus) { check_options<SqrtSoftplus>("SqrtSoftplus"); }
BOOST_AUTO_TEST_CASE(relu) { check_options<ReLU>("ReLU"); }
BOOST_AUTO_TEST_CASE(raw_balance) {
  check("RawBalance<ReLU>", RawBalance{ReLU{}});
  check("RawBalance<Sigmoid>", RawBalance{Sigmoid{}});
}

BOOST_AUTO_TEST_SUITE_END()
