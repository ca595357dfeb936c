// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The harness' values in the words of the reference, and the options of gates worth trying.

#include "contracts/harness.hpp"
#include "reference/reference.hpp"

#include <sstream>

namespace contracts {

inline reference::Gate reference_gate(Gate const& gate) {
  using namespace moebal;
  return std::visit(
      [](auto const& g) {
        using G = std::remove_cvref_t<decltype(g)>;
        reference::Gate r;
        r.scale = double(g.scale);
        if constexpr (std::same_as<G, SoftmaxOverChosen>) {
          r.score = reference::Score::SoftmaxOverChosen;
        } else {
          r.score = std::same_as<G, Softmax>   ? reference::Score::Softmax
                    : std::same_as<G, Sigmoid> ? reference::Score::Sigmoid
                                               : reference::Score::SqrtSoftplus;
          r.normalise = g.normalise == Normalise::OverChosen;
          r.single_choice_raw = g.single_choice == SingleChoice::Raw;
          r.epsilon = double(g.epsilon);
          r.epsilon_rule =
              g.epsilon_rule == EpsilonRule::Add ? reference::EpsilonRule::Add : reference::EpsilonRule::AtLeast;
        }
        return r;
      },
      gate);
}

template <class G> void add_options(std::vector<Gate>& all) {
  using namespace moebal;
  for (auto normalise : {Normalise::None, Normalise::OverChosen})
    for (auto single : {SingleChoice::Raw, SingleChoice::Normalised})
      for (float epsilon : {0.0f, 1e-20f, 0.05f, 40.0f})
        for (auto rule : {EpsilonRule::Add, EpsilonRule::AtLeast}) {
          if (normalise == Normalise::None &&
              (epsilon != 0 || rule == EpsilonRule::AtLeast || single == SingleChoice::Raw))
            continue;
          all.push_back(G{.normalise = normalise,
                          .single_choice = single,
                          .scale = 1.5f,
                          .epsilon = epsilon,
                          .epsilon_rule = rule});
        }
}
/// Every gate with every combination of its options that means something.
inline std::vector<Gate> gate_options() {
  std::vector<Gate> all{moebal::SoftmaxOverChosen{.scale = 2.5f}};
  add_options<moebal::Softmax>(all);
  add_options<moebal::Sigmoid>(all);
  add_options<moebal::SqrtSoftplus>(all);
  return all;
}
inline std::string describe(Gate const& gate) {
  reference::Gate const r = reference_gate(gate);
  std::ostringstream s;
  s << gate_names[gate.index()] << "{normalise " << r.normalise << ", raw " << r.single_choice_raw << ", epsilon "
    << (r.epsilon_rule == reference::EpsilonRule::Add ? "+ " : ">= ") << r.epsilon << "}";
  return s.str();
}

template <class T> reference::Row row_of(std::vector<T> const& x, Index columns, Index t) {
  return reference::Row(x.begin() + t * columns, x.begin() + (t + 1) * columns);
}
template <class Real> reference::Ids ids_of(Outcome<Real> const& r, Index t) {
  return reference::Ids(r.ids.begin() + t * r.top_k, r.ids.begin() + (t + 1) * r.top_k);
}

} // namespace contracts
