// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Everything that the library promises, once more: in double, slowly, with plain loops over std::vector, from the
// formulas and not from the library. It includes no header of the library, so that no mistake can be shared.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <vector>

namespace reference {

using Row = std::vector<double>;
using Ids = std::vector<int>;

/// [rows, cols], row after row.
struct Matrix {
  std::size_t rows = 0, cols = 0;
  std::vector<double> data;

  Matrix() = default;
  Matrix(std::size_t r, std::size_t c, double value = 0) : rows(r), cols(c), data(r * c, value) {}
  template <class T>
  Matrix(T const* values, std::size_t r, std::size_t c) : rows(r), cols(c), data(values, values + r * c) {}
  double& operator()(std::size_t r, std::size_t c) { return data[r * cols + c]; }
  double operator()(std::size_t r, std::size_t c) const { return data[r * cols + c]; }
  Row row(std::size_t r) const { return Row(data.begin() + long(r * cols), data.begin() + long((r + 1) * cols)); }
};

// -------------------- score functions

inline double sigmoid(double z) {
  if (z >= 0) return 1 / (1 + std::exp(-z));
  double const e = std::exp(z);
  return e / (1 + e);
}
inline double softplus(double z) { return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))); }
/// sqrt(log(1 + e^z)); for very negative z the root is taken in the exponent, where nothing underflows.
inline double sqrt_softplus(double z) { return z < -40 ? std::exp(z / 2) : std::sqrt(softplus(z)); }
inline double sigmoid_slope(double z) { return sigmoid(z) * sigmoid(-z); }
inline double sqrt_softplus_slope(double z) {
  return z < -40 ? std::exp(z / 2) / 2 : sigmoid(z) / (2 * sqrt_softplus(z));
}

inline double log_sum_exp(Row const& z) {
  double top = -std::numeric_limits<double>::infinity();
  for (double x : z) {
    if (std::isnan(x)) return x;
    top = std::max(top, x);
  }
  if (std::isinf(top)) return top;
  double sum = 0;
  for (double x : z) sum += std::exp(x - top);
  return top + std::log(sum);
}
inline Row softmax(Row const& z) {
  double top = -std::numeric_limits<double>::infinity();
  for (double x : z) top = std::max(top, x);
  Row p(z.size());
  double sum = 0;
  for (std::size_t i = 0; i < z.size(); ++i) sum += p[i] = std::exp(z[i] - top);
  for (double& x : p) x /= sum;
  return p;
}

enum class Score { Softmax, SoftmaxOverChosen, Sigmoid, SqrtSoftplus };
enum class EpsilonRule { Add, AtLeast };

struct Gate {
  Score score = Score::Softmax;
  bool normalise = false;        // divide by the sum over the chosen
  bool single_choice_raw = true; // K = 1 gives the score itself although normalise is set
  double scale = 1;
  double epsilon = 0;
  EpsilonRule epsilon_rule = EpsilonRule::Add;
};

inline bool element_wise(Score s) { return s == Score::Sigmoid || s == Score::SqrtSoftplus; }

/// What selection ranks and, except for SoftmaxOverChosen (whose score is the logit), what weights are made of.
inline Row scores(Score score, Row const& z) {
  Row s(z);
  if (score == Score::Softmax) return softmax(z);
  if (score == Score::Sigmoid) std::transform(z.begin(), z.end(), s.begin(), sigmoid);
  if (score == Score::SqrtSoftplus) std::transform(z.begin(), z.end(), s.begin(), sqrt_softplus);
  return s;
}

/// A row's normalised scores q: softmax over all experts, or s / (sum of all s + 1e-20).
inline Row normalised_scores(Score score, Row const& z) {
  if (!element_wise(score)) return softmax(z);
  Row q = scores(score, z);
  double const sum = std::accumulate(q.begin(), q.end(), 0.0) + 1e-20;
  for (double& x : q) x /= sum;
  return q;
}

// -------------------- selection

/// Indices by descending key; equal keys: the lower index first; NaN after everything else.
inline Ids ranking(Row const& keys) {
  Ids order(keys.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    if (std::isnan(keys[std::size_t(a)])) return false;
    return std::isnan(keys[std::size_t(b)]) || keys[std::size_t(a)] > keys[std::size_t(b)];
  });
  return order;
}
/// The K best, best first.
inline Ids top_k(Row const& keys, std::size_t k) {
  Ids order = ranking(keys);
  order.resize(k);
  return order;
}

struct Groups {
  std::size_t groups = 1;
  std::size_t kept = 1;
  std::size_t sum_of = 2; // a group is worth the sum of its best sum_of keys; 1: its maximum
};

/// What each group is worth. A NaN member counts as -inf; a group of NaN alone is worth NaN, which ranks last.
inline Row group_worths(Row const& keys, Groups const& g) {
  std::size_t const size = keys.size() / g.groups;
  Row worth(g.groups, 0);
  for (std::size_t i = 0; i < g.groups; ++i) {
    Row members(keys.begin() + long(i * size), keys.begin() + long((i + 1) * size));
    Ids const best = top_k(members, std::min(g.sum_of, size));
    bool const only_nan = std::isnan(members[std::size_t(best[0])]);
    for (double& m : members)
      if (std::isnan(m) && !only_nan) m = -std::numeric_limits<double>::infinity();
    for (int m : best) worth[i] += members[std::size_t(m)];
  }
  return worth;
}

/// The groups that may be chosen from, in ascending order.
inline Ids kept_groups(Row const& keys, Groups const& g) {
  Row const worth = group_worths(keys, g);
  Ids kept = top_k(worth, g.kept);
  std::sort(kept.begin(), kept.end());
  return kept;
}

/// The K best by `keys` among the experts of the groups that are best by `group_keys`.
inline Ids group_limited_top_k(Row const& keys, Row const& group_keys, std::size_t k, Groups const& g) {
  std::size_t const size = keys.size() / g.groups;
  Ids experts;
  for (int group : kept_groups(group_keys, g))
    for (std::size_t i = 0; i < size; ++i) experts.push_back(int(std::size_t(group) * size + i));
  if (experts.size() < k) throw std::invalid_argument("the kept groups hold fewer than K experts");
  Row allowed;
  for (int e : experts) allowed.push_back(keys[std::size_t(e)]);
  Ids chosen;
  for (int i : top_k(allowed, k)) chosen.push_back(experts[std::size_t(i)]);
  return chosen;
}

/// The choices of one row. Without a bias the logit ranks (every score is monotone in it), with one score + bias does;
/// a group is always judged by its scores (+ bias).
inline Ids choose(Gate const& gate, Row const& z, Row const& bias, std::size_t k, Groups const* groups = nullptr) {
  Row judged = scores(gate.score, z);
  if (!bias.empty())
    for (std::size_t e = 0; e < z.size(); ++e) judged[e] += bias[e];
  Row const& keys = bias.empty() ? z : judged;
  return groups ? group_limited_top_k(keys, judged, k, *groups) : top_k(keys, k);
}

// -------------------- weights

inline bool divides(Gate const& gate, std::size_t k) { return gate.normalise && !(k == 1 && gate.single_choice_raw); }
inline double denominator(Gate const& gate, double sum) {
  return gate.epsilon_rule == EpsilonRule::Add ? sum + gate.epsilon : std::max(sum, gate.epsilon);
}

/// Combine weights of the chosen experts of one row, [K].
inline Row weights(Gate const& gate, Row const& z, Ids const& chosen) {
  Row const s = scores(gate.score, z);
  Row picked;
  for (int e : chosen) picked.push_back(s[std::size_t(e)]);
  bool const over_chosen = gate.score == Score::SoftmaxOverChosen;
  if (over_chosen) picked = softmax(picked);
  if (!over_chosen && divides(gate, chosen.size())) {
    if (gate.score == Score::Softmax && gate.epsilon == 0) { // the same number, and finite where the sum underflows
      Row logits;
      for (int e : chosen) logits.push_back(z[std::size_t(e)]);
      picked = softmax(logits);
    } else {
      double const below = denominator(gate, std::accumulate(picked.begin(), picked.end(), 0.0));
      for (double& w : picked) w /= below;
    }
  }
  for (double& w : picked) w *= gate.scale;
  return picked;
}

/// Multiplies d loss / d (softmax probabilities or scores) by the derivative of the scores: d loss / d logits of a row.
inline Row through_scores(Score score, Row const& z, Row const& d_scores) {
  Row d(z.size());
  if (!element_wise(score)) {
    Row const p = softmax(z);
    double mean = 0;
    for (std::size_t e = 0; e < z.size(); ++e) mean += p[e] * d_scores[e];
    for (std::size_t e = 0; e < z.size(); ++e) d[e] = p[e] * (d_scores[e] - mean);
  } else {
    for (std::size_t e = 0; e < z.size(); ++e)
      d[e] = d_scores[e] == 0
                 ? 0
                 : d_scores[e] * (score == Score::Sigmoid ? sigmoid_slope(z[e]) : sqrt_softplus_slope(z[e]));
  }
  return d;
}

/// d loss / d logits of one row from d loss / d weights [K].
inline Row weights_gradient(Gate const& gate, Row const& z, Ids const& chosen, Row const& d_weights) {
  std::size_t const k = chosen.size();
  Row d(z.size(), 0);
  bool const over_chosen =
      gate.score == Score::SoftmaxOverChosen || (gate.score == Score::Softmax && divides(gate, k) && gate.epsilon == 0);
  if (over_chosen) { // lambda g_m (v_m - sum v_i g_i)
    Row logits;
    for (int e : chosen) logits.push_back(z[std::size_t(e)]);
    Row const g = softmax(logits);
    double mean = 0;
    for (std::size_t j = 0; j < k; ++j) mean += d_weights[j] * g[j];
    for (std::size_t j = 0; j < k; ++j) d[std::size_t(chosen[j])] = gate.scale * g[j] * (d_weights[j] - mean);
    return d;
  }
  Row const s = scores(gate.score, z);
  double sum = 0, dot = 0;
  for (std::size_t j = 0; j < k; ++j) sum += s[std::size_t(chosen[j])];
  bool const divide = divides(gate, k);
  double const below = divide ? denominator(gate, sum) : 1;
  bool const constant = divide && gate.epsilon_rule == EpsilonRule::AtLeast && sum < gate.epsilon;
  if (divide && !constant)
    for (std::size_t j = 0; j < k; ++j) dot += d_weights[j] * s[std::size_t(chosen[j])] / below;
  for (std::size_t j = 0; j < k; ++j) d[std::size_t(chosen[j])] = gate.scale * (d_weights[j] - dot) / below;
  return through_scores(gate.score, z, d);
}

/// d loss / d logits of one row from d loss / d (normalised scores) [E].
inline Row normalised_scores_gradient(Score score, Row const& z, Row const& slopes) {
  if (!element_wise(score)) return through_scores(score, z, slopes);
  Row const s = scores(score, z);
  double const sum = std::accumulate(s.begin(), s.end(), 0.0) + 1e-20;
  double mean = 0;
  for (std::size_t e = 0; e < z.size(); ++e) mean += slopes[e] * s[e] / sum;
  Row d(z.size());
  for (std::size_t e = 0; e < z.size(); ++e) d[e] = (slopes[e] - mean) / sum;
  return through_scores(score, z, d);
}

/// d (logsumexp^2) / d logits of one row.
inline Row squared_lse_gradient(Row const& z) {
  Row d = softmax(z);
  double const lse = log_sum_exp(z);
  for (double& x : d) x *= 2 * lse;
  return d;
}

// -------------------- whole batches, statistics

struct Routing {
  std::vector<Ids> ids; // [T][K], -1 in a padding row
  Matrix weights;       // [T, K]
};

/// `padding` empty or [T], 1 = padding.
inline Routing route(Gate const& gate, Matrix const& logits, std::size_t k, Row const& bias = {},
                     Groups const* groups = nullptr, std::vector<std::uint8_t> const& padding = {}) {
  Routing r{std::vector<Ids>(logits.rows, Ids(k, -1)), Matrix(logits.rows, k)};
  for (std::size_t t = 0; t < logits.rows; ++t) {
    if (!padding.empty() && padding[t]) continue;
    Row const z = logits.row(t);
    r.ids[t] = choose(gate, z, bias, k, groups);
    Row const w = weights(gate, z, r.ids[t]);
    for (std::size_t j = 0; j < k; ++j) r.weights(t, j) = w[j];
  }
  return r;
}

/// Sums over the tokens of one sequence (or of any set of tokens).
struct Sums {
  std::int64_t tokens = 0;                                           // rows that are not padding
  std::vector<std::int64_t> counts, first, unbiased, unbiased_first; // [E]
  Row score_sums;                                                    // [E]
  double lse_squares = 0;
};

/// Statistics of the tokens [from, to).
inline Sums sums(Gate const& gate, Matrix const& logits, Routing const& routing, std::size_t from, std::size_t to) {
  std::size_t const experts = logits.cols;
  Sums s;
  s.counts = s.first = s.unbiased = s.unbiased_first = std::vector<std::int64_t>(experts);
  s.score_sums = Row(experts);
  for (std::size_t t = from; t < to; ++t) {
    Ids const& ids = routing.ids[t];
    if (ids.empty() || ids[0] < 0) continue;
    Row const z = logits.row(t);
    ++s.tokens;
    for (int e : ids) ++s.counts[std::size_t(e)];
    ++s.first[std::size_t(ids[0])];
    Ids const plain = top_k(z, ids.size());
    for (int e : plain) ++s.unbiased[std::size_t(e)];
    ++s.unbiased_first[std::size_t(plain[0])];
    Row const q = normalised_scores(gate.score, z);
    for (std::size_t e = 0; e < experts; ++e) s.score_sums[e] += std::isnan(q[e]) ? 0 : q[e];
    double const lse = log_sum_exp(z);
    s.lse_squares += std::isfinite(lse) ? lse * lse : 0;
  }
  return s;
}

inline void add(Sums& a, Sums const& b) {
  if (a.counts.empty()) {
    a = b;
    return;
  }
  auto const plus = [](auto& x, auto const& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  };
  a.tokens += b.tokens;
  plus(a.counts, b.counts), plus(a.first, b.first), plus(a.unbiased, b.unbiased),
      plus(a.unbiased_first, b.unbiased_first);
  plus(a.score_sums, b.score_sums);
  a.lse_squares += b.lse_squares;
}

// -------------------- balancing losses

/// coefficient * E * sum_e (c_e / (divisor * T_c)) * (S_e / T_p): counts c over T_c tokens, score sums S over T_p
/// tokens. divisor is K (balanced softmax gives coefficient) or 1 (gives coefficient * K). No tokens: 0.
struct SwitchLoss {
  double loss = 0;
  Row slopes; // [E] d loss / d S
};
inline SwitchLoss switch_loss(std::vector<std::int64_t> const& counts, double counted_tokens, Row const& score_sums,
                              double score_tokens, double divisor, double coefficient) {
  SwitchLoss r{0, Row(counts.size(), 0)};
  if (counted_tokens == 0 || score_tokens == 0) return r;
  for (std::size_t e = 0; e < counts.size(); ++e) {
    r.slopes[e] = coefficient * double(counts.size()) * double(counts[e]) / (divisor * counted_tokens * score_tokens);
    r.loss += r.slopes[e] * score_sums[e];
  }
  return r;
}

/// How far the counts are summed before the loss reads them.
enum class Scope { Sequence, MicroBatch, GlobalBatch };
enum class Accumulation { None, Running, TwoPass };

/// Statistics of a step: batch[j][g][s] are those of sequence s of micro-batch g of rank j.
using StepSums = std::vector<std::vector<std::vector<Sums>>>;

/// The loss of a whole optimizer step and its slopes. The counts of a window are those of one sequence (Sequence: every
/// sequence by itself, continued by the same sequence of later micro-batches), of one rank's micro-batch (MicroBatch)
/// or of all ranks' (GlobalBatch): of micro-batch g alone, of 0..g (Running), or of the whole step (TwoPass). The mean
/// score is over the tokens of the same reach: of micro-batch g, or (TwoPass) of the step. Losses are averaged over
/// sequences, micro-batches and ranks. slopes[j][g][s][e]: the mean over ranks, and the sum over micro-batches and
/// sequences, of the gradients they give is that of `loss`.
struct StepLoss {
  double loss = 0;
  std::vector<std::vector<std::vector<Row>>> slopes;
};
inline StepLoss step_loss(StepSums const& batch, Scope scope, Accumulation accumulation, std::size_t k,
                          double coefficient, bool first_choice = false, bool unbiased = false,
                          bool divide_by_k = true) {
  auto const counts_of = [&](Sums const& s) -> std::vector<std::int64_t> const& {
    return first_choice ? (unbiased ? s.unbiased_first : s.first) : (unbiased ? s.unbiased : s.counts);
  };
  double const divisor = divide_by_k && !first_choice ? double(k) : 1, ranks = double(batch.size());
  StepLoss step;
  step.slopes.resize(batch.size());
  for (std::size_t j = 0; j < batch.size(); ++j) {
    std::size_t const micro_batches = batch[j].size();
    for (std::size_t g = 0; g < micro_batches; ++g) {
      step.slopes[j].emplace_back();
      std::size_t const sequences = batch[j][g].size();
      for (std::size_t s = 0; s < sequences; ++s) {
        auto const pool = [&](std::size_t from, std::size_t to) { // everything in reach of micro-batches [from, to)
          Sums sum;
          for (std::size_t rank = 0; rank < batch.size(); ++rank)
            for (std::size_t i = from; i < to; ++i)
              for (std::size_t q = 0; q < batch[rank][i].size(); ++q)
                if ((scope == Scope::GlobalBatch || rank == j) && (scope != Scope::Sequence || q == s))
                  add(sum, batch[rank][i][q]);
          return sum;
        };
        bool const two_pass = accumulation == Accumulation::TwoPass;
        Sums const window = pool(accumulation == Accumulation::None ? g : 0, two_pass ? micro_batches : g + 1);
        Sums const mean = two_pass ? window : pool(g, g + 1);
        double const share = (scope == Scope::GlobalBatch ? ranks : 1) / (two_pass ? 1 : double(micro_batches)) /
                             (scope == Scope::Sequence ? double(sequences) : 1);
        SwitchLoss const l = switch_loss(counts_of(window), double(window.tokens), batch[j][g][s].score_sums,
                                         double(mean.tokens), divisor, coefficient * share);
        step.loss += l.loss / ranks;
        step.slopes[j][g].push_back(l.slopes);
      }
    }
  }
  return step;
}

/// coefficient * mean over the valid rows of logsumexp^2; no valid row: 0.
inline double z_loss(Matrix const& logits, double coefficient, std::vector<std::uint8_t> const& padding = {}) {
  double sum = 0;
  std::size_t valid = 0;
  for (std::size_t t = 0; t < logits.rows; ++t) {
    if (!padding.empty() && padding[t]) continue;
    double const lse = log_sum_exp(logits.row(t));
    sum += lse * lse;
    ++valid;
  }
  return valid == 0 ? 0 : coefficient * sum / double(valid);
}

/// b + rate * sign(mean - count), less the mean of the steps when centred.
inline Row loss_free_bias(Row bias, std::vector<std::int64_t> const& counts, double rate, bool centred) {
  double const mean = double(std::accumulate(counts.begin(), counts.end(), std::int64_t(0))) / double(counts.size());
  Row step(bias.size());
  for (std::size_t e = 0; e < bias.size(); ++e) {
    double const c = double(counts[e]);
    step[e] = c < mean ? rate : c > mean ? -rate : 0;
  }
  double const centre = centred ? std::accumulate(step.begin(), step.end(), 0.0) / double(step.size()) : 0;
  for (std::size_t e = 0; e < bias.size(); ++e) bias[e] += step[e] - centre;
  return bias;
}

// -------------------- capacity and plan

/// ceil(pairs / experts * factor), at least `minimum`.
inline std::int64_t capacity(std::int64_t pairs, std::int64_t experts, double factor, std::int64_t minimum = 0) {
  return std::max(minimum, std::int64_t(std::ceil(double(pairs) / double(experts) * factor)));
}

enum class Drop { None, Position, Probability, BatchPrioritised };
enum class Rounds {
  Equal,
  FirstChoicesFirst
}; // does every choice of a token queue at once, or first choices before second?

/// The flat pairs t * K + k in the order in which they ask for a place.
inline std::vector<std::size_t> queue(std::vector<Ids> const& ids, Matrix const& weights, Drop drop, Rounds rounds) {
  std::size_t const tokens = ids.size(), k = tokens ? ids[0].size() : 0;
  Ids token_order(tokens);
  std::iota(token_order.begin(), token_order.end(), 0);
  if (drop == Drop::BatchPrioritised) {
    Row best(tokens, -std::numeric_limits<double>::infinity());
    for (std::size_t t = 0; t < tokens; ++t)
      for (std::size_t j = 0; j < k; ++j) best[t] = std::max(best[t], weights(t, j));
    token_order = ranking(best);
  }
  std::vector<std::size_t> order;
  if (rounds == Rounds::FirstChoicesFirst) {
    for (std::size_t j = 0; j < k; ++j)
      for (int t : token_order) order.push_back(std::size_t(t) * k + j);
  } else {
    for (int t : token_order)
      for (std::size_t j = 0; j < k; ++j) order.push_back(std::size_t(t) * k + j);
  }
  if (drop == Drop::Probability) {
    Row w;
    for (std::size_t pair : order) w.push_back(weights.data[pair]);
    std::vector<std::size_t> sorted;
    for (int i : ranking(w)) sorted.push_back(order[std::size_t(i)]);
    return sorted;
  }
  return order;
}

/// Place of each pair t * K + k inside its expert, in queueing order; -1 for no expert. A place >= capacity is a drop.
inline std::vector<std::int64_t> places(std::vector<Ids> const& ids, Matrix const& weights, std::size_t experts,
                                        Drop drop, Rounds rounds) {
  std::size_t const k = ids.empty() ? 0 : ids[0].size();
  std::vector<std::int64_t> place(ids.size() * k, -1), filled(experts, 0);
  for (std::size_t pair : queue(ids, weights, drop, rounds)) {
    int const e = ids[pair / k][pair % k];
    if (e >= 0) place[pair] = filled[std::size_t(e)]++;
  }
  return place;
}

/// 1 for each pair that is kept.
inline std::vector<std::uint8_t> kept(std::vector<Ids> const& ids, Matrix const& weights, std::size_t experts,
                                      std::int64_t capacity, Drop drop, Rounds rounds) {
  std::vector<std::uint8_t> keep;
  for (std::int64_t p : places(ids, weights, experts, drop, rounds))
    keep.push_back(p >= 0 && (drop == Drop::None || p < capacity));
  return keep;
}

struct Plan {
  std::vector<std::int64_t> offsets; // [E + 1] first slot of each expert, then the number of slots
  std::vector<std::int64_t> order;   // [slots] pair in each slot, -1 = filler
  std::vector<std::int64_t> slot_of; // [T * K] slot of each pair, -1 = none
};

/// The kept pairs by expert, inside an expert by flat index; each expert's part padded to a multiple of `block`.
inline Plan plan(std::vector<Ids> const& ids, std::vector<std::uint8_t> const& keep, std::size_t experts,
                 std::int64_t block = 1) {
  std::size_t const k = ids.empty() ? 0 : ids[0].size();
  Plan p;
  p.slot_of.assign(ids.size() * k, -1);
  for (std::size_t e = 0; e < experts; ++e) {
    p.offsets.push_back(std::int64_t(p.order.size()));
    for (std::size_t pair = 0; pair < ids.size() * k; ++pair)
      if (ids[pair / k][pair % k] == int(e) && (keep.empty() || keep[pair])) {
        p.slot_of[pair] = std::int64_t(p.order.size());
        p.order.push_back(std::int64_t(pair));
      }
    while (std::int64_t(p.order.size()) % block != 0) p.order.push_back(-1);
  }
  p.offsets.push_back(std::int64_t(p.order.size()));
  return p;
}

// -------------------- central differences

/// d f / d x by central differences, for any f(Matrix) -> double.
template <class F> Matrix central_differences(F f, Matrix x, double step = 1e-6) {
  Matrix d(x.rows, x.cols);
  for (std::size_t i = 0; i < x.data.size(); ++i) {
    double const at = x.data[i];
    x.data[i] = at + step;
    double const above = f(x);
    x.data[i] = at - step;
    double const below = f(x);
    x.data[i] = at;
    d.data[i] = (above - below) / (2 * step);
  }
  return d;
}

} // namespace reference
