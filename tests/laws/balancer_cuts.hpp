// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One optimizer step on R thread ranks, and what it ought to give: losses of sets of tokens, with plain loops.

#include "balance/synthetic.hpp"

#include <moebal/balancer.hpp>
#include <moebal/comm/threads.hpp>

#include <functional>

namespace cuts {

using namespace moebal;
using Row = std::vector<double>;

/// Squared coefficient of variation of the pooled score sums: a loss that is not linear in the scores (Shazeer's
/// importance).
struct CvSquared {
  using needs = stats::List<stats::ScoreSums>;
  using pooled = stats::List<stats::ScoreSums>;
  static constexpr char const* name = "cv_squared";
  double weight = 0.5;

  double slope(Window<needs, pooled> const& window, Index expert) const {
    double const mean = mean_of(window);
    if (mean == 0) return 0;
    double const off = (window.load_mean_score(expert) - mean) / mean;
    return 2 * weight / (double(window.experts()) * mean) * (off - cv_squared(window)) * window.token_weight();
  }
  double value(Window<needs, pooled> const& window) const { return weight * cv_squared(window) * window.share(); }

private:
  static double mean_of(Window<needs, pooled> const& window) {
    double sum = 0;
    for (Index e = 0; e < window.experts(); ++e) sum += window.load_mean_score(e);
    return sum / double(window.experts());
  }
  static double cv_squared(Window<needs, pooled> const& window) {
    double const mean = mean_of(window);
    double sum = 0;
    for (Index e = 0; e < window.experts(); ++e)
      sum += (window.load_mean_score(e) - mean) * (window.load_mean_score(e) - mean);
    return mean == 0 ? 0 : sum / double(window.experts()) / (mean * mean);
  }
};
static_assert(loss_rule<CvSquared>);

/// Loss of a rule whose load window and score window hold these tokens.
using Loss = std::function<double(std::vector<synthetic::Token> const& loads,
                                  std::vector<synthetic::Token> const& scores, Index experts)>;

template <Choices choices, CountSource source> Loss loss_of(SwitchLoss<choices, source> rule) {
  return [rule](auto const& loads, auto const& scores, Index experts) {
    if (loads.empty() || scores.empty()) return 0.0;
    Row count(std::size_t(experts), 0), score(std::size_t(experts), 0);
    double divisor = 1;
    for (auto const& t : loads) {
      auto const& ids = source == CountSource::Routed ? t.chosen : t.unbiased;
      for (std::size_t k = 0; k < (choices == Choices::All ? ids.size() : 1); ++k) count[std::size_t(ids[k])] += 1;
      if (choices == Choices::All && rule.divide_by == DivideBy::TopK) divisor = double(ids.size());
    }
    for (auto const& t : scores)
      for (std::size_t e = 0; e < score.size(); ++e) score[e] += double(t.scores[e]) * 0x1p-32;
    double sum = 0;
    for (std::size_t e = 0; e < score.size(); ++e)
      sum += count[e] / divisor / double(loads.size()) * score[e] / double(scores.size());
    return rule.coefficient * double(experts) * sum;
  };
}
inline Loss loss_of(ZLoss rule) {
  return [rule](auto const&, auto const& scores, Index) {
    double sum = 0;
    for (auto const& t : scores) sum += t.square;
    return scores.empty() ? 0.0 : rule.coefficient * sum / double(scores.size());
  };
}
inline Loss loss_of(CvSquared rule) {
  return [rule](auto const& loads, auto const&, Index experts) {
    Row score(std::size_t(experts), 0);
    double mean = 0, squares = 0;
    for (auto const& t : loads)
      for (std::size_t e = 0; e < score.size(); ++e) score[e] += double(t.scores[e]);
    for (double const s : score) mean += s / double(experts);
    for (double const s : score) squares += (s - mean) * (s - mean) / double(experts);
    return mean == 0 ? 0.0 : rule.weight * squares / (mean * mean);
  };
}
inline Loss loss_of(LossFreeBias) {
  return [](auto const&, auto const&, Index) { return 0.0; };
}

/// Micro-batch by micro-batch, the tokens that are summed as one: of sequence s of rank j, or further as the scope
/// says.
template <class Scope>
std::vector<synthetic::Sequence> stream(synthetic::Step const& step, std::size_t j, std::size_t s) {
  std::vector<synthetic::Sequence> all(step[j].size());
  for (std::size_t g = 0; g < all.size(); ++g)
    for (std::size_t rank = 0; rank < step.size(); ++rank)
      for (std::size_t i = 0; i < step[rank][g].size(); ++i)
        if ((Scope::over_ranks || rank == j) && (!Scope::per_sequence || i == s))
          all[g].insert(all[g].end(), step[rank][g][i].begin(), step[rank][g][i].end());
  return all;
}
inline synthetic::Sequence join(std::vector<synthetic::Sequence> const& stream, std::size_t first, std::size_t end) {
  synthetic::Sequence all;
  for (std::size_t g = first; g < end; ++g) all.insert(all.end(), stream[g].begin(), stream[g].end());
  return all;
}
/// Tokens of the load window of micro-batch g.
template <class Scope> synthetic::Sequence reached(std::vector<synthetic::Sequence> const& stream, std::size_t g) {
  if (Scope::accumulate == Accumulate::None) return stream[g];
  return join(stream, 0, Scope::accumulate == Accumulate::Running ? g + 1 : stream.size());
}

/// The loss of the step over all ranks.
template <class Scope> double step_loss(synthetic::Step const& step, Loss const& loss, Index experts) {
  double sum = 0;
  for (std::size_t j = 0; j < step.size(); ++j) {
    std::size_t const streams = Scope::per_sequence ? step[j][0].size() : 1;
    for (std::size_t s = 0; s < streams; ++s) {
      auto const tokens = stream<Scope>(step, j, s);
      std::size_t const parts = Scope::accumulate == Accumulate::TwoPass ? 1 : tokens.size();
      for (std::size_t g = 0; g < parts; ++g) {
        auto const loads = reached<Scope>(tokens, g);
        auto const scores = Scope::accumulate == Accumulate::TwoPass ? loads : tokens[g];
        sum += loss(loads, scores, experts) / double(parts * streams * step.size());
      }
    }
  }
  return sum;
}

/// What one rank saw; windows in the layout of `pooled`.
struct Seen {
  double loss = 0;
  std::vector<std::vector<Row>> slopes;                                // [G][S][E]
  std::vector<Row> z_slopes;                                           // [G][S]
  std::vector<std::vector<std::vector<std::int64_t>>> windows, scores; // [G][windows]
  std::vector<float> bias;
};

template <class Scope, class Rule>
std::vector<Seen> run(synthetic::Step const& step, Scope scope, Rule rule, BalancerShape shape, bool again = false) {
  std::vector<Seen> ranks(step.size());
  run_ranks(Index(step.size()), [&](Communicator<Threads> comm) {
    auto const& mine = step[std::size_t(comm.rank())];
    Seen& seen = ranks[std::size_t(comm.rank())];
    Balancer balancer{scope, rule, shape, comm};
    using B = decltype(balancer);
    constexpr bool late = Scope::accumulate == Accumulate::TwoPass;
    auto const ask = [&](std::size_t g) {
      if (again) balancer.observe(Index(g), synthetic::load_of(mine[g], shape.experts)); // a recomputed forward pass
      auto const terms = balancer.terms(Index(g));
      seen.loss += terms.loss;
      std::vector<Row> slopes;
      for (Index s = 0; s < terms.slopes.rows(); ++s)
        slopes.emplace_back(terms.slopes.row(s), terms.slopes.row(s) + shape.experts);
      seen.slopes.push_back(slopes);
      seen.z_slopes.emplace_back(terms.z_slopes.begin(), terms.z_slopes.end());
      if constexpr (B::has_loss) {
        std::vector<std::vector<std::int64_t>> windows, scores;
        for (Index w = 0; w < (Scope::per_sequence ? Index(mine[g].size()) : 1); ++w) {
          auto const window = balancer.window(Index(g), w);
          std::vector<std::int64_t> loads{window.load_tokens()}, sums{window.score_tokens()};
          auto const gather = [&]<class... P, class... N>(stats::List<P...>, stats::List<N...>) {
            (loads.insert(loads.end(), window.template load_data<P>(),
                          window.template load_data<P>() + P::slots(shape.experts)),
             ...);
            (sums.insert(sums.end(), window.template score_data<N>(),
                         window.template score_data<N>() + N::slots(shape.experts)),
             ...);
          };
          gather(typename B::pooled{}, typename B::needs{});
          windows.push_back(loads);
          scores.push_back(sums);
        }
        seen.windows.push_back(windows);
        seen.scores.push_back(scores);
      }
    };
    balancer.begin_step(Index(mine.size()));
    for (std::size_t g = 0; g < mine.size(); ++g) {
      balancer.observe(Index(g), synthetic::load_of(mine[g], shape.experts));
      if (!late) ask(g);
    }
    if (late)
      for (std::size_t g = 0; g < mine.size(); ++g) ask(g);
    balancer.end_step();
    seen.bias.assign(balancer.bias().begin(), balancer.bias().end());
  });
  return ranks;
}

/// Tokens over G micro-batches, each over R ranks, each over S sequences; every place is random, many are empty.
inline synthetic::Step deal(std::vector<synthetic::Token> const& all, Index ranks, Index micro_batches, Index sequences,
                            std::mt19937_64& random) {
  synthetic::Step step;
  step.assign(std::size_t(ranks), synthetic::Rank(std::size_t(micro_batches), synthetic::MicroBatch{}));
  auto const batches = synthetic::cut(all, micro_batches, random);
  for (std::size_t g = 0; g < batches.size(); ++g) {
    auto const parts = synthetic::cut(batches[g], ranks, random);
    for (std::size_t j = 0; j < parts.size(); ++j) step[j][g] = synthetic::cut(parts[j], sequences, random);
  }
  return step;
}

/// Calls f(scope) for each scope with each accumulation.
template <class F> void each_scope(F const& f) {
  f(Sequence<>{}), f(Sequence<Accumulate::Running>{}), f(Sequence<Accumulate::TwoPass>{});
  f(MicroBatch<>{}), f(MicroBatch<Accumulate::Running>{}), f(MicroBatch<Accumulate::TwoPass>{});
  f(GlobalBatch<>{}), f(GlobalBatch<Accumulate::Running>{}), f(GlobalBatch<Accumulate::TwoPass>{});
}

inline double relative(double a, double b) { return a == b ? 0 : std::abs(a - b) / std::max(std::abs(a), std::abs(b)); }

} // namespace cuts
