// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Megatron's whole router: routing, capacity, and every loss at its scope, over several micro-batches and ranks.

#include "losses.hpp"
#include "plans.hpp"

namespace golden {
namespace {

using reference::Score;
using UnbiasedLoss = moebal::SwitchLoss<moebal::Choices::All, moebal::CountSource::Unbiased>;
using Loads = std::vector<moebal::Load<AllStatistics>>;

/// Rows [s * B + b] of the peer and rows [b * S + s] here, where a sequence is one piece.
struct Order {
  std::size_t S, B;
  std::size_t ours(std::size_t peer) const { return peer % B * S + peer / B; }
};
Matrix reordered(Order o, Matrix const& peer) {
  Matrix ours(peer.rows, peer.cols);
  for (std::size_t t = 0; t < peer.rows; ++t)
    std::copy_n(peer.data.begin() + long(t * peer.cols), peer.cols, ours.data.begin() + long(o.ours(t) * peer.cols));
  return ours;
}
Matrix piece(Matrix const& all, std::size_t g, std::size_t rows) {
  return Matrix(all.data.data() + g * rows * all.cols, rows, all.cols);
}

struct Loss {
  std::string type; // aux_loss, seq_aux_loss, global_aux_loss
  double coefficient = 0;
};
std::string logged_name(std::string const& type) {
  return type == "aux_loss"
             ? "logged_load_balancing_loss"
             : (type == "seq_aux_loss" ? "logged_seq_load_balancing_loss" : "logged_global_load_balancing_loss");
}

/// The load of the other rank, of which only the counts are known, [sequences or 1, E]; it has as many tokens.
template <class Real> moebal::Load<AllStatistics> other_load(Matrix const& counts, std::size_t tokens) {
  return load_of<Real>(counts, Matrix(counts.rows, counts.cols), Row(counts.rows, double(tokens / counts.rows)));
}

/// One sequence of a load.
moebal::Load<AllStatistics> sequence_of(moebal::Load<AllStatistics> const& load, std::size_t s) {
  moebal::Load<AllStatistics> one(1, load.experts());
  std::size_t const slots = load.raw().size() / load.sequences();
  std::copy_n(load.raw().data() + s * slots, slots, one.view().data());
  return one;
}

/// The terms of one loss for every micro-batch.
template <class Real>
std::vector<Terms> terms_of(Loss const& loss, std::size_t K, std::size_t tokens, Loads const& loads,
                            std::vector<Matrix> const& other) {
  UnbiasedLoss const rule{.coefficient = loss.coefficient};
  bool const ranks = !other.empty();
  if (!ranks) {
    if (loss.type == "aux_loss") return balance_step<Real>(moebal::MicroBatch<>{}, rule, K, loads);
    if (loss.type == "seq_aux_loss") return balance_step<Real>(moebal::Sequence<>{}, rule, K, loads);
    return balance_step<Real>(moebal::GlobalBatch<moebal::Accumulate::Running>{}, rule, K, loads);
  }
  Loads others;
  for (Matrix const& counts : other) others.push_back(other_load<Real>(counts, tokens));
  if (loss.type == "aux_loss") return balance_step_of_ranks<Real>(moebal::GlobalBatch<>{}, rule, K, {loads, others});
  if (loss.type == "global_aux_loss")
    return balance_step_of_ranks<Real>(moebal::GlobalBatch<moebal::Accumulate::Running>{}, rule, K, {loads, others});
  // A sequence that is cut over ranks: a window of its own over both.
  std::vector<Terms> step(loads.size());
  auto const sequences = std::size_t(loads[0].sequences());
  for (std::size_t s = 0; s < sequences; ++s) {
    Loads mine, theirs;
    for (std::size_t g = 0; g < loads.size(); ++g) {
      mine.push_back(sequence_of(loads[g], s));
      theirs.push_back(sequence_of(others[g], s));
    }
    auto const one = balance_step_of_ranks<Real>(moebal::GlobalBatch<>{}, rule, K, {mine, theirs});
    for (std::size_t g = 0; g < loads.size(); ++g) {
      step[g].loss += one[g].loss / double(sequences);
      step[g].slopes.rows = sequences;
      step[g].slopes.cols = one[g].slopes.cols;
      for (double x : one[g].slopes.data) step[g].slopes.data.push_back(x / double(sequences));
    }
  }
  return step;
}

/// The same by the reference: what micro-batch g loses, and its slopes.
struct Needed {
  std::vector<double> loss;
  std::vector<Matrix> slopes; // [S, E]
};
Needed needed_terms(Loss const& loss, std::size_t K, reference::StepSums const& sums) {
  auto const scope = loss.type == "seq_aux_loss"                   ? reference::Scope::Sequence
                     : loss.type == "aux_loss" && sums.size() == 1 ? reference::Scope::MicroBatch
                                                                   : reference::Scope::GlobalBatch;
  auto const how = loss.type == "global_aux_loss" ? reference::Accumulation::Running : reference::Accumulation::None;
  auto const step = reference::step_loss(sums, scope, how, K, loss.coefficient, false, true);
  Needed needed;
  double const G = double(sums[0].size()), ranks = double(sums.size());
  for (std::size_t g = 0; g < sums[0].size(); ++g) {
    Matrix slopes(sums[0][g].size(), sums[0][g][0].score_sums.size());
    double value = 0;
    for (std::size_t s = 0; s < slopes.rows; ++s)
      for (std::size_t e = 0; e < slopes.cols; ++e) {
        slopes(s, e) = step.slopes[0][g][s][e] * G / ranks; // gradients are summed over ranks here
        value += slopes(s, e) * sums[0][g][s].score_sums[e];
      }
    needed.loss.push_back(value);
    needed.slopes.push_back(slopes);
  }
  return needed;
}

} // namespace

void megatron_router(Case& c) {
  std::size_t const S = c.count("seq_length"), B = c.count("batch_size"), E = c.count("num_experts"),
                    K = c.count("topk");
  std::size_t const G = c.count("num_microbatches"), T = S * B;
  Order const order{S, B};
  double const group_size = c.number("group_size", 1);
  double const factor = c.number("scaling_factor", 0);
  std::string const function = c.text("score_function", "softmax");
  reference::Gate gate{.score = Score::SoftmaxOverChosen, .scale = factor == 0 ? 1 : factor};
  if (function != "softmax")
    gate = {.score = score_named(function),
            .normalise = true,
            .single_choice_raw = true,
            .scale = gate.scale,
            .epsilon = 1e-20};
  if (c.flag("use_pre_softmax") && function == "softmax") gate.score = Score::Softmax;
  std::vector<Loss> losses;
  auto const types = c.texts("load_balancing_type");
  auto const coefficients = c.numbers("aux_loss_coeff");
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (types[i] == "none") continue;
    if (types[i] != "aux_loss" && types[i] != "seq_aux_loss" && types[i] != "global_aux_loss")
      throw Skip{"load_balancing_type " + types[i] + " is not mapped"};
    losses.push_back({types[i], coefficients.at(i)});
  }
  double const z_coefficient = c.number("z_loss_coeff", 0);
  double const attached =
      c.number("backward_scale", 1) * (c.flag("calculate_per_token_loss") ? double(T) * group_size : 1);
  Matrix const logits = c.matrix("in_logits"), cotangent = c.matrix("in_cotangent");
  Row const bias = c.has("in_expert_bias") && function != "softmax" ? c.row("in_expert_bias") : Row{};
  if (c.has("in_expert_bias")) c.array("in_expert_bias");
  bool const padded = c.has("in_padding_mask");
  std::vector<Matrix> other;
  if (group_size == 2)
    for (std::size_t g = 0; g < G; ++g) {
      Row const counts = c.row("in_other_rank_counts");
      other.push_back(Matrix(counts.data(), counts.size() / E, E));
    }
  else if (group_size != 1)
    throw Skip{"a group of more than two ranks is not mapped"};
  if (padded && !other.empty())
    throw Skip{"padding on several ranks is not mapped: the other rank's tokens are not known"};
  std::optional<reference::Groups> groups;
  if (c.given("num_groups") && c.given("group_topk"))
    groups = reference::Groups{c.count("num_groups"), c.count("group_topk"), K / c.count("group_topk")};

  std::string doubt;
  if (any_nan(logits.data)) doubt = "a NaN logit (the peer ranks NaN first, and its loss is NaN)";
  if (c.has("ambiguous_rows"))
    for (double flags : c.array("ambiguous_rows").values)
      if (flags != 0 && doubt.empty()) doubt = "a tie decides";

  for (Precision const p : precisions) {
    // Route every micro-batch.
    std::vector<Request> requests;
    std::vector<Answer> answers;
    Loads loads;
    reference::StepSums sums(1);
    for (std::size_t g = 0; g < G; ++g) {
      Request r{
          .gate = gate, .top_k = K, .groups = groups, .logits = reordered(order, piece(logits, g, T)), .bias = bias};
      for (std::size_t b = 0; b <= B; ++b) r.segments.push_back(Index(b * S));
      if (padded)
        for (std::size_t t = 0; t < T; ++t)
          r.padding.push_back(c.array("in_padding_mask")[g * T + t % S * B + t / S] != 0);
      requests.push_back(r);
      answers.push_back(route(r, p));
      loads.push_back(answers.back().load);
      reference::Routing const routing{answers.back().ids, answers.back().weights};
      sums[0].emplace_back();
      for (std::size_t b = 0; b < B; ++b)
        sums[0][g].push_back(reference::sums(gate, r.logits, routing, b * S, (b + 1) * S));
    }
    if (!other.empty()) {
      sums.emplace_back();
      for (Matrix const& counts : other) {
        sums[1].emplace_back();
        for (std::size_t s = 0; s < counts.rows; ++s) {
          reference::Sums o;
          for (double n : counts.row(s)) o.unbiased.push_back(std::int64_t(n));
          o.counts = o.first = o.unbiased_first = o.unbiased;
          o.score_sums = Row(E, 0);
          o.tokens = std::int64_t(T / counts.rows);
          sums[1].back().push_back(o);
        }
      }
    }

    // Losses.
    std::vector<Terms> all(G);
    std::vector<Matrix> needed_slopes(G, Matrix(B, E));
    bool peer_differs = false; // the peer's gradient follows another rule than ours
    for (Loss const& loss : losses) {
      auto const terms = with_real(p, [&](auto real) { return terms_of<decltype(real)>(loss, K, T, loads, other); });
      bool const cut_sequences = loss.type == "seq_aux_loss" && !other.empty();
      Needed needed;
      if (!cut_sequences) needed = needed_terms(loss, K, sums);
      if (cut_sequences) {
        needed = {std::vector<double>(G, 0), std::vector<Matrix>(G, Matrix(B, E))};
        for (std::size_t b = 0; b < B; ++b) {
          reference::StepSums one(2);
          for (std::size_t g = 0; g < G; ++g) one[0].push_back({sums[0][g][b]}), one[1].push_back({sums[1][g][b]});
          Needed const n = needed_terms({"aux_loss", loss.coefficient / double(B)}, K, one);
          for (std::size_t g = 0; g < G; ++g) {
            needed.loss[g] += n.loss[g];
            for (std::size_t e = 0; e < E; ++e) needed.slopes[g](b, e) = n.slopes[g](0, e);
          }
        }
      }
      Array const& logged = c.output(logged_name(loss.type), p);
      double seen = 0, valid_so_far = 0;
      for (std::size_t g = 0; g < G; ++g) {
        std::string const at = std::string(name_of(p)) + " " + logged_name(loss.type) + " " + std::to_string(g);
        double const unit = p == Precision::Single ? 1e-5 : 1e-9;
        c.close(at + ", by the reference", terms[g].loss, needed.loss[g], {unit, unit * loss.coefficient});
        for (std::size_t i = 0; i < needed_slopes[g].data.size(); ++i)
          needed_slopes[g].data[i] += needed.slopes[g].data[i];
        add(all[g], terms[g], 1);
        double peer = logged[g] * loss.coefficient;
        double valid = 0;
        for (auto const& s : sums[0][g]) valid += double(s.tokens);
        seen += 1, valid_so_far += valid;
        if (padded &&
            loss.type == "global_aux_loss") { // there the counts are averaged over micro-batches, here over tokens
          c.by_contract("the running window weighs micro-batches by their tokens");
          peer *= seen * valid / valid_so_far;
          peer_differs = peer_differs || seen * valid != valid_so_far;
        }
        if (padded && loss.type == "seq_aux_loss") {
          c.by_contract("each sequence is divided by its own number of tokens (the peer: by their mean)");
          peer_differs = true;
          continue;
        }
        if (!doubt.empty() || std::isnan(peer)) {
          c.by_contract(doubt.empty() ? "no valid token (the peer's loss is NaN)" : doubt);
          continue;
        }
        Tolerance t = c.tolerance(logged_name(loss.type), p);
        t.absolute *= loss.coefficient;
        c.close(at, terms[g].loss, peer, with_fixed_point(t, p, 2 * loss.coefficient * double(E)));
      }
      if (loss.type == "global_aux_loss" && c.has_output("global_tokens_per_expert_accum")) {
        Array const& counts = c.output("global_tokens_per_expert_accum", p);
        if (doubt.empty()) c.close("global_tokens_per_expert_accum", terms.back().counts, counts.values, {});
      }
    }
    std::vector<Terms> z(G);
    if (z_coefficient != 0) {
      z = with_real(p, [&](auto real) {
        return balance_step<decltype(real)>(moebal::MicroBatch<>{}, moebal::ZLoss{.coefficient = z_coefficient}, K,
                                            loads);
      });
      Array const& logged = c.output("logged_z_loss", p);
      for (std::size_t g = 0; g < G; ++g) {
        Tolerance t = c.tolerance("logged_z_loss", p);
        if (doubt.empty()) c.close("logged_z_loss", z[g].loss / z_coefficient, logged[g], t);
      }
    }

    // Probabilities after capacity, and gradients.
    Matrix const peer_probs = c.output_matrix("probs", p), peer_map = c.output_matrix("routing_map", p);
    Matrix const peer_total = c.output_matrix("grad_logits_total", p),
                 peer_losses = c.output_matrix("grad_logits_losses_only", p);
    Row local(E, 0);
    for (std::size_t g = 0; g < G; ++g) {
      Request const& r = requests[g];
      Answer const& a = answers[g];
      auto const capacity = moebal::capacities::megatron(c.number("capacity_factor", 0));
      bool const drops = c.given("capacity_factor");
      moebal::Plan const plan = with_real(p, [&](auto real) {
        return plan_for<decltype(real)>(a.ids, a.weights, E, drops ? Drop::Probability : Drop::None, capacity);
      });
      for (std::size_t e = 0; e < E; ++e) local[e] += double(plan.kept()[Index(e)]);
      Matrix const v = gather(a.ids, reordered(order, piece(cotangent, g, T)), K);
      Matrix weights, d_weights;
      with_real(p, [&](auto real) {
        using Real = decltype(real);
        weights = keep_weights<Real>({}, plan, a.weights);
        d_weights = keep_weights_gradient<Real>({}, plan, a.weights, v);
        return 0;
      });
      Terms scaled;
      add(scaled, all[g], attached);
      add(scaled, z[g], attached);
      if (scaled.slopes.data.empty()) scaled.slopes = {};
      Matrix const d_losses = backward(r, p, a.ids, {}, scaled.slopes, scaled.z_slopes);
      Matrix const d_total = backward(r, p, a.ids, d_weights, scaled.slopes, scaled.z_slopes);
      Matrix kept_ones(T, K);
      auto const keep = kept_of(plan);
      for (std::size_t i = 0; i < keep.size(); ++i) kept_ones.data[i] = keep[i];
      Matrix const probs = scatter(a.ids, weights, E), map = scatter(a.ids, kept_ones, E);
      for (std::size_t peer = 0; peer < T; ++peer) {
        std::size_t const t = order.ours(peer), at = g * T + peer;
        std::string const row = at_row(p, at) + " ";
        bool const pad = padded && r.padding[t];
        Row const logit = r.logits.row(t);
        // By the reference.
        double const unit = p == Precision::Single ? 1e-5 : 1e-9;
        Row needed(E, 0), needed_total(E, 0);
        if (!pad) {
          Row slopes = needed_slopes[g].row(t / S);
          for (double& x : slopes) x *= attached;
          needed = reference::normalised_scores_gradient(gate.score, logit, slopes);
          Row const squares = reference::squared_lse_gradient(logit);
          for (std::size_t e = 0; e < E && !z[g].z_slopes.empty(); ++e)
            needed[e] += z[g].z_slopes[t / S] * attached * squares[e];
          Row const main = reference::weights_gradient(gate, logit, a.ids[t], d_weights.row(t));
          for (std::size_t e = 0; e < E; ++e) needed_total[e] = needed[e] + main[e];
          check_ids(c, row + "ids", a.ids[t], E);
          check_choice(c, row + "choice", r, logit, a.ids[t], p);
        }
        double const sizes = largest(scaled.slopes.data);
        c.close(row + "gradient of the losses, by the reference", d_losses.row(t), needed,
                with_noise({unit, unit * largest(needed)}, p, sizes));
        c.close(row + "gradient, by the reference", d_total.row(t), needed_total, {unit, unit});
        // By the peer.
        if (pad) {
          c.by_contract("a padding row is not routed and has no gradient");
          continue;
        }
        if (!doubt.empty()) {
          c.by_contract(doubt);
          continue;
        }
        c.close(row + "probs", probs.row(t), peer_probs.row(at), widened(c, r, "probs", p));
        c.close(row + "routing_map", map.row(t), peer_map.row(at), {});
        if (peer_differs) continue;
        Row const peer_row = peer_losses.row(at);
        if (any_nan(peer_row)) {
          c.by_contract("the peer's loss is NaN");
          continue;
        }
        c.close(row + "grad_logits_losses_only", d_losses.row(t), peer_row,
                with_noise(widened(c, r, "grad_logits_losses_only", p), p, sizes));
        c.close(row + "grad_logits_total", d_total.row(t), peer_total.row(at),
                with_noise(widened(c, r, "grad_logits_total", p), p, largest(v.row(t)) * gate.scale));
      }
    }
    if (c.has_output("local_tokens_per_expert")) {
      Array const& counts = c.output("local_tokens_per_expert", p);
      if (doubt.empty()) c.close("local_tokens_per_expert", local, counts.values, {});
    }
  }
}

// -------------------- one big input at once

void megatron_big(Case& c) {
  for (char const* arg : {"logits_scale", "total_tokens", "num_experts"}) c.ignore_argument(arg);
  std::size_t const K = c.count("topk");
  Matrix logits = c.matrix("in_logits_q");
  for (double& x : logits.data) x *= 0x1p-12;
  Row const bias = c.row("in_expert_bias");
  std::size_t const T = logits.rows, E = logits.cols;
  reference::Gate const sigmoid{.score = Score::Sigmoid, .normalise = true, .epsilon = 1e-20};
  reference::Gate scaled = sigmoid;
  scaled.scale = 2.5;
  reference::Groups const groups{c.count("num_groups"), c.count("group_topk"), K / c.count("group_topk")};
  struct Form {
    char const* name;
    Request request;
  };
  Form const forms[] = {
      {"smpost", {.gate = {.score = Score::SoftmaxOverChosen}, .top_k = K, .logits = logits}},
      {"smpre", {.gate = {.score = Score::Softmax}, .top_k = K, .logits = logits}},
      {"sig", {.gate = sigmoid, .top_k = K, .logits = logits}},
      {"sigbiasgrp", {.gate = scaled, .top_k = K, .groups = groups, .logits = logits, .bias = bias}},
  };
  for (Precision const p : precisions) {
    for (Form const& form : forms) {
      std::string const name = form.name;
      Answer const a = route(form.request, p);
      Matrix const ids = c.matrix("out_" + name + "_ids"), weights = c.matrix("out_" + name + "_weights");
      Row const doubtful = c.row("precision_rows_" + name);
      Tolerance tolerance = c.tolerance(name + "_weights", Precision::Single); // the weights are there in fp32 alone
      for (std::size_t t = 0; t < T; ++t) {
        if (doubtful[t] != 0) {
          c.by_contract("the peer chooses differently in fp32 and fp64");
          check_choice(c, at_row(p, t) + " " + name, form.request, logits.row(t), a.ids[t], p);
          continue;
        }
        std::vector<std::pair<int, double>> had;
        for (std::size_t k = 0; k < K; ++k) had.emplace_back(a.ids[t][k], a.weights(t, k));
        std::sort(had.begin(), had.end());
        for (std::size_t k = 0; k < K; ++k) {
          c.equal(at_row(p, t) + " " + name + "_ids", had[k].first, ids(t, k));
          c.close(at_row(p, t) + " " + name + "_weights", had[k].second, weights(t, k), tolerance);
        }
      }
    }
    with_real(p, [&](auto real) {
      using Real = decltype(real);
      UnbiasedLoss const rule{.coefficient = c.number("aux_loss_coeff")};
      Answer const softmax = route(forms[1].request, p), sig = route(forms[2].request, p);
      auto const close = [&](char const* output, double had, double factor) {
        c.close(output, had, c.output(output, p)[0], with_fixed_point(c.tolerance(output, p), p, factor));
      };
      Terms const terms = balance_step<Real>(moebal::MicroBatch<>{}, rule, K, {softmax.load}).front();
      close("aux_loss", terms.loss, rule.coefficient * double(E));
      close("aux_loss_sigmoid", balance_step<Real>(moebal::MicroBatch<>{}, rule, K, {sig.load}).front().loss,
            rule.coefficient * double(E));
      close("z_loss",
            balance_step<Real>(moebal::MicroBatch<>{}, moebal::ZLoss{.coefficient = c.number("z_loss_coeff")}, K,
                               {softmax.load})
                .front()
                .loss,
            1);
      c.close("aux_counts", terms.counts, c.output("aux_counts", p).values, {});
      Row means = softmax.score_sums.data;
      for (double& x : means) x /= double(T);
      c.close("aux_mean_scores", means, c.output("aux_mean_scores", p).values,
              with_fixed_point(c.tolerance("aux_mean_scores", p), p));

      // Drops and permutation of the softmax routing.
      auto const capacity = moebal::capacities::megatron(c.number("capacity_factor"));
      moebal::Plan const plan = plan_for<Real>(softmax.ids, softmax.weights, E, Drop::Probability, capacity);
      c.close("drop_kept_per_expert", widen(plan.kept()), c.output("drop_kept_per_expert", p).values, {});
      Matrix const kept = keep_weights<Real>({}, plan, softmax.weights);
      Row sums(T, 0);
      for (std::size_t t = 0; t < T; ++t)
        for (std::size_t k = 0; k < K; ++k) sums[t] += kept(t, k);
      c.close("drop_prob_sum_per_token", sums, c.output("drop_prob_sum_per_token", p).values,
              c.tolerance("drop_prob_sum_per_token", p));
      moebal::Plan const whole = plan_for<Real>(softmax.ids, softmax.weights, E, Drop::None);
      Row tokens;
      for (Index const pair : whole.order()) tokens.push_back(double(pair / Index(K)));
      c.close("permute_sorted_indices", tokens, c.output("permute_sorted_indices", p).values, {});
      return 0;
    });
  }
}

} // namespace golden
