// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a balancing rule sees: integer sums over two sets of tokens, and nothing else. The load window is as wide as the
// scope; the score window holds the tokens whose gradient is wanted.

#include "../stats/counts.hpp"
#include "../stats/load.hpp"
#include "../stats/log_sum_exp_squares.hpp"
#include "../stats/score_sums.hpp"

#include <type_traits>

namespace moebal {

namespace detail {
/// Place of S in a list of statistics.
template <class S, class... Statistic> MOEBAL_FN constexpr Index place_of() {
  Index at = 0;
  bool found = false;
  ((found = found || std::same_as<S, Statistic>, at += found ? 0 : 1), ...);
  return at;
}
} // namespace detail

/// The sums that a rule is a function of, in memory that somebody else owns. Trivially copyable.
/// Needs: the statistics that are collected; Pooled: those among them that are summed over the scope.
template <class Needs, class Pooled> class Window;

template <class... Needed, class... Pooled> class Window<stats::List<Needed...>, stats::List<Pooled...>> {
  using Needs = stats::List<Needed...>;
  using Pool = stats::List<Pooled...>;
  static_assert((Needs::template has<Pooled> && ...),
                "moebal: a rule pools a statistic that it does not need: add it to needs");

public:
  Window() = default;
  /// top_k: K. scores: one row, the score window. loads: one row, the load window, in memory that whoever makes the window
  /// reads. token_weight, share, score_unit: below.
  template <class Memory>
  MOEBAL_FN Window(Index top_k, LoadView<Needs, Memory> scores, LoadView<Pool, Memory> loads, double token_weight,
                   double share, double score_unit)
      : experts_(scores.experts()), top_k_(top_k), load_tokens_(loads.tokens()), score_tokens_(scores.tokens()),
        token_weight_(token_weight), share_(share),
        score_unit_(score_unit), scores_{scores.template get<Needed>().data()...},
        loads_{loads.template get<Pooled>().data()...}, totals_{sum_of(loads.template get<Pooled>())...} {}
  /// From the window of several rules: what one of them named.
  template <class WiderNeeds, class WiderPool>
  requires(!std::same_as<Window<WiderNeeds, WiderPool>, Window> && (WiderNeeds::template has<Needed> && ...) &&
           (WiderPool::template has<Pooled> && ...)) MOEBAL_FN Window(Window<WiderNeeds, WiderPool> const& wide)
      : experts_(wide.experts()), top_k_(wide.top_k()), load_tokens_(wide.load_tokens()),
        score_tokens_(wide.score_tokens()), token_weight_(wide.token_weight()), share_(wide.share()),
        score_unit_(wide.score_unit()), step_(wide.step()), scores_{wide.template score_data<Needed>()...},
        loads_{wide.template load_data<Pooled>()...}, totals_{wide.template load_total<Pooled>()...} {}

  MOEBAL_FN Index experts() const { return experts_; } // E
  MOEBAL_FN Index top_k() const { return top_k_; }     // K

  /// Tokens of the load window.
  MOEBAL_FN std::int64_t load_tokens() const { return load_tokens_; }
  /// Element i of a pooled statistic, e.g. load<stats::Counts>(expert).
  template <class S> MOEBAL_FN std::int64_t load(Index i) const { return load_data<S>()[i]; }
  /// Sum of the elements of a pooled statistic.
  template <class S> MOEBAL_FN std::int64_t load_total() const { return totals_[load_place<S>()]; }
  /// Mean normalised score of an expert over the load window, where score sums are pooled; 0 without tokens.
  MOEBAL_FN double load_mean_score(Index expert) const {
    return load_tokens_ == 0 ? 0 : double(load<stats::ScoreSums>(expert)) * score_unit_ / double(load_tokens_);
  }

  /// Tokens of the score window on this rank.
  MOEBAL_FN std::int64_t score_tokens() const { return score_tokens_; }
  /// Sum of an expert's normalised scores over the score window.
  MOEBAL_FN double score_sum(Index expert) const {
    return double(score_data<stats::ScoreSums>()[expert]) * score_unit_;
  }
  /// Sum of logsumexp(logits)^2 over the score window.
  MOEBAL_FN double square_sum() const {
    std::int64_t const* const s = score_data<stats::LogSumExpSquares>();
    return double(s[0]) + double(s[1]) / stats::square_one; // a power of two: exact, so contraction changes nothing
  }

  /// What one token of the score window weighs in the mean that the loss is made of: 1 / tokens, with the factors
  /// that make the terms of sequences, micro-batches and ranks add up. d loss / d score_sum = d loss / d mean_score *
  /// token_weight.
  MOEBAL_FN double token_weight() const { return token_weight_; }
  /// For a loss that is not a sum over the tokens of the score window: the part of it that this score window reports.
  MOEBAL_FN double share() const { return share_; }
  /// Steps that the balancer has closed before this one: what a schedule is a function of.
  MOEBAL_FN std::int64_t step() const { return step_; }
  /// Element i of the rule's own state (stateful_rule).
  MOEBAL_FN float state(Index i) const { return state_[i]; }
  MOEBAL_FN float const* state_data() const { return state_; }
  MOEBAL_FN Window& at_step(std::int64_t step) {
    step_ = step;
    return *this;
  }
  MOEBAL_FN Window& with_state(float const* state) {
    state_ = state;
    return *this;
  }

  /// Value of 1 in a score sum as it is stored.
  MOEBAL_FN double score_unit() const { return score_unit_; }

  template <class S>
  requires(Pool::template has<S>) MOEBAL_FN std::int64_t const* load_data() const { return loads_[load_place<S>()]; }
  template <class S>
  requires(Needs::template has<S>) MOEBAL_FN std::int64_t const* score_data() const {
    return scores_[detail::place_of<S, Needed...>()];
  }

private:
  template <class S> MOEBAL_FN static constexpr Index load_place() { return detail::place_of<S, Pooled...>(); }
  template <class Memory> MOEBAL_FN static std::int64_t sum_of(VectorView<std::int64_t, Memory> values) {
    std::int64_t sum = 0;
    for (std::int64_t const v : values) sum += v;
    return sum;
  }

  Index experts_ = 0;
  Index top_k_ = 0;
  std::int64_t load_tokens_ = 0;
  std::int64_t score_tokens_ = 0;
  double token_weight_ = 0;
  double share_ = 0;
  double score_unit_ = 0;
  std::int64_t step_ = 0;
  float const* state_ = nullptr;
  std::int64_t const* scores_[sizeof...(Needed) + 1] = {};
  std::int64_t const* loads_[sizeof...(Pooled) + 1] = {};
  std::int64_t totals_[sizeof...(Pooled) + 1] = {};
};
static_assert(std::is_trivially_copyable_v<Window<stats::List<stats::Counts>, stats::None>>);

} // namespace moebal
