// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Capacities, drops, permutations and block alignment of the peers, as plans. Whole gating functions: gating_cases.cpp.

#include "losses.hpp" // with_real
#include "plans.hpp"

namespace golden {
namespace {

// -------------------- capacities

template <class Make> void capacity_list(Case& c, Make const& make) {
  std::size_t const n = c.array("in_num_tokens").size();
  Array const& needed = c.output("capacity", Precision::Single);
  for (std::size_t i = 0; i < n; ++i) {
    moebal::CapacityShape const shape{.tokens = Index(c.array("in_num_tokens")[i]),
                                      .experts = Index(c.array("in_num_experts")[i])};
    Index const had = make(i, c.array("in_capacity_factor")[i]).slots(shape);
    if (needed[i] < 0) {
      c.by_contract("the peer throws for a capacity below 1");
      c.equal("capacity " + std::to_string(i), double(had), 0);
      continue;
    }
    c.equal("capacity " + std::to_string(i), double(had), needed[i]);
  }
}
Index minimum_at(Case const& c, std::size_t i) { return std::max(Index(0), Index(c.array("in_min_capacity")[i])); }

void megatron_capacity(Case& c) {
  capacity_list(c,
                [&](std::size_t i, double factor) { return moebal::capacities::megatron(factor, minimum_at(c, i)); });
}
void deepspeed_capacity(Case& c) {
  capacity_list(c,
                [&](std::size_t i, double factor) { return moebal::capacities::deepspeed(factor, minimum_at(c, i)); });
}
void vmoe_capacity(Case& c) {
  capacity_list(c, [&](std::size_t i, double factor) {
    auto const rounding = c.array("in_ceil")[i] != 0 ? moebal::Rounding::Up : moebal::Rounding::NearestEven;
    return moebal::capacities::vmoe(factor, rounding, std::max(Index(1), Index(c.array("in_multiple_of")[i])));
  });
}

// -------------------- drops

void megatron_dropping(Case& c) {
  std::size_t const K = c.count("topk");
  std::string const policy = c.text("drop_policy");
  bool const pad = c.flag("pad_to_capacity");
  if (policy != "probs" && policy != "position") throw Skip{"drop policy " + policy + " is not mapped"};
  Matrix const probs = c.matrix("in_routing_probs"), map = c.matrix("in_routing_map");
  Matrix const cotangent = c.matrix("in_cotangent");
  std::size_t const T = probs.rows, E = probs.cols;
  auto const capacity = moebal::capacities::megatron(c.number("capacity_factor"));
  Index const C = capacity.slots({.tokens = Index(T), .top_k = Index(K), .experts = Index(E)});
  c.equal("capacity", double(C), c.output("capacity", Precision::Single)[0]);
  std::vector<Ids> const ids = choices_of(map, &probs);
  Matrix const weights = gather(ids, probs, ids.empty() ? 1 : ids[0].size());
  Drop const drop = policy == "probs" ? Drop::Probability : Drop::Position;
  Row const ambiguous = c.row("ambiguous_cols");

  for (Precision const p : precisions) {
    moebal::Plan const plan = with_real(
        p, [&](auto real) { return plan_for<decltype(real)>(ids, weights, E, drop, moebal::capacities::absolute(C)); });
    Matrix const final_map = c.output_matrix("final_map", p), final_probs = c.output_matrix("final_probs", p);
    Matrix const gradient = c.output_matrix("grad_probs", p);
    auto const keep = kept_of(plan);
    auto const rounds = reference::Rounds::Equal;
    auto const how = policy == "probs" ? reference::Drop::Probability : reference::Drop::Position;
    c.close("kept pairs, by the reference", as_bits(keep), as_bits(reference::kept(ids, weights, E, C, how, rounds)),
            {});
    Matrix ones(ids.size(), ids.empty() ? 1 : ids[0].size());
    for (std::size_t i = 0; i < keep.size(); ++i) ones.data[i] = keep[i];
    Matrix const kept = scatter(ids, ones, E);
    for (std::size_t e = 0; e < E; ++e) {
      std::string const at = std::string(name_of(p)) + " expert " + std::to_string(e);
      double kept_here = 0, peer_here = 0, peer_rows = 0;
      for (std::size_t t = 0; t < T; ++t) {
        kept_here += kept(t, e);
        peer_here += final_map(t, e) * map(t, e);
        peer_rows += final_map(t, e);
      }
      c.equal(at + " number kept", kept_here, peer_here);
      if (pad) {
        moebal::AlignedPlan const aligned = moebal::make_aligned(
            chosen_execution(), {.slots_per_expert = std::max(Index(1), std::min(C, Index(T)))}, plan.view());
        Index const rows = aligned.plan.offsets()[Index(e) + 1] - aligned.plan.offsets()[Index(e)];
        if (T > 0) c.equal(at + " rows when padded", double(rows), peer_rows);
      }
      bool const overflow = plan.loads()[Index(e)] > C;
      if (ambiguous[e] != 0 || (overflow && policy == "position")) {
        c.by_contract(ambiguous[e] != 0 ? "a tie decides who is kept"
                                        : "the peer's drop by position is not first come");
        continue;
      }
      for (std::size_t t = 0; t < T; ++t) {
        if (map(t, e) == 0)
          continue; // padding to capacity takes rows that were not routed; fillers stand for them here
        c.equal(at + " final_map", kept(t, e), final_map(t, e));
        c.close(at + " final_probs", kept(t, e) * probs(t, e), final_probs(t, e), c.tolerance("final_probs", p));
        c.close(at + " grad_probs", kept(t, e) * cotangent(t, e), gradient(t, e), c.tolerance("grad_probs", p));
      }
    }
    // The weights of what is kept, through the library.
    with_real(p, [&](auto real) {
      using Real = decltype(real);
      Matrix const w = keep_weights<Real>({}, plan, weights);
      for (std::size_t i = 0; i < keep.size(); ++i)
        c.equal("kept weights", w.data[i], keep[i] ? double(Real(weights.data[i])) : 0);
      return 0;
    });
    if (T > 0 && pad) c.by_contract("padding to capacity: fillers instead of tokens that were not routed");
  }
}

/// A running count down each column, of which the plan knows the part where a token chose the expert.
void tutel_cumsum(Case& c) {
  Matrix const mask = c.matrix("in_mask");
  std::vector<Ids> const ids = choices_of(mask);
  moebal::Plan const plan = plan_for<float>(ids, Matrix(0, 1), mask.cols, Drop::None);
  auto const places = places_of(plan, ids);
  Matrix had(mask.rows, mask.cols);
  Row last(mask.cols, -1);
  for (std::size_t t = 0; t < mask.rows; ++t) {
    for (std::size_t k = 0; k < ids[t].size(); ++k)
      if (ids[t][k] >= 0) last[std::size_t(ids[t][k])] = double(places[t * ids[t].size() + k]);
    std::copy(last.begin(), last.end(), had.data.begin() + long(t * mask.cols));
  }
  c.close("cumsum_sub_one", had.data, c.output("cumsum_sub_one", Precision::Single).values, {});
}

/// Top-1 with an absolute capacity, first come, each group for itself.
void hf_switch_router(Case& c, bool broken) {
  Array const& in = c.array("in_logits");
  std::size_t const E = in.back(), rows = in.front();
  std::size_t const groups = in.shape.size() == 3 ? in.shape[0] : 1, S = groups ? rows / groups : 0;
  auto const capacity = Index(c.number("expert_capacity"));
  c.ignore_argument("num_experts");
  Matrix const logits = c.matrix("in_logits");
  for (Precision const p : precisions) {
    Request const r{.gate = {.score = reference::Score::Softmax, .normalise = false}, .top_k = 1, .logits = logits};
    Answer const a = route(r, p);
    Matrix const index = c.output_matrix("expert_index", p);
    Array const& probs = c.output("router_probs", p);
    if (broken) c.by_contract("the peer's capacity never drops anything (unless it is 0)");
    for (std::size_t g = 0; g < groups; ++g) {
      std::vector<Ids> const ids(a.ids.begin() + long(g * S), a.ids.begin() + long((g + 1) * S));
      Matrix const weights(a.weights.data.data() + g * S, S, 1);
      bool const drop = !broken || capacity == 0;
      moebal::Plan const plan =
          plan_for<double>(ids, weights, E, drop ? Drop::Position : Drop::None, moebal::capacities::absolute(capacity));
      for (std::size_t s = 0; s < S; ++s) {
        std::size_t const t = g * S + s;
        std::string const at = at_row(p, t) + " ";
        if (any_nan(logits.row(t))) {
          c.by_contract("a NaN logit (the peer ranks NaN first)");
          check_choice(c, at + "choice", r, logits.row(t), a.ids[t], p);
          continue;
        }
        Row had(E, 0);
        if (plan.slot_of()(Index(s), 0) != moebal::no_slot) had[std::size_t(ids[s][0])] = 1;
        if (!any_nan(logits.data)) c.close(at + "expert_index", had, index.row(t), {});
        c.close(at + "router_probs", a.weights(t, 0), probs[t], c.tolerance("router_probs", p));
        if (c.has_output("returned_router_logits"))
          c.close(at + "returned_router_logits", a.weights(t, 0), c.output("returned_router_logits", p)[t],
                  c.tolerance("returned_router_logits", p));
      }
    }
    if (c.has_output("router_logits")) c.close("router_logits", logits.data, c.output("router_logits", p).values, {});
  }
}

/// Gates are given; their order is that of a router on them as logits.
void vmoe_top_experts(Case& c) {
  std::size_t const K = c.count("num_selected_experts");
  bool const priority = c.flag("batch_priority");
  Matrix const given = c.matrix("in_gates");
  Request const r{.gate = {.score = reference::Score::SoftmaxOverChosen}, .top_k = K, .logits = given};
  std::size_t const T = given.rows;
  bool tied = false; // two equal gates in a row, or (with priority) two tokens with equal largest gates
  std::set<double> best;
  for (std::size_t t = 0; t < T; ++t) {
    Row const row = given.row(t);
    tied = tied || std::set<double>(row.begin(), row.end()).size() < row.size();
    best.insert(*std::max_element(row.begin(), row.end()));
  }
  bool const tied_tokens = priority && best.size() < T;
  for (Precision const p : precisions) {
    Answer const a = route(r, p);
    Matrix const gates = gather(a.ids, given, K);
    Drop const drop = priority ? Drop::Prioritised : Drop::PositionOfChoice;
    moebal::Plan const plan =
        plan_for<double>(a.ids, gates, given.cols, drop,
                         moebal::capacities::absolute(Index(std::max<std::size_t>(1, T))), moebal::SlotOrder::Priority);
    auto const places = places_of(plan, a.ids);
    c.close("places, by the reference", widen(places),
            widen(reference::places(a.ids, gates, given.cols,
                                    priority ? reference::Drop::BatchPrioritised : reference::Drop::Position,
                                    reference::Rounds::FirstChoicesFirst)),
            {});
    Matrix const needed_gates = c.output_matrix("combine_weights", p), needed_ids = c.output_matrix("expert_index", p),
                 needed_places = c.output_matrix("buffer_index", p);
    for (std::size_t t = 0; t < T; ++t) {
      check_choice(c, at_row(p, t) + " choice", r, given.row(t), a.ids[t], p);
      c.close(at_row(p, t) + " combine_weights", gates.row(t), needed_gates.row(t), c.tolerance("combine_weights", p));
    }
    if (tied || tied_tokens) {
      c.by_contract("a tie decides");
      continue;
    }
    Owned<double> const ids(a.ids, K);
    c.close("expert_index", ids.values, needed_ids.data, {});
    c.close("buffer_index", widen(places), needed_places.data, {});
  }
}

// -------------------- permutations

std::vector<double> tokens_of(moebal::PlanView<> plan, Index from, Index to) {
  std::vector<double> tokens;
  for (Index s = from; s < to; ++s)
    tokens.push_back(plan.order[s] == moebal::no_slot ? -1 : double(plan.order[s] / plan.top_k()));
  return tokens;
}

void megatron_permute(Case& c) {
  bool const pad = c.flag("drop_and_pad"), weighted = c.flag("apply_probs");
  Matrix const tokens = c.matrix("in_tokens"), map = c.matrix("in_routing_map"), probs = c.matrix("in_probs");
  Matrix const cotangent = c.matrix("in_cotangent");
  Row const d_permuted = c.row("in_cotangent_probs");
  std::size_t const T = map.rows, E = map.cols, out_rows = c.count("num_out_tokens");
  std::vector<Ids> const ids = choices_of(map);
  Matrix const weights = gather(ids, probs, ids.empty() ? 1 : ids[0].size());
  for (Precision const p : precisions) {
    with_real(p, [&](auto real) {
      using Real = decltype(real);
      moebal::Plan const tight =
          pad ? plan_for<Real>(ids, weights, E, Drop::Position, moebal::capacities::absolute(Index(out_rows / E)))
              : plan_for<Real>(ids, weights, E, Drop::None);
      moebal::AlignedPlan const aligned =
          moebal::make_aligned(chosen_execution(), {.slots_per_expert = pad ? Index(out_rows / E) : 0}, tight.view());
      moebal::PlanView<> const plan = aligned.plan.view();
      auto const slots = std::size_t(aligned.plan.slots());
      c.equal("rows", double(slots), double(out_rows));
      Matrix const permuted = gather_rows<Real>(plan, tokens, slots);
      Row weights_of_slots(slots, 0);
      for (std::size_t s = 0; s < slots; ++s)
        if (plan.order[Index(s)] != moebal::no_slot)
          weights_of_slots[s] = weights.data[std::size_t(plan.order[Index(s)])];
      Matrix const out = weighted ? combine_rows<Real>(plan, permuted, weights) : scatter_rows<Real>(plan, permuted, T);
      Matrix d_tokens, d_weights(weights.rows, weights.cols);
      if (weighted) {
        CombineGradient const g = combine_gradient<Real>(plan, permuted, weights, cotangent);
        d_tokens = scatter_rows<Real>(plan, g.d_y, T);
        d_weights = g.d_weights;
      } else {
        d_tokens = scatter_rows<Real>(plan, gather_rows<Real>(plan, cotangent, slots), T);
      }
      for (std::size_t s = 0; s < slots; ++s)
        if (plan.order[Index(s)] != moebal::no_slot) d_weights.data[std::size_t(plan.order[Index(s)])] += d_permuted[s];

      Matrix const peer_rows = c.output_matrix("permuted_tokens", p);
      Row const peer_probs = c.output("permuted_probs", p).values, peer_tokens = c.output("sorted_indices", p).values;
      std::vector<double> const had_tokens = tokens_of(plan, 0, Index(slots));
      for (std::size_t s = 0; s < slots; ++s) {
        if (plan.order[Index(s)] == moebal::no_slot) {
          c.by_contract("padding to capacity: fillers instead of tokens that were not routed");
          c.close("filler row", permuted.row(s), Row(tokens.cols, 0), {});
          continue;
        }
        c.equal("sorted_indices", had_tokens[s], peer_tokens[s]);
        c.close("permuted_tokens", permuted.row(s), peer_rows.row(s), c.tolerance("permuted_tokens", p));
        c.close("permuted_probs", weights_of_slots[s], peer_probs[s], c.tolerance("permuted_probs", p));
      }
      Row const peer_out = c.output("unpermuted", p).values, peer_gradient = c.output("grad_tokens", p).values;
      if (weighted || !pad) { // without weights the peer adds what its padding rows hold
        c.close("unpermuted", out.data, peer_out, c.tolerance("unpermuted", p));
        c.close("grad_tokens", d_tokens.data, peer_gradient, c.tolerance("grad_tokens", p));
      }
      Matrix const had = scatter(ids, d_weights, E), needed = c.output_matrix("grad_probs", p);
      for (std::size_t i = 0; i < needed.data.size(); ++i)
        if (map.data[i] != 0 || !pad) c.close("grad_probs", had.data[i], needed.data[i], c.tolerance("grad_probs", p));
      return 0;
    });
  }
}

/// num_out_tokens cuts the tail of the sorted list: those pairs lose their slots.
void te_permute(Case& c) {
  Matrix const tokens = c.matrix("in_tokens"), given = c.matrix("in_indices"), probs = c.matrix("in_probs");
  Matrix const cotangent = c.matrix("in_cotangent");
  std::size_t const T = given.rows, K = given.cols;
  std::vector<Ids> ids(T, Ids(K));
  int most = 0;
  for (std::size_t i = 0; i < given.data.size(); ++i) most = std::max(most, ids[i / K][i % K] = int(given.data[i]));
  auto const E = std::size_t(most) + 1;
  for (Precision const p : precisions) {
    with_real(p, [&](auto real) {
      using Real = decltype(real);
      moebal::Plan const whole = plan_for<Real>(ids, probs, E, Drop::None);
      c.close("sorted_indices", widen(whole.order()), c.output("sorted_indices", p).values, {});
      auto const slots =
          std::min(std::size_t(whole.slots()), c.given("num_out_tokens") ? c.count("num_out_tokens") : T * K);
      std::vector<Index> offsets(whole.offsets().begin(), whole.offsets().end());
      std::vector<Index> slot_of(whole.slot_of().data(), whole.slot_of().data() + T * K);
      for (Index& o : offsets) o = std::min(o, Index(slots));
      for (Index& s : slot_of) s = s < Index(slots) ? s : moebal::no_slot;
      moebal::PlanView<> const plan{offsets,
                                    whole.order().part(0, Index(slots)),
                                    {slot_of.data(), Index(T), Index(K)},
                                    whole.loads(),
                                    whole.kept()};
      Matrix const permuted = gather_rows<Real>(plan, tokens, slots);
      CombineGradient const g = combine_gradient<Real>(plan, permuted, probs, cotangent);
      auto const close = [&](char const* name, Matrix const& had) {
        c.close(name, had.data, c.output(name, p).values, c.tolerance(name, p));
      };
      close("permuted_tokens", permuted);
      close("unpermuted", combine_rows<Real>(plan, permuted, probs));
      close("grad_tokens", scatter_rows<Real>(plan, g.d_y, T));
      close("grad_probs", g.d_weights);
      return 0;
    });
  }
}

/// Chunks in a new order: every row belongs to "the expert" that is the new place of its chunk.
void megatron_sort_chunks(Case& c) {
  Matrix const input = c.matrix("in_input");
  Row const sizes = c.row("in_split_sizes"), order = c.row("in_sorted_idxs");
  Ids place(sizes.size());
  for (std::size_t i = 0; i < order.size(); ++i) place[std::size_t(order[i])] = int(i);
  std::vector<Ids> ids;
  for (std::size_t chunk = 0; chunk < sizes.size(); ++chunk)
    for (int i = 0; i < int(sizes[chunk]); ++i) ids.push_back({place[chunk]});
  moebal::Plan const plan = plan_for<float>(ids, Matrix(0, 1), sizes.size(), Drop::None);
  for (Precision const p : precisions)
    with_real(p, [&](auto real) {
      using Real = decltype(real);
      c.close("output", gather_rows<Real>(plan.view(), input, input.rows).data, c.output("output", p).values,
              c.tolerance("output", p));
      if (!c.has("in_probs")) return 0;
      Matrix const probs(c.row("in_probs").data(), input.rows, 1);
      c.close("probs_out", gather_rows<Real>(plan.view(), probs, input.rows).data, c.output("probs_out", p).values,
              c.tolerance("probs_out", p));
      return 0;
    });
}

// -------------------- alignment

/// The peer pads with tokens that were not routed, and there may be too few of them; here fillers stand in their place.
void megatron_pad_map(Case& c) {
  Matrix const map = c.matrix("in_routing_map"), padded = c.output_matrix("padded_map", Precision::Single);
  std::vector<Ids> const ids = choices_of(map);
  moebal::Plan const tight = plan_for<float>(ids, Matrix(0, 1), map.cols, Drop::None);
  moebal::AlignedPlan const aligned =
      moebal::make_aligned(chosen_execution(), {.block = Index(c.number("pad_multiple"))}, tight.view());
  c.by_contract("padding to a multiple: fillers instead of tokens that were not routed");
  for (std::size_t e = 0; e < map.cols; ++e) {
    double rows = 0;
    bool superset = true;
    for (std::size_t t = 0; t < map.rows; ++t) {
      rows += padded(t, e);
      superset = superset && padded(t, e) >= map(t, e);
    }
    Index const slots = aligned.plan.offsets()[Index(e) + 1] - aligned.plan.offsets()[Index(e)];
    c.equal("rows of expert " + std::to_string(e), double(std::min(slots, Index(map.rows))), rows);
    c.need(superset, "padded_map", "all routed tokens", "fewer");
  }
}

void vllm_align(Case& c) {
  Matrix const given = c.matrix("in_topk_ids");
  std::size_t const T = given.rows, K = given.cols, E = c.count("num_experts");
  auto const block = Index(c.number("block_size"));
  c.ignore_argument("pad_sorted_ids"); // the length of a buffer, checked by what lies in it
  std::vector<Ids> ids;                // a pair a row: the peer does not mind the same expert twice in a token
  for (double id : given.data) ids.push_back({int(id)});
  moebal::Plan const tight = plan_for<float>(ids, Matrix(ids.size(), 1), E, Drop::None);
  moebal::AlignedPlan const aligned = moebal::make_aligned(chosen_execution(), {.block = block}, tight.view());
  Index const slots = aligned.plan.slots();
  c.equal("num_tokens_post_pad", double(slots), c.output("num_tokens_post_pad", Precision::Single)[0]);
  Row const sorted = c.output("sorted_token_ids", Precision::Single).values;
  Row const experts = c.output("expert_ids", Precision::Single).values;
  c.need(std::size_t(slots) <= sorted.size(), "sorted_token_ids (size)", std::to_string(slots),
         std::to_string(sorted.size()));
  Row had, blocks;
  for (std::size_t s = 0; s < sorted.size(); ++s) {
    Index const pair = Index(s) < slots ? aligned.plan.order()[Index(s)] : moebal::no_slot;
    had.push_back(pair == moebal::no_slot ? double(T * K) : double(pair));
  }
  for (std::size_t b = 0; b < experts.size(); ++b) {
    double e = 0; // the peer's filler past the end
    if (b < aligned.block_experts.size()) {
      e = aligned.block_experts[b];
      if (c.has("in_expert_map")) e = c.array("in_expert_map")[std::size_t(e)];
    }
    blocks.push_back(e);
  }
  c.close("sorted_token_ids", had, sorted, {});
  c.close("expert_ids", blocks, experts, {});
}

/// Tokens lie in [E, max] already: row e * max + i is taken if i is below the expert's number.
void vllm_batched_align(Case& c) {
  Row const numbers = c.row("in_expert_num_tokens");
  std::size_t const E = numbers.size(), most = c.count("max_tokens_per_batch");
  std::vector<Ids> ids(E * most, Ids{-1});
  for (std::size_t e = 0; e < E; ++e)
    for (std::size_t i = 0; i < std::size_t(numbers[e]); ++i) ids[e * most + i] = {int(e)};
  moebal::Plan const tight = plan_for<float>(ids, Matrix(0, 1), E, Drop::None);
  moebal::AlignedPlan const aligned =
      moebal::make_aligned(chosen_execution(), {.block = Index(c.number("block_size"))}, tight.view());
  Index const slots = aligned.plan.slots();
  c.equal("num_tokens_post_pad", double(slots), c.output("num_tokens_post_pad", Precision::Single)[0]);
  Row const sorted = c.output("sorted_ids", Precision::Single).values,
            experts = c.output("expert_ids", Precision::Single).values;
  Row had, blocks;
  for (std::size_t s = 0; s < sorted.size(); ++s) {
    Index const pair = Index(s) < slots ? aligned.plan.order()[Index(s)] : moebal::no_slot;
    had.push_back(pair == moebal::no_slot ? double(E * most) : double(pair));
  }
  for (std::size_t b = 0; b < experts.size(); ++b)
    blocks.push_back(b < aligned.block_experts.size() ? double(aligned.block_experts[b]) : -1);
  c.close("sorted_ids", had, sorted, {});
  c.close("expert_ids", blocks, experts, {});
}

} // namespace

Mapping plan_mapping(std::string const& key) {
  static std::map<std::string, Mapping> const mappings{
      {"megatron.get_capacity", megatron_capacity},
      {"deepspeed._capacity", deepspeed_capacity},
      {"vmoe.compute_capacity", vmoe_capacity},
      {"megatron.apply_router_token_dropping", megatron_dropping},
      {"tutel.fast_cumsum_sub_one", tutel_cumsum},
      {"hf.switch.Top1Router_capacity", [](Case& c) { hf_switch_router(c, false); }},
      {"hf.switch.Top1Router", [](Case& c) { hf_switch_router(c, true); }},
      {"vmoe._get_top_experts_per_item_common", vmoe_top_experts},
      {"megatron.permute_unpermute", megatron_permute},
      {"megatron.sort_chunks_by_idxs", megatron_sort_chunks},
      {"te.pytorch_permute_unpermute_index_map", te_permute},
      {"megatron.pad_routing_map", megatron_pad_map},
      {"vllm.torch_moe_align_block_size", vllm_align},
      {"vllm.batched_moe_align_block_size_ref", vllm_batched_align},
  };
  auto const found = mappings.find(key);
  return found == mappings.end() ? nullptr : found->second;
}

} // namespace golden
