// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Losses and bias updates of the peers, as rules of a balancer.

#include "checks.hpp"
#include "losses.hpp"

#include <algorithm>

namespace golden {
namespace {

using reference::Gate;
using reference::Score;

template <class T> std::vector<T> repeated(std::vector<T> const& values, std::size_t times) {
  std::vector<T> all;
  for (std::size_t i = 0; i < times; ++i) all.insert(all.end(), values.begin(), values.end());
  return all;
}
std::vector<std::uint8_t> inverted(std::vector<std::uint8_t> mask) {
  for (auto& m : mask) m = !m;
  return mask;
}

/// loss and d loss / d logits of Hugging Face's function: all choices, divided by tokens alone.
void hf_load_balancing(Case& c) {
  for (char const* arg : {"batch", "seq", "num_experts", "num_layers"}) c.ignore_argument(arg);
  std::size_t const K = c.count("top_k");
  for (Precision const p : precisions) {
    Request r{.gate = {.score = Score::Softmax}, .top_k = K, .logits = c.matrix("in_logits")};
    if (c.has("in_attention_mask")) {
      auto const mask = inverted(c.bytes("in_attention_mask")); // 1 = valid there, 1 = padding here
      r.padding = repeated(mask, r.tokens() / std::max<std::size_t>(1, mask.size()));
    }
    Answer const a = route(r, p);
    Terms const t = with_real(p, [&](auto real) {
      return balance_step<decltype(real)>(moebal::MicroBatch<>{},
                                          moebal::SwitchLoss<>{.coefficient = 1, .divide_by = moebal::DivideBy::Tokens},
                                          K, {a.load})
          .front();
    });
    Matrix const d = backward(r, p, a.ids, {}, t.slopes);
    double needed = c.output("loss", p)[0];
    Matrix needed_gradient = c.output_matrix("grad_logits", p);
    Tolerance tolerance = with_fixed_point(c.tolerance("loss", p), p, 2 * double(r.experts()));
    Tolerance gradient_tolerance = c.tolerance("grad_logits", p);
    if (std::isnan(needed) || c.tagged("ambiguous")) {
      c.by_contract(std::isnan(needed) ? "the peer's loss is NaN (NaN rows, or no valid row)"
                                       : "a tie decides the counts");
      reference::Routing const routing{a.ids, a.weights};
      auto const sums = reference::sums(r.gate, r.logits, routing, 0, r.tokens());
      auto const loss =
          reference::switch_loss(sums.counts, double(sums.tokens), sums.score_sums, double(sums.tokens), 1, 1);
      needed = loss.loss;
      for (std::size_t i = 0; i < r.tokens(); ++i) {
        bool const valid = r.padding.empty() || !r.padding[i];
        Row const row = valid ? reference::normalised_scores_gradient(Score::Softmax, r.logits.row(i), loss.slopes)
                              : Row(r.experts(), 0);
        std::copy(row.begin(), row.end(), needed_gradient.data.begin() + long(i * r.experts()));
      }
      if (!(tolerance.absolute > 1e-12) && p == Precision::Double) tolerance.absolute = 1e-12;
      if (p == Precision::Single) tolerance = {2e-5, 1e-5}, gradient_tolerance = {2e-5, 1e-6};
    }
    c.close(std::string(name_of(p)) + " loss", t.loss, needed, tolerance);
    c.close(std::string(name_of(p)) + " grad_logits", d.data, needed_gradient.data,
            with_noise(gradient_tolerance, p, largest(t.slopes.data)));
  }
}

/// The softmax of a softmax: the router's answer is taken for logits. Composed of two routers, token by token.
void hf_double_softmax(Case& c) {
  c.ignore_argument("num_experts");
  std::size_t const K = c.count("top_k");
  c.by_contract("the peer applies softmax twice; composed here of two routers");
  for (Precision const p : precisions) {
    Request first{.gate = {.score = Score::Softmax}, .top_k = K, .logits = c.matrix("in_logits")};
    first.segments = one_token_segments(first.tokens());
    Answer const outer = route(first, p);
    Request second{.gate = {.score = Score::Softmax}, .top_k = K, .logits = outer.score_sums};
    Answer const a = route(second, p);
    Terms const t = with_real(p, [&](auto real) {
      return balance_step<decltype(real)>(moebal::MicroBatch<>{},
                                          moebal::SwitchLoss<>{.coefficient = 1, .divide_by = moebal::DivideBy::Tokens},
                                          K, {a.load})
          .front();
    });
    Matrix const d_scores = backward(second, p, a.ids, {}, t.slopes);
    Matrix const d = backward(first, p, outer.ids, {}, d_scores);
    double const E = double(first.experts());
    c.close("loss", t.loss, c.output("loss", p)[0], with_fixed_point(c.tolerance("loss", p), p, 8 * E));
    c.close("grad_logits", d.data, c.output("grad_logits", p).values,
            with_fixed_point(c.tolerance("grad_logits", p), p, 8));
  }
}

/// A loss of given scores and choices: the statistics are made here, the rule is the library's.
/// counts [S, E], scores [S * T, E], tokens of each sequence.
template <class Rule>
void loss_of_scores(Case& c, Rule rule, std::size_t top_k, Matrix const& counts, Matrix scores, double tokens,
                    std::string const& gradient, std::vector<std::uint8_t> const& padding = {}) {
  std::size_t const sequences = counts.rows, experts = counts.cols;
  std::size_t const length = sequences ? scores.rows / sequences : 0;
  bool const nan = any_nan(scores.data);
  if (nan) {
    c.by_contract("a NaN score counts as 0 in a statistic (the peer's loss is NaN)");
    for (double& x : scores.data)
      if (std::isnan(x)) x = 0;
  }
  Matrix sums(sequences, experts);
  for (std::size_t t = 0; t < scores.rows; ++t)
    if (padding.empty() || !padding[t])
      for (std::size_t e = 0; e < experts; ++e) sums(t / std::max<std::size_t>(1, length), e) += scores(t, e);
  for (Precision const p : precisions) {
    Terms const t = with_real(p, [&](auto real) {
      using Real = decltype(real);
      return balance_step<Real>(moebal::Sequence<>{}, rule, top_k,
                                {load_of<Real>(counts, sums, Row(sequences, tokens))})
          .front();
    });
    double loss = 0;
    for (std::size_t s = 0; s < sequences; ++s) {
      std::vector<std::int64_t> n;
      for (double x : counts.row(s)) n.push_back(std::int64_t(x));
      bool const by_k = std::is_same_v<Rule, moebal::SwitchLoss<>> && rule.divide_by == moebal::DivideBy::TopK;
      loss += reference::switch_loss(n, tokens, sums.row(s), tokens, by_k ? double(top_k) : 1, rule.coefficient).loss;
    }
    loss /= double(sequences);
    if (c.raises()) {
      c.by_contract("the peer throws");
      c.close("loss without tokens", t.loss, loss, {1e-10, 1e-300});
      continue;
    }
    double const needed = nan ? loss : c.output("loss", p)[0];
    c.output("loss", p);
    c.close(std::string(name_of(p)) + " loss", t.loss, needed,
            with_fixed_point(c.tolerance("loss", p), p, 2 * rule.coefficient * double(experts)));
    Matrix const peer = c.output_matrix(gradient, p);
    for (std::size_t i = 0; i < peer.rows; ++i) {
      bool const valid = padding.empty() || !padding[i];
      Row const slopes = valid ? t.slopes.row(i / std::max<std::size_t>(1, length)) : Row(experts, 0);
      Row row = peer.row(i);
      if (any_nan(row)) row = slopes;
      c.close(std::string(name_of(p)) + " " + gradient + " row " + std::to_string(i), slopes, row,
              c.tolerance(gradient, p));
    }
  }
}

/// Choices [S, T, k]: each expert counted at most once a token.
void hf_switch_loss(Case& c) {
  Array const& ids = c.array("in_expert_indices");
  Array const& probs = c.array("in_router_probs");
  if (probs.shape.size() != 3) throw Skip{"router_probs is not [groups, tokens, experts]"};
  std::size_t const S = probs.shape[0], T = probs.shape[1], E = probs.shape[2];
  std::size_t const k = ids.size() / std::max<std::size_t>(1, S * T);
  Matrix counts(S, E);
  for (std::size_t t = 0; t < S * T; ++t) {
    std::set<std::size_t> chosen;
    for (std::size_t j = 0; j < k; ++j) chosen.insert(std::size_t(ids[t * k + j]));
    for (std::size_t e : chosen) ++counts(t / T, e);
  }
  loss_of_scores(c, moebal::SwitchLoss<>{.coefficient = 1, .divide_by = moebal::DivideBy::Tokens}, k, counts,
                 c.matrix("in_router_probs"), double(T), "grad_probs");
}

void tutel_gshard_loss(Case& c) {
  Matrix const scores = c.matrix("in_scores"), ids = c.matrix("in_top_ids");
  Matrix first(1, scores.cols);
  for (std::size_t t = 0; t < ids.rows; ++t) ++first(0, std::size_t(ids(t, 0)));
  loss_of_scores(c, moebal::SwitchLoss<moebal::Choices::First>{.coefficient = 1}, ids.cols, first, scores,
                 double(scores.rows), "grad_scores");
}

/// The counts and the number of tokens may be global while the scores are local; both means are over that number.
void megatron_switch_loss(Case& c) {
  c.ignore_argument("num_experts");
  if (c.raises()) c.ignore_argument("moe_aux_loss_coeff");
  Matrix const scores = c.matrix("in_probs");
  std::vector<std::uint8_t> padding;
  if (c.has("in_valid_mask")) padding = inverted(c.bytes("in_valid_mask")); // 1 = valid in this one function
  loss_of_scores(c, moebal::SwitchLoss<>{.coefficient = c.number("moe_aux_loss_coeff")}, c.count("topk"),
                 c.matrix("in_tokens_per_expert"), scores, c.number("total_num_tokens"), "grad_probs", padding);
}

void z_loss(Case& c, double coefficient) {
  for (Precision const p : precisions) {
    Request r{.gate = {.score = Score::Softmax}, .top_k = 1, .logits = c.matrix("in_logits")};
    if (c.has("in_padding_mask")) r.padding = c.bytes("in_padding_mask");
    Answer const a = route(r, p);
    Terms const t = with_real(p, [&](auto real) {
      return balance_step<decltype(real)>(moebal::MicroBatch<>{}, moebal::ZLoss{.coefficient = coefficient}, 1,
                                          {a.load})
          .front();
    });
    Matrix const d = backward(r, p, a.ids, {}, {}, t.z_slopes);
    double needed = c.output("loss", p)[0];
    Matrix const peer = c.output_matrix("grad_logits", p);
    if (!std::isfinite(needed)) {
      c.by_contract("a row whose logsumexp is not finite (the peer's loss is not either), or no row at all");
      std::int64_t valid = 0;
      needed = 0;
      for (std::size_t i = 0; i < r.tokens(); ++i) {
        if (!r.padding.empty() && r.padding[i]) continue;
        double const lse = reference::log_sum_exp(r.logits.row(i));
        needed += std::isfinite(lse) ? lse * lse : 0;
        ++valid;
      }
      if (valid) needed *= coefficient / double(valid);
    }
    Tolerance tolerance = c.tolerance("loss", p);
    if (tolerance.relative == 0 || !(tolerance.absolute < 1e300)) tolerance = {2e-5, 1e-6};
    c.close(std::string(name_of(p)) + " loss", t.loss, needed, tolerance);
    for (std::size_t i = 0; i < r.tokens(); ++i) {
      Row row = peer.row(i);
      if (any_nan(row) && !any_nan(r.logits.row(i))) { // a NaN of another row, or of a padding row, got here
        c.by_contract("rows stay isolated (the peer's gradient is NaN)");
        bool const valid = r.padding.empty() || !r.padding[i];
        row = valid ? reference::squared_lse_gradient(r.logits.row(i)) : Row(r.experts(), 0);
        if (valid)
          for (double& x : row) x *= t.z_slopes[0];
      } else if (any_nan(row) && !r.padding.empty() && r.padding[i]) {
        c.by_contract("a NaN in a padding row reaches nothing");
        row = Row(r.experts(), 0);
      }
      c.close(std::string(name_of(p)) + " grad_logits row " + std::to_string(i), d.row(i), row,
              c.tolerance("grad_logits", p));
    }
  }
}

/// Counts are whole numbers here. A mean over ranks may be a fraction: the rule does not see the scale of its counts.
double whole_scale(std::vector<double> const& counts) {
  double scale = 1;
  for (double x : counts)
    while (x * scale != std::floor(x * scale)) scale *= 2;
  return scale;
}

Row updated_bias(moebal::LossFreeBias rule, Row const& counts, Row const& bias) {
  std::size_t const E = counts.size();
  Matrix whole(1, E);
  double const scale = whole_scale(counts);
  double sum = 0;
  for (std::size_t e = 0; e < E; ++e) sum += whole(0, e) = counts[e] * scale;
  moebal::Balancer balancer(moebal::GlobalBatch<>{}, rule,
                            moebal::BalancerShape{.experts = moebal::Index(E), .top_k = 1});
  std::vector<float> const start(bias.begin(), bias.end());
  balancer.set_bias(start);
  balancer.begin_step(1);
  balancer.observe(0, load_of<float>(whole, Matrix(1, E), Row{sum}));
  balancer.end_step();
  return Row(balancer.bias().begin(), balancer.bias().end());
}

/// The bias is fp32 state: there is no fp64 form to compare.
void bias_update(Case& c, moebal::LossFreeBias rule, std::string const& output, bool halve) {
  Matrix const counts = c.matrix("in_tokens_per_expert"), bias = c.matrix("in_expert_bias");
  Matrix const needed = c.output_matrix(output, Precision::Single);
  for (std::size_t l = 0; l < counts.rows; ++l) {
    Row n = counts.row(l);
    if (halve)
      for (double& x : n) x = std::floor(x / 2);
    c.close(output + " layer " + std::to_string(l), updated_bias(rule, n, bias.row(l)), needed.row(l),
            c.tolerance(output, Precision::Single));
  }
}

void megatron_bias(Case& c) { bias_update(c, {.rate = float(c.number("update_rate"))}, "updated_bias", false); }
void torchtitan_bias(Case& c) {
  c.ignore_argument("layers");
  bias_update(c, {.rate = float(c.number("load_balance_coeff")), .centring = moebal::Centring::Mean}, "expert_bias",
              c.flag("recompute"));
  for (double x : c.output("tokens_per_expert_after", Precision::Single).values)
    c.equal("tokens_per_expert_after (a closed step leaves no counts)", x, 0);
}

} // namespace

void megatron_router(Case& c);
void megatron_big(Case& c);

Mapping loss_mapping(std::string const& key) {
  static std::map<std::string, Mapping> const mappings{
      {"hf.load_balancing_loss_func", hf_load_balancing},
      {"hf.load_balancing_loss_func_of_Qwen_router_output", hf_double_softmax},
      {"hf.switch.load_balancing_loss_func", hf_switch_loss},
      {"hf.switch.router_z_loss_func", [](Case& c) { z_loss(c, 1); }},
      {"megatron.z_loss_func", [](Case& c) { z_loss(c, c.number("z_loss_coeff")); }},
      {"megatron.switch_load_balancing_loss_func", megatron_switch_loss},
      {"megatron.get_updated_expert_bias", megatron_bias},
      {"megatron.router_routing", megatron_router},
      {"megatron.big_combined", megatron_big},
      {"torchtitan.update_expert_bias_hook", torchtitan_bias},
      {"tutel.gshard_loss", tutel_gshard_loss},
  };
  auto const found = mappings.find(key);
  return found == mappings.end() ? nullptr : found->second;
}

} // namespace golden
