// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Quantile balancing: the exact dual step on a batch, and the histogram of margins.

#include "library_as.hpp"
#include "losses.hpp"
#include "routing.hpp"

#include <moebal/balance/quantile.hpp>
#include <moebal/stats/margin_histogram.hpp>

#include <algorithm>

namespace golden {
namespace {

using moebal::Index;
using reference::Score;

// -------------------- exact

/// Scores that are given, and not made of logits: a gate of one's own.
struct AsGiven {
  moebal::Normalise normalise = moebal::Normalise::None;
  moebal::SingleChoice single_choice = moebal::SingleChoice::Raw;
  float scale = 1;
  float epsilon = 0;
  moebal::EpsilonRule epsilon_rule = moebal::EpsilonRule::Add;
  template <class V> MOEBAL_FN V score(V z) const { return z; }
  template <class V> MOEBAL_FN V slope(V, V) const { return moebal::math::splat<V>(1); }
};
static_assert(moebal::elementwise_gate<AsGiven>);

/// The K best of scores + bias.
template <class Real> std::vector<Ids> chosen(Request const& r) {
  return detail::with_compiled_top_k(r.top_k, [&](auto constant) {
    constexpr int K = decltype(constant)::value;
    moebal::Router<moebal::TopK<K>, AsGiven> const router{moebal::TopK<K>{}, AsGiven{}};
    detail::Inputs<Real> const in(r);
    auto const routing = router.route(chosen_execution(), in.matrix, in.options);
    std::vector<Ids> ids(r.tokens(), Ids(r.top_k));
    for (std::size_t t = 0; t < r.tokens(); ++t)
      for (std::size_t k = 0; k < r.top_k; ++k) ids[t][k] = routing.expert_ids()(Index(t), Index(k));
    return ids;
  });
}

struct Prices {
  Row alpha, beta;
};
template <class Real> Prices prices(Matrix const& scores, Row const& beta, std::size_t top_k) {
  std::vector<Real> const s(scores.data.begin(), scores.data.end()), b(beta.begin(), beta.end());
  moebal::MatrixView<Real const> const view(s.data(), Index(scores.rows), Index(scores.cols));
  auto const duals = moebal::quantile_duals<Real>(view, b, Index(top_k));
  return {Row(duals.alpha.begin(), duals.alpha.end()), Row(duals.beta.begin(), duals.beta.end())};
}

/// The definition with sorts.
Prices reference_prices(Matrix const& scores, Row const& beta, std::size_t top_k) {
  std::size_t const T = scores.rows, E = scores.cols;
  Prices r{Row(T), beta};
  auto const nth = [](Row const& values, std::size_t n) { return values[std::size_t(reference::ranking(values)[n])]; };
  for (std::size_t t = 0; t < T; ++t) {
    Row row = scores.row(t);
    for (std::size_t e = 0; e < E; ++e) row[e] -= beta[e];
    r.alpha[t] = nth(row, std::min(top_k, E - 1));
  }
  if (T == 0 || top_k >= E) return r;
  for (std::size_t e = 0; e < E; ++e) {
    Row column(T);
    for (std::size_t t = 0; t < T; ++t) column[t] = scores(t, e) - r.alpha[t];
    r.beta[e] = nth(column, T * top_k / E);
  }
  return r;
}

void megatron_qb(Case& c) {
  Matrix const scores = c.matrix("in_scores");
  Row const beta = c.row("in_beta");
  std::size_t const K = c.count("k"), E = scores.cols;
  Request r{.top_k = K, .logits = scores};
  for (double b : beta) r.bias.push_back(-b);
  if (c.raises())
    c.by_contract(K >= E ? "K = E moves nothing (the peer throws)"
                         : "a share of tokens that is no integer is rounded "
                           "down (the peer throws)");
  bool const nan = any_nan(scores.data) || any_nan(beta);
  if (nan) c.by_contract("NaN ranks last (the peer ranks it first)");
  for (Precision const p : precisions) {
    auto const ids = with_real(p, [&](auto real) { return chosen<decltype(real)>(r); });
    for (std::size_t t = 0; t < scores.rows; ++t) {
      check_ids(c, at_row(p, t) + " ids", ids[t], E);
      Row keys = scores.row(t), ours, best;
      for (std::size_t e = 0; e < E; ++e) keys[e] += r.bias[e];
      for (int e : ids[t]) ours.push_back(keys[std::size_t(e)]);
      for (int e : reference::top_k(keys, K)) best.push_back(keys[std::size_t(e)]);
      double const unit = p == Precision::Single ? 1e-6 : 1e-13;
      c.close(at_row(p, t) + " keys", ours, best, {unit, unit});
      bool const open = c.has("ambiguous_rows") && c.array("ambiguous_rows")[t] != 0;
      if (open) c.by_contract("a tie decides");
      if (open || nan || c.raises()) continue;
      Row map(E, 0), peer_map(E, 0);
      for (int e : ids[t]) map[std::size_t(e)] = 1;
      for (double e : c.output_matrix("indices", p).row(t)) peer_map[std::size_t(e)] = 1;
      c.close(at_row(p, t) + " map", map, c.output_matrix("map", p).row(t), {});
      c.close(at_row(p, t) + " indices", map, peer_map, {});
    }
    Prices const needed = reference_prices(scores, beta, K);
    Prices const had = with_real(p, [&](auto real) { return prices<decltype(real)>(scores, beta, K); });
    double const unit = (p == Precision::Single ? 1e-6 : 1e-13) * (1 + largest(scores.data));
    c.close(std::string(name_of(p)) + " alpha (contract)", had.alpha, needed.alpha, {unit, unit});
    c.close(std::string(name_of(p)) + " beta (contract)", had.beta, needed.beta, {unit, unit});
    if (c.raises()) {
      c.ignore_argument("update_beta");
      continue;
    }
    for (char const* name : {"indices", "map"}) c.output(name, p); // read them without rows too
    Row const& peer = c.output("beta", p).values;
    if (!nan)
      c.close(std::string(name_of(p)) + " beta", c.flag("update_beta", true) ? had.beta : beta, peer,
              c.tolerance("beta", p));
  }
}

// -------------------- histogram

/// The library's margins in bins whose bounds are given: a statistic of one's own.
struct MarginsInBounds {
  static inline double low = 0, high = 1;
  static inline Index bins = 1;
  static Index slots(Index experts) { return experts * bins; }
  template <class Lanes, class Facts> static void add(Lanes lanes, Facts const& facts, std::int64_t* counts) {
    using Real = typename Facts::real;
    Index const n = bins;
    moebal::stats::MarginBins<Real> const bin_of{Real(low), Real(double(n) / (high - low)), n};
    facts.each_margin(lanes, [=](Index e, Real margin) {
      if (Index const bin = bin_of(margin); bin >= 0) counts[e * n + bin] += 1;
    });
  }
};

/// [T][E] the bin of each margin, -1 for none: every token is a sequence of its own.
template <class Real> Matrix margin_bins(Request r) {
  if (r.tokens() == 0) return Matrix(0, r.experts());
  r.segments = one_token_segments(r.tokens());
  return detail::with_compiled_top_k(r.top_k, [&](auto constant) {
    constexpr int K = decltype(constant)::value;
    moebal::Router<moebal::TopK<K>, moebal::Sigmoid> const router{};
    detail::Inputs<Real> const in(r);
    auto const load =
        router.template route_with<moebal::stats::List<MarginsInBounds>>(chosen_execution(), in.matrix, in.options)
            .second;
    Matrix bins(r.tokens(), r.experts(), -1);
    for (std::size_t t = 0; t < r.tokens(); ++t) {
      auto const counts = load.template get<MarginsInBounds>(Index(t));
      for (Index i = 0; i < counts.size(); ++i)
        if (counts[i] != 0) bins(t, std::size_t(i / MarginsInBounds::bins)) = double(i % MarginsInBounds::bins);
    }
    return bins;
  });
}

void te_quantile(Case& c) {
  std::size_t const K = c.count("topk");
  auto const make = [&](Precision) {
    Request r{.gate = {.score = Score::Sigmoid, .normalise = true, .single_choice_raw = true, .epsilon = 1e-20},
              .top_k = K,
              .logits = c.matrix("in_logits")};
    if (c.has("in_expert_bias")) r.bias = c.row("in_expert_bias");
    return r;
  };
  check_routing(c, make, {.dense = "probs", .map = "routing_map", .ids = "topk_indices"});
  MarginsInBounds::bins = Index(c.count("num_bins"));
  Row const bounds = c.row("in_bin_bounds");
  if (bounds.size() != 2) throw Skip{"bin_bounds is not [2]"};
  MarginsInBounds::low = bounds[0], MarginsInBounds::high = bounds[1];
  if (c.raises()) return;
  for (Precision const p : precisions) {
    Request const r = make(p);
    std::size_t const T = r.tokens(), E = r.experts();
    // The score of one logit alone: E = 1, K = 1, not normalised.
    Request const alone{.gate = {.score = Score::Sigmoid}, .logits = Matrix(r.logits.data.data(), T * E, 1)};
    Row const scores = route(alone, p).weights.data;
    bool const nan = any_nan(r.logits.data);
    if (nan) c.by_contract("NaN ranks last (the peer ranks it first)");
    c.close(std::string(name_of(p)) + " raw_scores", scores, c.output("raw_scores", p).values,
            c.tolerance("raw_scores", p));
    Row beta(E, 0);
    for (std::size_t e = 0; e < r.bias.size(); ++e) beta[e] = -r.bias[e];
    Row const alpha =
        with_real(p, [&](auto real) { return prices<decltype(real)>(Matrix(scores.data(), T, E), beta, K); }).alpha;
    Row const& cutoff = c.output("cutoff", p).values;
    Matrix const bins = with_real(p, [&](auto real) { return margin_bins<decltype(real)>(r); });
    Matrix const peer_bins = c.output_matrix("bin_indices", p), peer_histogram = c.output_matrix("histogram", p);
    Matrix histogram(peer_histogram.rows, peer_histogram.cols), recounted = histogram;
    double const scale = double(MarginsInBounds::bins) / (bounds[1] - bounds[0]);
    for (std::size_t t = 0; t < T; ++t) {
      bool const bad = any_nan(r.logits.row(t));
      if (!bad) c.close(at_row(p, t) + " cutoff", alpha[t], cutoff[t], c.tolerance("cutoff", p));
      for (std::size_t e = 0; e < E; ++e) {
        double const place = (alpha[t] - scores[t * E + e] - bounds[0]) * scale, nearest = std::round(place);
        bool const edge = std::abs(place - nearest) < (p == Precision::Single ? 1e-5 : 1e-12) * scale;
        std::string const at = at_row(p, t) + " bin of expert " + std::to_string(e);
        if (bad) continue;
        if (edge && bins(t, e) != peer_bins(t, e)) {
          c.by_contract("a margin on the edge of a bin");
          c.need(std::abs(bins(t, e) - peer_bins(t, e)) == 1, at, "the bin on this side or on that", "another");
        } else
          c.equal(at, bins(t, e), peer_bins(t, e));
        ++recounted(e, std::size_t(peer_bins(t, e)));
        if (bins(t, e) >= 0) ++histogram(e, std::size_t(bins(t, e)));
      }
    }
    // Where no bin is open, ours; else what follows from bins that have been compared.
    bool const same = bins.data == peer_bins.data;
    if (!nan)
      c.close(std::string(name_of(p)) + " histogram", same ? histogram.data : recounted.data, peer_histogram.data, {});
  }
}

} // namespace

Mapping quantile_mapping(std::string const& key) {
  static std::map<std::string, Mapping> const mappings{
      {"megatron.qb_dual_update", megatron_qb},
      {"te.qb_topk_score_function_pytorch", te_quantile},
  };
  auto const found = mappings.find(key);
  return found == mappings.end() ? nullptr : found->second;
}

} // namespace golden
