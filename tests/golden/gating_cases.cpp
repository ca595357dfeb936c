// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Gating functions that do everything at once (DeepSpeed, Tutel): route, drop, weigh what is kept, and a loss.

#include "losses.hpp"
#include "plans.hpp"

#include <limits>

namespace golden {
namespace {

/// One case of DeepSpeed or Tutel, described.
struct Gating {
  std::size_t top_k = 1;
  reference::Gate gate{}; // before any drop
  Drop drop = Drop::Position;
  moebal::SlotOrder order = moebal::SlotOrder::Token;
  moebal::Capacity capacity{};
  moebal::KeptWeights kept{};
  bool first_choice_loss = true;           // else all choices, divided by K
  bool position_is_not_first_come = false; // the peer's bug 1
};

/// Everything of a gating function that follows from ids: by the reference, in double, from the library's own choices.
struct Expected {
  std::vector<std::int64_t> places;
  std::vector<std::uint8_t> kept;
  Matrix weights; // [T, K] after the drop
  double loss = 0;
  Matrix loss_gradient, weights_gradient;
};

struct Done {
  Answer answer;
  moebal::Plan plan;
  std::vector<std::int64_t> places;
  Matrix weights, loss_gradient, weights_gradient;
  Terms terms;
  Index slots = 0;
};

double largest_of(auto const& values) {
  return values.empty() ? 0 : double(*std::max_element(values.begin(), values.end()));
}

template <class Real> Done do_gating(Request const& r, Precision p, Gating const& g, Matrix const& cotangent) {
  Done d;
  d.answer = route(r, p);
  auto const& ids = d.answer.ids;
  d.plan = plan_for<Real>(ids, d.answer.weights, r.experts(), g.drop, g.capacity, g.order);
  moebal::CapacityShape const shape{Index(r.tokens()), Index(r.top_k), Index(r.experts())};
  d.slots = g.capacity.slots(shape, Index(largest_of(d.plan.loads())));
  d.places = places_of(d.plan, ids);
  d.weights = keep_weights<Real>(g.kept, d.plan, d.answer.weights);
  d.terms =
      g.first_choice_loss
          ? balance_step<Real>(moebal::MicroBatch<>{}, moebal::SwitchLoss<moebal::Choices::First>{.coefficient = 1},
                               r.top_k, {d.answer.load})
                .front()
          : balance_step<Real>(moebal::MicroBatch<>{}, moebal::SwitchLoss<>{.coefficient = 1}, r.top_k, {d.answer.load})
                .front();
  d.loss_gradient = backward(r, p, ids, {}, d.terms.slopes);
  Matrix const d_weights =
      keep_weights_gradient<Real>(g.kept, d.plan, d.answer.weights, gather(ids, cotangent, r.top_k));
  d.weights_gradient = backward(r, p, ids, d_weights);
  return d;
}

Expected expect(Request const& r, Gating const& g, Done const& d, Matrix const& cotangent) {
  auto const& ids = d.answer.ids;
  std::size_t const K = r.top_k, E = r.experts();
  Expected x;
  auto const how = g.drop == Drop::Probability   ? reference::Drop::Probability
                   : g.drop == Drop::Prioritised ? reference::Drop::BatchPrioritised
                   : g.drop == Drop::None        ? reference::Drop::None
                                                 : reference::Drop::Position;
  auto const rounds = g.drop == Drop::PositionOfChoice || g.drop == Drop::Prioritised
                          ? reference::Rounds::FirstChoicesFirst
                          : reference::Rounds::Equal;
  x.kept = reference::kept(ids, d.answer.weights, E, d.slots, how, rounds);
  if (g.order == moebal::SlotOrder::Priority) {
    x.places = reference::places(ids, d.answer.weights, E, how, rounds);
  } else {
    reference::Plan const plan = reference::plan(ids, x.kept, E);
    for (std::size_t pair = 0; pair < plan.slot_of.size(); ++pair)
      x.places.push_back(
          plan.slot_of[pair] < 0 ? -1 : plan.slot_of[pair] - plan.offsets[std::size_t(ids[pair / K][pair % K])]);
  }
  x.weights = Matrix(r.tokens(), K);
  x.weights_gradient = Matrix(r.tokens(), E);
  x.loss_gradient = Matrix(r.tokens(), E);
  reference::Routing const routing{ids, d.answer.weights};
  auto const sums = reference::sums(r.gate, r.logits, routing, 0, r.tokens());
  double const n = double(sums.tokens);
  auto const loss = reference::switch_loss(g.first_choice_loss ? sums.first : sums.counts, n, sums.score_sums, n,
                                           g.first_choice_loss ? 1 : double(K), 1);
  x.loss = loss.loss;
  bool const renormalise = g.kept.after_drop == moebal::AfterDrop::Renormalise;
  for (std::size_t t = 0; t < r.tokens(); ++t) {
    if (ids[t][0] < 0) continue;
    Row const z = r.logits.row(t), w = reference::weights(r.gate, z, ids[t]);
    double sum = 0;
    for (std::size_t k = 0; k < K; ++k) sum += x.kept[t * K + k] ? w[k] : 0;
    double const below = renormalise ? std::max(sum, g.kept.epsilon) : 1;
    bool const constant = renormalise && sum < g.kept.epsilon;
    double pulled = 0;
    for (std::size_t k = 0; k < K; ++k) {
      x.weights(t, k) = x.kept[t * K + k] ? (below == 0 ? 0 : w[k] / below) : 0;
      if (renormalise && !constant) pulled += cotangent(t, std::size_t(ids[t][k])) * x.weights(t, k);
    }
    Row d_weights(K, 0);
    for (std::size_t k = 0; k < K; ++k)
      if (x.kept[t * K + k]) d_weights[k] = (cotangent(t, std::size_t(ids[t][k])) - pulled) / (below == 0 ? 1 : below);
    Row const row = reference::weights_gradient(r.gate, z, ids[t], d_weights);
    Row const balance = reference::normalised_scores_gradient(r.gate.score, z, loss.slopes);
    for (std::size_t e = 0; e < E; ++e) x.weights_gradient(t, e) = row[e], x.loss_gradient(t, e) = balance[e];
  }
  return x;
}

/// The library against the reference, for every case; rows with NaN keep their NaN to themselves.
void check_expected(Case& c, Request const& r, Precision p, Done const& d, Expected const& x) {
  double const unit = p == Precision::Single ? 1e-5 : 1e-9;
  Tolerance const t{unit, unit};
  std::string const at = std::string(name_of(p)) + " by the reference: ";
  std::vector<double> kept, places;
  for (std::size_t i = 0; i < x.places.size(); ++i) {
    kept.push_back(d.places[i] >= 0);
    places.push_back(x.kept[i] ? double(x.places[i]) : -1);
  }
  c.close(at + "kept", kept, as_bits(x.kept), {});
  c.close(at + "places", widen(d.places), places, {});
  for (std::size_t i = 0; i < r.tokens(); ++i) {
    std::string const row = at + "row " + std::to_string(i) + " ";
    Ids const& ids = d.answer.ids[i];
    if (ids[0] < 0) continue;
    check_ids(c, row + "ids", ids, r.experts());
    check_choice(c, row + "choice", r, r.logits.row(i), ids, p);
    if (any_nan(r.logits.row(i))) continue;
    c.close(row + "weights", d.weights.row(i), x.weights.row(i), t);
    c.close(row + "gradient of the weights", d.weights_gradient.row(i), x.weights_gradient.row(i), t);
    c.close(row + "gradient of the loss", d.loss_gradient.row(i), x.loss_gradient.row(i), t);
  }
  c.close(at + "loss", d.terms.loss, x.loss, {unit, unit});
}

/// Why a whole case is held against the reference alone: an aggregate that a doubtful row touches is in doubt.
std::string doubt(Case const& c, Request const& r) {
  if (c.raises()) return "the peer throws";
  if (any_nan(r.logits.data)) return "a NaN logit (the peer ranks NaN first)";
  if (c.has("ambiguous_rows"))
    for (double flags : c.array("ambiguous_rows").values)
      if (flags != 0) return "a tie decides";
  return "";
}

Gating deepspeed_gating(Case const& c, std::size_t top_k, Precision p) {
  double const factor = c.number("capacity_factor");
  bool const drops = c.flag("drop_tokens", true);
  auto const minimum = Index(c.number("min_capacity"));
  Gating g{.top_k = top_k, .gate = {.score = reference::Score::Softmax, .normalise = false}};
  g.capacity = drops ? moebal::capacities::deepspeed(factor, minimum) : moebal::capacities::largest_load();
  double const eps =
      p == Precision::Single ? double(std::numeric_limits<float>::epsilon()) : std::numeric_limits<double>::epsilon();
  g.kept = {.after_drop = moebal::AfterDrop::Renormalise, .epsilon = eps, .epsilon_rule = moebal::EpsilonRule::AtLeast};
  return g;
}

void deepspeed(Case& c, Precision p, Gating const& g) {
  Request r{.gate = g.gate, .top_k = g.top_k, .logits = c.matrix("in_logits")};
  bool const masked = c.has("in_used_token");
  if (masked)
    for (double used : c.row("in_used_token")) r.padding.push_back(used == 0);
  Matrix const cotangent = c.matrix("in_cotangent");
  Done const d = with_real(p, [&](auto real) { return do_gating<decltype(real)>(r, p, g, cotangent); });
  Expected const x = expect(r, g, d, cotangent);
  check_expected(c, r, p, d, x);
  std::string why = doubt(c, r);
  if (c.raises()) return c.by_contract(why);

  std::size_t const T = r.tokens(), E = r.experts(), K = r.top_k;
  Array const& mask = c.output("dispatch_mask", p);
  Matrix const gates = c.output_matrix("gate_weights", p), gradient = c.output_matrix("grad_gate_weights_logits", p);
  Matrix const loss_gradient = c.output_matrix("grad_l_aux_logits", p);
  Matrix const route_expert = c.output_matrix("route_expert", p), route_location = c.output_matrix("route_location", p);
  Matrix const route_gate = c.output_matrix("route_gate", p);
  double const peer_loss = c.output("l_aux", p)[0];
  Array const& counts = c.output("exp_counts", p);
  double const peer_slots = c.output("capacity", p)[0];
  std::size_t const C = mask.shape.size() == 3 ? mask.shape[2] : 0;
  if (!c.flag("drop_tokens", true))
    c.equal("capacity is the largest load", double(d.slots), largest_of(d.plan.loads()));
  else
    c.equal("capacity", double(d.slots), peer_slots);
  if (!why.empty()) return c.by_contract(why);

  c.equal("capacity", double(d.slots), peer_slots); // also where nothing is dropped
  c.close("exp_counts", widen(d.plan.loads()), counts.values, {});
  if (masked) {
    c.by_contract("padding tokens leave both means of the loss (the peer divides by all tokens)");
  } else {
    c.close("l_aux", d.terms.loss, peer_loss, with_fixed_point(c.tolerance("l_aux", p), p, 2 * double(E)));
    c.close("grad_l_aux_logits", d.loss_gradient.data, loss_gradient.data,
            with_noise(c.tolerance("grad_l_aux_logits", p), p, largest(d.terms.slopes.data)));
  }

  // Experts whose kept set is a matter of a tie, or of the peer's idea of "first".
  std::vector<bool> open(E, false);
  for (std::size_t e = 0; e < E; ++e) {
    bool const overflow = d.plan.loads()[Index(e)] > d.slots;
    if (c.has("ambiguous_cols") && c.array("ambiguous_cols")[e] != 0) open[e] = true;
    if (g.position_is_not_first_come && overflow) open[e] = true;
    double kept = 0;
    for (double route : route_expert.data) kept += route == double(e);
    c.equal("kept of expert " + std::to_string(e), double(d.plan.kept()[Index(e)]), kept);
  }
  for (std::size_t t = 0; t < T; ++t) {
    Ids const& ids = d.answer.ids[t];
    bool skip = false;
    for (int e : ids) skip = skip || (e >= 0 && open[std::size_t(e)]);
    if (skip) {
      c.by_contract("a tie, or an order that is not first come, decides who is kept");
      continue;
    }
    std::string const at = at_row(p, t) + " ";
    Row had(E, 0), places(E * C, 0);
    for (std::size_t k = 0; k < K; ++k) {
      bool const kept = d.places[t * K + k] >= 0;
      c.equal(at + "route_expert", kept ? ids[k] : -1, route_expert(k, t));
      c.equal(at + "route_location", kept ? double(d.places[t * K + k]) : 0, route_location(k, t));
      c.close(at + "route_gate", d.weights(t, k), route_gate(k, t), c.tolerance("route_gate", p));
      if (!kept) continue;
      had[std::size_t(ids[k])] = d.weights(t, k);
      // The mask of the peer is of weights that are not zero.
      places[std::size_t(ids[k]) * C + std::size_t(d.places[t * K + k])] = d.weights(t, k) != 0;
    }
    c.close(at + "gate_weights", had, gates.row(t), c.tolerance("gate_weights", p));
    c.close(at + "dispatch_mask", places,
            std::vector<double>(mask.values.begin() + long(t * E * C), mask.values.begin() + long((t + 1) * E * C)),
            {});
    c.close(at + "grad_gate_weights_logits", d.weights_gradient.row(t), gradient.row(t),
            with_noise(c.tolerance("grad_gate_weights_logits", p), p, largest(cotangent.row(t))));
  }
}

void deepspeed_top1(Case& c) {
  for (Precision const p : precisions) {
    Gating g = deepspeed_gating(c, 1, p);
    g.kept = {};
    g.position_is_not_first_come = true;
    deepspeed(c, p, g);
  }
}
void deepspeed_top2(Case& c) {
  for (Precision const p : precisions) {
    Gating g = deepspeed_gating(c, 2, p);
    g.drop = Drop::PositionOfChoice;
    g.order = moebal::SlotOrder::Priority;
    deepspeed(c, p, g);
  }
}
void deepspeed_topk(Case& c) {
  std::string const policy = c.text("drop_policy", "probs");
  if (policy != "probs" && policy != "position") throw Skip{"drop policy " + policy + " is not mapped"};
  for (Precision const p : precisions) {
    Gating g = deepspeed_gating(c, c.count("k"), p);
    g.drop = policy == "probs" ? Drop::Probability : Drop::Position;
    g.first_choice_loss = false;
    deepspeed(c, p, g);
  }
}

void tutel_extract(Case& c) {
  bool const prioritised = c.flag("batch_prioritized_routing"), normalise = c.flag("normalize_gate", true);
  double const factor = c.number("capacity_factor");
  auto const alignment = Index(c.number("alignment", 1));
  Matrix const logits = c.matrix("in_logits"), cotangent = c.matrix("in_cotangent");
  std::size_t const T = logits.rows, E = logits.cols, K = std::min(c.count("top_k"), E);
  for (Precision const p : precisions) {
    double const eps =
        p == Precision::Single ? double(std::numeric_limits<float>::epsilon()) : std::numeric_limits<double>::epsilon();
    Gating g{.top_k = K,
             .gate = {.score = reference::Score::Softmax,
                      .normalise = normalise,
                      .single_choice_raw = true,
                      .epsilon = eps,
                      .epsilon_rule = reference::EpsilonRule::AtLeast},
             .drop = prioritised ? Drop::Prioritised : Drop::PositionOfChoice,
             .order = moebal::SlotOrder::Priority,
             .capacity = moebal::capacities::absolute(Index(std::max<std::size_t>(1, T)))}; // locations are not clipped
    Request const r{.gate = g.gate, .top_k = K, .logits = logits};
    // Tokens are ranked by their largest score; the plan is made from these, the gates are what the router gives.
    Request raw = r;
    raw.gate = {.score = reference::Score::Softmax, .normalise = false};
    Done const d = with_real(p, [&](auto real) {
      using Real = decltype(real);
      Done done = do_gating<Real>(r, p, g, cotangent);
      if (prioritised) {
        done.plan = plan_for<Real>(done.answer.ids, route(raw, p).weights, E, g.drop, g.capacity, g.order);
        done.places = places_of(done.plan, done.answer.ids);
      }
      return done;
    });
    Expected x = expect(r, g, d, cotangent);
    if (prioritised)
      x.places = reference::places(d.answer.ids, route(raw, p).weights, E, reference::Drop::BatchPrioritised,
                                   reference::Rounds::FirstChoicesFirst);
    check_expected(c, r, p, d, x);
    std::string const why = doubt(c, r);
    if (c.raises()) {
      c.by_contract(why);
      continue;
    }
    check_score_rows(c, r, "scores", p);
    Matrix const indices = c.output_matrix("indices", p), locations = c.output_matrix("locations", p);
    Matrix const gates = c.output_matrix("gates", p), map = c.output_matrix("map", p);
    Matrix const gradient = c.output_matrix("grad_gates_logits", p),
                 loss_gradient = c.output_matrix("grad_l_loss_logits", p);
    double const peer_loss = c.output("l_loss", p)[0], peer_slots = c.output("capacity", p)[0];
    Array const& counts = c.output("dispatch_count", p);
    Index const slots = moebal::capacities::tutel(factor, alignment)
                            .slots({Index(T), Index(K), Index(E)}, Index(largest_of(d.plan.loads())));
    if (factor > 0) c.equal("capacity", double(slots), peer_slots);
    if (!why.empty()) {
      c.by_contract(why);
      continue;
    }
    bool const counts_wrong = prioritised; // the peer reads them from the wrong row
    if (counts_wrong) {
      c.by_contract("the peer's counts are wrong with batch priority");
      Row loads(E, 0);
      for (Ids const& ids : d.answer.ids)
        for (int e : ids) ++loads[std::size_t(e)];
      c.close("loads", widen(d.plan.loads()), loads, {});
    } else {
      c.close("dispatch_count", widen(d.plan.loads()), counts.values, {});
    }
    if (!(counts_wrong && factor <= 0)) c.equal("capacity", double(slots), peer_slots);
    c.close("l_loss", d.terms.loss, peer_loss, with_fixed_point(c.tolerance("l_loss", p), p, 2 * double(E)));
    c.close("grad_l_loss_logits", d.loss_gradient.data, loss_gradient.data,
            with_noise(c.tolerance("grad_l_loss_logits", p), p, largest(d.terms.slopes.data)));
    c.close("grad_gates_logits", d.weights_gradient.data, gradient.data,
            with_noise(c.tolerance("grad_gates_logits", p), p, largest(cotangent.data)));
    Matrix ones(T, K, 1);
    c.close("map", scatter(d.answer.ids, ones, E).data, map.data, {});
    // Equal priorities (fp32 scores that saturate) leave the peer's order of tokens open.
    bool tied = false;
    if (prioritised) {
      Matrix const scores = route(raw, p).weights;
      Row best;
      for (std::size_t t = 0; t < T; ++t) best.push_back(scores(t, 0));
      std::sort(best.begin(), best.end());
      Tolerance const rounding{p == Precision::Single ? 3e-7 : 1e-15, 0};
      for (std::size_t t = 1; t < T; ++t) tied = tied || rounding.holds(best[t - 1], best[t]);
    }
    if (tied) c.by_contract("equal priorities");
    for (std::size_t t = 0; t < T; ++t)
      for (std::size_t k = 0; k < K; ++k) {
        c.equal(at_row(p, t) + " indices", d.answer.ids[t][k], indices(k, t));
        c.close(at_row(p, t) + " gates", d.answer.weights(t, k), gates(k, t), c.tolerance("gates", p));
        if (!tied) c.equal(at_row(p, t) + " locations", double(d.places[t * K + k]), locations(k, t));
      }
  }
}

} // namespace

Mapping gating_mapping(std::string const& key) {
  static std::map<std::string, Mapping> const mappings{
      {"deepspeed.top1gating", deepspeed_top1},
      {"deepspeed.top2gating", deepspeed_top2},
      {"deepspeed.topkgating", deepspeed_topk},
      {"tutel.extract_critical", tutel_extract},
  };
  auto const found = mappings.find(key);
  return found == mappings.end() ? nullptr : found->second;
}

} // namespace golden
