// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Routing functions of the peers: which gate and selection each one is, and how its answer is compared.

#include "routing.hpp"

namespace golden {
namespace {

using reference::EpsilonRule;
using reference::Gate;
using reference::Groups;
using reference::Score;

/// The sum that the weights are divided by is zero in the arithmetic at hand: of the peers, or (sqrt-softplus, whose
/// square underflows first) of the library.
bool sum_underflows(Request const& r, Row const& z, Ids const& ids, Precision p) {
  if (!r.gate.normalise || r.gate.score == Score::SoftmaxOverChosen) return false;
  bool const root = r.gate.score == Score::SqrtSoftplus;
  if (r.gate.epsilon != 0 && !root) return false;
  Row const s = reference::scores(r.gate.score, z);
  double sum = 0;
  for (int e : ids) sum += s[std::size_t(e)];
  return sum >= 0 && sum < (!root ? 1e-37 : p == Precision::Single ? 1e-18 : 1e-153);
}
char const* const sum_is_zero = "the sum of the chosen scores is zero (the peer divides 0 by 0)";

bool all_finite(Row const& row) {
  return std::all_of(row.begin(), row.end(), [](double x) { return std::isfinite(x); });
}

/// Weights follow from the set that was chosen.
void check_weights(Case& c, std::string const& what, Request const& r, Row const& z, Ids const& ids, Row const& had,
                   Tolerance tolerance, Precision p) {
  if (!sum_underflows(r, z, ids, p)) return c.close(what, had, reference::weights(r.gate, z, ids), tolerance);
  c.need(all_finite(had), what, "finite weights although the sum underflows", "others");
}

// -------------------- comparison

/// Why a row is held against the contract and not against the peer; "" if it is not.
std::string why_contract(Case const& c, Request const& r, std::size_t t, Outputs const& out) {
  Row const z = r.logits.row(t);
  if (any_nan(z)) return "a NaN logit (the peer ranks NaN first)";
  if (c.has("ambiguous_rows") && t < c.array("ambiguous_rows").size()) {
    int const flags = int(c.array("ambiguous_rows")[t]);
    if (flags & 1) return "a tie decides";
    if (flags & 2) return "the peer chooses differently in fp32 and fp64";
  }
  if (out.bug) return out.bug(z, reference::choose(r.gate, z, r.bias, r.top_k, r.groups ? &*r.groups : nullptr));
  return "";
}

/// What the library refuses where the peer goes on; "" if nothing.
std::string refused(Request const& r) {
  if (!r.groups) return "";
  if (r.groups->sum_of == 0) return "group scores of no member at all are refused (K below the number of groups)";
  if (r.groups->kept * (r.experts() / r.groups->groups) < r.top_k)
    return "K above the experts of the kept groups is refused (the peer fills up from outside)";
  return "";
}

/// The peer's set is another one, and its keys are ours up to the rounding of fp32.
bool near_tie(Case const& c, Request const& r, Row const& z, Ids const& ids, Outputs const& out, Precision p,
              std::size_t t) {
  if (p == Precision::Double || (r.bias.empty() && !r.groups)) return false;
  Row const map = c.output_matrix(out.map, p).row(t);
  Ids peer;
  for (std::size_t e = 0; e < map.size(); ++e)
    if (map[e] != 0) peer.push_back(int(e));
  bool same = peer.size() == ids.size();
  for (int e : ids) same = same && map[std::size_t(e)] != 0;
  return !same && peer.size() == ids.size() && acceptable_choice(r, z, peer, p) && acceptable_choice(r, z, ids, p);
}

void check_row(Case& c, Request const& r, Answer const& a, Outputs const& out, Precision p, std::size_t t) {
  std::string const at = std::string(name_of(p)) + " row " + std::to_string(t);
  std::size_t const experts = r.experts(), K = r.top_k;
  Row const z = r.logits.row(t);
  Ids const& ids = a.ids[t];
  check_ids(c, at + " ids", ids, experts);
  std::string const& weights_name = out.dense.empty() ? out.weights : out.dense;
  Tolerance const tolerance = c.raises() ? Tolerance{2e-5, 1e-6} : widened(c, r, weights_name, p);
  std::string why = c.raises() ? "the peer throws" : why_contract(c, r, t, out);
  if (why.empty() && sum_underflows(r, z, ids, p)) why = sum_is_zero;
  if (why.empty() && any_nan(c.output_matrix(weights_name, p).row(t)) && !any_nan(reference::weights(r.gate, z, ids)))
    why = "the peer's weights are NaN";
  if (why.empty() && near_tie(c, r, z, ids, out, p, t)) why = "keys that differ by rounding alone";
  if (!why.empty()) {
    c.by_contract(why);
    check_choice(c, at + " choice", r, z, ids, p);
    check_weights(c, at + " weights", r, z, ids, a.weights.row(t), tolerance, p);
    return;
  }
  Row had(experts, 0), chosen(experts, 0);
  for (std::size_t k = 0; k < K; ++k) {
    auto const e = std::size_t(ids[k]);
    chosen[e] = 1;
    had[e] = out.raw_logits_as_weights ? z[e] : a.weights(t, k);
  }
  c.close(at + " " + out.map, chosen, c.output_matrix(out.map, p).row(t), {});
  if (!out.dense.empty()) c.close(at + " " + out.dense, had, c.output_matrix(out.dense, p).row(t), tolerance);
  if (out.ids.empty()) return;
  Matrix const peer_ids = c.output_matrix(out.ids, p);
  Matrix const peer_weights = out.weights.empty() ? Matrix{} : c.output_matrix(out.weights, p);
  for (std::size_t k = 0; k < peer_ids.cols; ++k) {
    auto const e = std::size_t(peer_ids(t, k));
    c.need(chosen[e] == 1, at + " " + out.ids, std::to_string(e), "not chosen");
    if (!out.weights.empty())
      c.close(at + " " + out.weights, had[e], peer_weights(t, k), widened(c, r, out.weights, p));
  }
}

void check_gradient_row(Case& c, Request const& r, Answer const& a, Outputs const& out, Precision p, std::size_t t,
                        Row const& d_weights, Row const& had) {
  std::string const what = std::string(name_of(p)) + " row " + std::to_string(t) + " " + out.gradient;
  Tolerance const tolerance = with_noise(widened(c, r, out.gradient, p), p, largest(d_weights) * r.gate.scale);
  Row const z = r.logits.row(t);
  Row const contract = reference::weights_gradient(r.gate, z, a.ids[t], d_weights);
  Row const peer = c.output_matrix(out.gradient, p).row(t);
  std::string why = why_contract(c, r, t, out);
  if (sum_underflows(r, z, a.ids[t], p)) {
    c.by_contract(sum_is_zero);
    return c.need(all_finite(had), what, "a finite gradient although the sum underflows", "another");
  }
  if (why.empty() && any_nan(peer) && !any_nan(contract)) why = "the peer's gradient is NaN";
  if (why.empty() && near_tie(c, r, z, a.ids[t], out, p, t)) why = "keys that differ by rounding alone";
  if (why.empty()) return c.close(what, had, peer, tolerance);
  c.by_contract(why);
  if (any_nan(z)) { // bad rows are counted, and their gradient is whatever NaN makes of it; other rows must not notice
    c.need(a.load.bad_rows() > 0, "bad_rows", "at least 1", "0");
    return;
  }
  c.close(what, had, contract, tolerance);
}

} // namespace

void check_routing(Case& c, MakeRequest const& make, Outputs const& out) {
  for (Precision const p : precisions) {
    Request const r = make(p);
    if (!out.gradient.empty()) c.array("in_cotangent");
    if (std::string const why = refused(r); !why.empty()) {
      bool thrown = false;
      try {
        route(r, p);
      } catch (moebal::ShapeError const&) {
        thrown = true;
      }
      c.need(thrown, why, "ShapeError", "an answer");
      c.by_contract(why);
      for (std::string const& name : {out.dense, out.map, out.ids, out.weights, out.gradient})
        if (!name.empty()) c.ignore_array("out_" + name);
      c.ignore_array("ambiguous_rows");
      continue;
    }
    Answer const a = route(r, p);
    c.need(a.ids.size() == r.tokens(), "rows", std::to_string(r.tokens()), std::to_string(a.ids.size()));
    if (c.raises()) c.by_contract("the peer throws");
    for (std::size_t t = 0; t < r.tokens(); ++t) check_row(c, r, a, out, p, t);
    if (!c.raises())
      for (std::string const& name : {out.dense, out.map, out.ids, out.weights, out.gradient})
        if (!name.empty()) c.output(name, p); // read them even when there are no rows
    if (out.gradient.empty() || c.raises()) continue;
    Matrix const d_weights = gather(a.ids, c.matrix("in_cotangent"), r.top_k);
    Matrix const d = backward(r, p, a.ids, d_weights);
    for (std::size_t t = 0; t < r.tokens(); ++t) check_gradient_row(c, r, a, out, p, t, d_weights.row(t), d.row(t));
  }
}

namespace {

// -------------------- mappings

Request base(Case const& c, std::size_t top_k, Gate gate, std::string const& bias = "") {
  Request r{.gate = gate, .top_k = top_k, .logits = c.matrix("in_logits")};
  if (!bias.empty() && c.has(bias)) r.bias = c.row(bias);
  return r;
}
void limit(Request& r, std::size_t groups, std::size_t kept, std::size_t sum_of) {
  if (groups > 1) r.groups = Groups{groups, kept, sum_of};
}

Gate over_chosen(Score score, double scale, double epsilon, bool single_raw) {
  return {.score = score, .normalise = true, .single_choice_raw = single_raw, .scale = scale, .epsilon = epsilon};
}
Gate as_it_is(Score score, double scale = 1) { return {.score = score, .normalise = false, .scale = scale}; }

void megatron_topk(Case& c) {
  std::size_t const K = c.count("topk");
  std::string const function = c.text("score_function", "softmax");
  double const factor = c.number("scaling_factor", 0), scale = factor == 0 ? 1 : factor;
  bool const pre = c.flag("use_pre_softmax");
  Gate gate = over_chosen(Score::Sigmoid, scale, 1e-20, true);
  if (function == "softmax")
    gate = as_it_is(pre ? Score::Softmax : Score::SoftmaxOverChosen, scale);
  else
    gate.score = score_named(function);
  bool const softmax = function == "softmax"; // ignores its bias
  check_routing(c,
                [&](Precision) {
                  Request r = base(c, K, gate, softmax ? "" : "in_expert_bias");
                  if (softmax) c.ignore_array("in_expert_bias");
                  if (c.given("num_groups") && c.given("group_topk")) {
                    std::size_t const kept = c.count("group_topk");
                    limit(r, c.count("num_groups"), kept, K / kept);
                  }
                  return r;
                },
                {.dense = "probs", .map = "routing_map", .gradient = "grad_logits"});
}

void megatron_group_limited(Case& c) {
  std::size_t const K = c.count("topk"), kept = c.count("group_topk");
  check_routing(c,
                [&](Precision) {
                  Request r{.gate = as_it_is(Score::SoftmaxOverChosen), .top_k = K, .logits = c.matrix("in_scores")};
                  limit(r, c.count("num_groups"), kept, K / kept);
                  return r;
                },
                {.dense = "", .ids = "top_indices", .weights = "top_scores", .raw_logits_as_weights = true});
}

/// DeepSeek-V3, GLM-4.5: sigmoid, two best of a group, weights normalised also at K = 1.
void hf_deepseek(Case& c, bool zero_fill) {
  c.ignore_argument("num_experts"), c.ignore_argument("n_routed_experts");
  Gate gate = over_chosen(Score::Sigmoid, c.number("routed_scaling_factor"), 1e-20, false);
  gate.normalise = c.flag("norm_topk_prob");
  Outputs out{.ids = "topk_ids", .weights = "topk_weights", .gradient = "grad_logits"};
  Row const bias = c.has("in_bias") ? c.row("in_bias") : Row{};
  if (zero_fill && c.number("n_group") > 1)
    out.bug = [bias](Row const& z, Ids const& ids) -> std::string {
      for (int e : ids)
        if (reference::sigmoid(z[std::size_t(e)]) + (bias.empty() ? 0 : bias[std::size_t(e)]) <= 0)
          return "the peer's 0.0 fill lets other groups in";
      return "";
    };
  check_routing(
      c,
      [&](Precision) {
        Request r = base(c, c.count("topk"), gate, "in_bias");
        limit(r, c.count("n_group"), c.count("topk_group"), 2);
        return r;
      },
      out);
}

void hf_softmax(Case& c, bool always_normalised) {
  c.ignore_argument("num_experts");
  bool const normalise = always_normalised || c.flag("norm_topk_prob");
  Gate gate = over_chosen(Score::Softmax, 1, 0, false);
  gate.normalise = normalise;
  auto const make = [&](Precision) { return base(c, c.count("topk"), gate); };
  check_routing(c, make, {.ids = "topk_ids", .weights = "topk_weights", .gradient = "grad_logits"});
  if (!c.has_output("returned_router_logits")) return;
  for (Precision const p : precisions)
    if (always_normalised)
      c.close("returned_router_logits", make(p).logits.data, c.output("returned_router_logits", p).values, {});
    else
      check_score_rows(c, make(p), "returned_router_logits", p); // the name hides probabilities
}

/// The linear bias belongs to the gate product: it counts in the weights.
void hf_gpt_oss(Case& c) {
  c.ignore_argument("num_experts");
  Row const bias = c.has("in_bias") ? c.row("in_bias") : Row{};
  auto const make = [&](Precision p) {
    Request r = base(c, c.count("topk"), as_it_is(Score::SoftmaxOverChosen));
    if (!bias.empty())
      for (std::size_t i = 0; i < r.logits.data.size(); ++i) {
        double const z = r.logits.data[i] + bias[i % r.experts()];
        r.logits.data[i] = p == Precision::Single ? double(float(z)) : z;
      }
    return r;
  };
  check_routing(c, make, {.ids = "topk_ids", .weights = "topk_weights", .gradient = "grad_logits"});
  for (Precision const p : precisions)
    if (c.has_output("returned_router_logits"))
      c.close("returned_router_logits (logits + bias)", make(p).logits.data,
              c.output("returned_router_logits", p).values, c.tolerance("returned_router_logits", p));
}

/// SGLang and vLLM: weights divided by their sum without an epsilon.
void serving(Case& c, Gate gate, std::size_t sum_of, bool zero_fill, bool gate_is_fixed = false) {
  std::string const bias = "in_bias";
  Outputs out{.ids = "topk_ids", .weights = "topk_weights"};
  if (!gate_is_fixed) gate.normalise = c.flag("renormalize");
  if (zero_fill)
    out.bug = [](Row const& z, Ids const& ids) -> std::string {
      Row const p = reference::softmax(z);
      for (int e : ids)
        if (!(p[std::size_t(e)] > 1e-37)) return "the peer's 0.0 fill lets other groups in";
      return "";
    };
  check_routing(
      c,
      [&](Precision) {
        Request r = base(c, c.count("topk"), gate, bias);
        if (c.given("num_expert_group")) limit(r, c.count("num_expert_group"), c.count("topk_group"), sum_of);
        return r;
      },
      out);
}
double sglang_scale(Case const& c) {
  double const factor = c.number("routed_scaling_factor", 1);
  bool const renormalise = c.flag("renormalize"), on_output = c.flag("apply_routed_scaling_factor_on_output");
  return renormalise && on_output ? factor : 1;
}

void sglang_raw_logits(Case& c) {
  bool const renormalise = c.flag("renormalize");
  check_routing(c, [&](Precision) { return base(c, c.count("topk"), as_it_is(Score::SoftmaxOverChosen)); },
                {.ids = "topk_ids", .weights = "topk_weights", .raw_logits_as_weights = !renormalise});
}

void vllm_grouped(Case& c) {
  double const scale = c.number("routed_scaling_factor", 1);
  serving(c, over_chosen(score_named(c.text("scoring_func", "softmax")), scale, 0, false), c.has("in_bias") ? 2 : 1,
          false);
}

void vllm_select(Case& c) {
  bool const renormalise = c.flag("renormalize");
  serving(c, as_it_is(renormalise ? Score::SoftmaxOverChosen : Score::Softmax), 1, false, true);
}

void torchtitan_router(Case& c) {
  c.ignore_argument("num_experts");
  Gate gate = over_chosen(score_named(c.text("score_func")), c.number("route_scale", 1), 1e-20, false);
  gate.normalise = c.flag("route_norm");
  auto const make = [&](Precision) {
    Request r = base(c, c.count("top_k"), gate, "in_expert_bias");
    if (c.given("num_expert_groups")) limit(r, c.count("num_expert_groups"), c.count("num_limited_groups"), 2);
    return r;
  };
  check_routing(c, make, {.ids = "topk_ids", .weights = "topk_scores", .gradient = "grad_logits"});
  if (!c.has_output("scores")) return;
  for (Precision const p : precisions) {
    Request r = make(p);
    if (gate.score == Score::Softmax) {
      check_score_rows(c, r, "scores", p);
      continue;
    }
    // The score of one logit alone: E = 1, K = 1, not normalised.
    Request const alone{
        .gate = as_it_is(gate.score), .top_k = 1, .logits = Matrix(r.logits.data.data(), r.logits.data.size(), 1)};
    c.close(std::string(name_of(p)) + " scores", route(alone, p).weights.data, c.output("scores", p).values,
            widened(c, r, "scores", p));
  }
}

/// Megatron's auxiliary scores: row-normalised, with the plain top-K of them as map, both zero on padding.
void megatron_aux_scores(Case& c) {
  Score const score = score_named(c.text("score_function", "softmax"));
  for (Precision const p : precisions) {
    Request r = base(c, c.count("topk"), as_it_is(score));
    if (c.has("in_padding_mask")) r.padding = c.bytes("in_padding_mask");
    r.segments = one_token_segments(r.tokens());
    check_score_rows(c, r, "scores", p);
    Matrix const map = c.output_matrix("routing_map", p), gradient = c.output_matrix("grad_logits", p);
    c.array("in_cotangent");
    c.need(map.rows == r.tokens(), "rows of routing_map", std::to_string(r.tokens()), std::to_string(map.rows));
    if (r.tokens() == 0) continue;
    Answer const a = route(r, p);
    Matrix const d = backward(r, p, a.ids, {}, c.matrix("in_cotangent"));
    for (std::size_t t = 0; t < r.tokens(); ++t) {
      std::string const at = std::string(name_of(p)) + " row " + std::to_string(t);
      bool const padded = !r.padding.empty() && r.padding[t];
      Row counts;
      for (std::int64_t n : a.load.get<moebal::stats::UnbiasedCounts>(moebal::Index(t))) counts.push_back(double(n));
      Row const z = r.logits.row(t), slopes = c.matrix("in_cotangent").row(t);
      std::string why = padded ? "" : why_contract(c, r, t, {});
      if (why.empty()) {
        c.close(at + " routing_map", counts, map.row(t), {});
      } else {
        c.by_contract(why);
        Row needed(r.experts(), 0);
        for (int e : reference::top_k(z, r.top_k)) needed[std::size_t(e)] = 1;
        c.close(at + " unbiased counts", counts, needed, {});
      }
      Row needed = gradient.row(t);
      Row const contract = padded ? Row(r.experts(), 0) : reference::normalised_scores_gradient(score, z, slopes);
      if (any_nan(needed) && !any_nan(contract)) {
        c.by_contract(padded ? "a NaN in a padding row reaches nothing" : "the peer's gradient is NaN");
        needed = contract;
      }
      c.close(at + " grad_logits", d.row(t), needed, with_noise(widened(c, r, "grad_logits", p), p, largest(slopes)));
    }
  }
}

/// Rows at and after num_token_non_padded are padding. Logits that fall with k make the given ids the choice.
void sglang_padded_ids(Case& c) {
  Matrix const given = c.matrix("in_topk_ids");
  std::size_t const real = c.count("num_token_non_padded");
  double const most = given.data.empty() ? 0 : *std::max_element(given.data.begin(), given.data.end());
  Request r{.gate = as_it_is(Score::Sigmoid), .top_k = given.cols};
  r.logits = Matrix(given.rows, std::max(std::size_t(most) + 1, given.cols), -100);
  for (std::size_t t = 0; t < given.rows; ++t) {
    r.padding.push_back(t >= real);
    for (std::size_t k = 0; k < given.cols; ++k)
      if (given(t, k) >= 0) r.logits(t, std::size_t(given(t, k))) = -double(k);
  }
  for (Precision const p : precisions) {
    std::vector<Ids> const had = route(r, p).ids;
    Matrix const needed = c.output_matrix("topk_ids", p);
    for (std::size_t t = 0; t < given.rows; ++t) {
      Row const row = given.row(t);
      if (t < real && std::set<double>(row.begin(), row.end()).size() < row.size()) {
        c.by_contract("the same expert twice in a row is no choice of a router");
        check_ids(c, at_row(p, t) + " ids", had[t], r.experts());
        continue;
      }
      c.close(at_row(p, t) + " topk_ids", Row(had[t].begin(), had[t].end()), needed.row(t), {});
    }
  }
}

} // namespace

Mapping routing_mapping(std::string const& key) {
  static std::map<std::string, Mapping> const mappings{
      {"megatron.topk_routing_with_score_function", megatron_topk},
      {"te.topk_score_function_pytorch", megatron_topk},
      {"megatron.group_limited_topk", megatron_group_limited},
      {"megatron.compute_routing_scores_for_aux_loss", megatron_aux_scores},
      {"hf.DeepseekV3MoE.route_tokens_to_experts", [](Case& c) { hf_deepseek(c, true); }},
      {"hf.DeepseekV3TopkRouter_old", [](Case& c) { hf_deepseek(c, true); }},
      {"hf.Glm4MoeTopkRouter", [](Case& c) { hf_deepseek(c, true); }},
      {"hf.DeepseekV3MoE.route_tokens_to_experts_neginf", [](Case& c) { hf_deepseek(c, false); }},
      {"hf.MixtralSparseMoeBlock.routing", [](Case& c) { hf_softmax(c, true); }},
      {"hf.MixtralTopKRouter", [](Case& c) { hf_softmax(c, true); }},
      {"hf.Qwen3MoeTopKRouter", [](Case& c) { hf_softmax(c, false); }},
      {"hf.Qwen2MoeTopKRouter", [](Case& c) { hf_softmax(c, false); }},
      {"hf.OlmoeTopKRouter", [](Case& c) { hf_softmax(c, false); }},
      {"hf.GptOssTopKRouter", hf_gpt_oss},
      {"sglang.fused_topk_torch_native",
       [](Case& c) {
         serving(c, over_chosen(score_named(c.text("scoring_func", "softmax")), sglang_scale(c), 0, false), 1, false);
       }},
      {"sglang.fused_topk_softmax_torch_raw_logits", sglang_raw_logits},
      {"sglang.grouped_topk_gpu",
       [](Case& c) { serving(c, over_chosen(Score::Softmax, sglang_scale(c), 0, false), 1, true); }},
      {"sglang.biased_grouped_topk_impl",
       [](Case& c) { serving(c, over_chosen(Score::Sigmoid, sglang_scale(c), 0, false), 2, false); }},
      {"sglang.kimi_k2_biased_topk_impl",
       [](Case& c) { serving(c, over_chosen(Score::Sigmoid, sglang_scale(c), 0, false), 2, false); }},
      {"sglang.biased_topk_impl",
       [](Case& c) {
         serving(c, over_chosen(score_named(c.text("scoring_func", "sigmoid")), sglang_scale(c), 0, false), 2, false);
       }},
      {"sglang._mask_topk_ids_padded_region", sglang_padded_ids},
      {"vllm.grouped_topk", vllm_grouped},
      {"vllm.select_experts", vllm_select},
      {"torchtitan.TokenChoiceTopKRouter", torchtitan_router},
  };
  auto const found = mappings.find(key);
  return found == mappings.end() ? nullptr : found->second;
}

} // namespace golden
