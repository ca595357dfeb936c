// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/execution.hpp"
#include "../core/random.hpp"
#include "../core/routing.hpp"
#include "rounds.hpp"
#include "selection.hpp"

namespace moebal {

/// When the second expert of a token is kept, by its share g2 = p2 / (p1 + p2 + 1e-9) of the pair (Mesh-TensorFlow's
/// names).
enum class SecondPolicy {
  All,       // always
  None,      // never
  Threshold, // if g2 > threshold
  Random, // if U < g2 / threshold, U uniform: always from the threshold on. fairscale's 2 g2 > U is a threshold of 0.5
};

/// GShard's top-2 with a second expert that may be left out (arXiv 2006.16668; policies of Mesh-TensorFlow, threshold
/// 0.2 as there for training and evaluation). U is drawn from (seed, first + t) alone. With Softmax, scores being
/// positive and a bias none. Weights: Softmax{.normalise = Normalise::OverChosen} divides by the kept pair, so that a
/// lone first expert has weight 1 (DeepSpeed divides after dropping). To divide before (Mesh-TensorFlow), route with
/// TopK<2> and call drop_second_into on the result. Cost: all E probabilities, two rounds over the row. Nothing is
/// communicated. Gradient: through the weights of what is kept.
struct SecondExpert {
  static constexpr Index top_k = 2;
  static constexpr bool causal = true;
  static constexpr bool needs_keys = true;
  static constexpr bool needs_scores = true;

  SecondPolicy policy = SecondPolicy::Random;
  float threshold = 0.2f;
  std::uint64_t seed = 0; // change it at every step
  Index first = 0;        // the number of this call's first token in its step, so that cutting a batch changes nothing

  void check(Index experts) const { require_at_least("E of SecondExpert", 2, experts); }
  MOEBAL_FN static constexpr Index scratch_words(Index) { return 0; }

  /// Whether token t keeps a second expert of score p2 beside p1.
  template <class Real> MOEBAL_FN bool keeps(Index t, Real p1, Real p2) const {
    if (policy == SecondPolicy::All) return true;
    if (policy == SecondPolicy::None) return false;
    double const share = double(p2) / (double(p1) + double(p2) + 1e-9);
    if (policy == SecondPolicy::Threshold) return share > double(threshold);
    return random::uniform(seed, std::uint64_t(first + t)) < share / double(threshold);
  }

  template <class Real, class Lanes>
  MOEBAL_FN Index choose(Lanes lanes, select::Candidates<Real> row, ExpertId* ids) const {
    Real score[2] = {};
    select::best_first(lanes, static_cast<rank_word_t<Real> const*>(row.words), row.experts, top_k,
                       [&](Index k, rank_word_t<Real> word) {
                         lanes.once([=] { ids[k] = id_of(word); });
                         score[k] = row.values[id_of(word)];
                       });
    return keeps(row.token, score[0], score[1]) ? 2 : 1;
  }
};
static_assert(row_selection<SecondExpert>);

namespace detail {
template <class Real, class M> struct DropSecond {
  SecondExpert rule;
  RoutingView<Real, M> routing;
  MOEBAL_FN void operator()(Index t) const {
    if (routing.expert_ids(t, 1) < 0 || rule.keeps(t, routing.weights(t, 0), routing.weights(t, 1))) return;
    routing.expert_ids(t, 1) = no_expert;
    routing.weights(t, 1) = 0;
  }
};
} // namespace detail

/// Takes the second expert away from the tokens of a routing [T, 2] that the rule does not let keep it; the first
/// keeps its weight. The choices are the same as SecondExpert's, weights being any positive multiple of the scores.
template <execution Exec, class Real, class M>
void drop_second_into(Exec const& exec, SecondExpert rule, RoutingView<Real, M> routing) {
  require_equal("expert_ids [T, 2], columns", 2, routing.expert_ids.cols());
  require_equal("weights [T, 2], columns", 2, routing.weights.cols());
  require_equal("weights [T, 2], rows", routing.expert_ids.rows(), routing.weights.rows());
  exec.for_each(routing.expert_ids.rows(), detail::DropSecond<Real, M>{rule, routing});
}

} // namespace moebal
