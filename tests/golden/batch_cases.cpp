// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Selections that look at a whole batch: Sinkhorn, expert choice.

#include "library_as.hpp"
#include "losses.hpp"
#include "routing.hpp"

#include <moebal/select/expert_choice.hpp>
#include <moebal/select/sinkhorn.hpp>

#include <algorithm>

namespace golden {
namespace {

using moebal::Index;
using reference::Score;

// -------------------- Sinkhorn

/// A limit that no input which converges comes near; the peer has none.
constexpr Index many = 100000;

moebal::Sinkhorn<1> sinkhorn_of(double tolerance, bool peer_ends) {
  moebal::Sinkhorn<1> s{.tolerance = tolerance, .epsilon_rule = moebal::SinkhornEpsilon::Absolute};
  if (peer_ends) s.most_iterations = many;
  return s;
}

/// The formula in double, on exp(z - max of the row): a NaN counts as 0 in sums and stays where it is.
/// iterations: how many there were, out.
Matrix reference_sinkhorn(Matrix const& z, moebal::Sinkhorn<1> const& s, Index* iterations = nullptr) {
  std::size_t const T = z.rows, E = z.cols;
  Matrix a(T, E), result(T, E);
  Row tops(T), rows(T, 0), columns(E, 1);
  for (std::size_t t = 0; t < T; ++t) {
    double top = -INFINITY;
    for (double x : z.row(t)) top = x > top ? x : top;
    for (std::size_t e = 0; e < E; ++e) a(t, e) = std::isnan(z(t, e)) || top == -INFINITY ? 0 : std::exp(z(t, e) - top);
    tops[t] = std::isfinite(top) ? top : 0;
  }
  for (Index i = 0; i < s.most_iterations; ++i) {
    Row sums(E, 0);
    for (std::size_t t = 0; t < T; ++t) {
      double sum = s.epsilon * std::exp(-tops[t]);
      for (std::size_t e = 0; e < E; ++e) sum += columns[e] * a(t, e);
      rows[t] = 1 / (double(T) * sum);
      for (std::size_t e = 0; e < E; ++e) sums[e] += rows[t] * a(t, e);
    }
    double moved = 0;
    if (iterations) *iterations = i + 1;
    for (std::size_t e = 0; e < E; ++e) {
      double const next = 1 / (double(E) * (sums[e] + s.epsilon));
      moved += std::abs(next - columns[e]) / double(E);
      columns[e] = next;
    }
    if (!(moved > s.tolerance)) break;
  }
  for (std::size_t t = 0; t < T; ++t)
    for (std::size_t e = 0; e < E; ++e) result(t, e) = std::isnan(z(t, e)) ? NAN : columns[e] * a(t, e) * rows[t];
  return result;
}

template <class Real> Matrix scaled(Matrix const& z, moebal::Sinkhorn<1> const& s) {
  moebal::laws::AnyExec const& exec = chosen_execution();
  std::vector<Real> data(z.data.begin(), z.data.end());
  auto const T = Index(z.rows), E = Index(z.cols);
  moebal::Workspace workspace(s.workspace_bytes<Real>(exec, T, E));
  s.scale(exec, moebal::select::BatchCandidates<Real>{{data.data(), T, E}, {}}, moebal::WorkspaceView<>(workspace));
  return Matrix(data.data(), z.rows, z.cols);
}
Matrix scaled(Matrix const& z, moebal::Sinkhorn<1> const& s, Precision p) {
  return with_real(p, [&](auto real) { return scaled<decltype(real)>(z, s); });
}

bool all_hold(Row const& had, Row const& needed, Tolerance tolerance) {
  for (std::size_t i = 0; i < had.size(); ++i)
    if (!tolerance.holds(had[i], needed[i])) return false;
  return had.size() == needed.size();
}

/// The peer sums in fp32, so its loop may end a few iterations before or after ours.
bool stops_apart(Matrix const& z, moebal::Sinkhorn<1> s, Row const& peer, Tolerance tolerance) {
  Index ours = 0;
  reference_sinkhorn(z, s, &ours);
  s.tolerance = -1;
  for (s.most_iterations = std::max<Index>(1, ours - 3); s.most_iterations <= ours + 3; ++s.most_iterations)
    if (s.most_iterations != ours && all_hold(peer, reference_sinkhorn(z, s).data, tolerance)) return true;
  return false;
}

void megatron_sinkhorn(Case& c) {
  Matrix const z = c.matrix("in_cost");
  moebal::Sinkhorn<1> const s = sinkhorn_of(c.number("tol", 1e-4), !c.raises());
  for (Precision const p : precisions) {
    std::string const at = std::string(name_of(p)) + " norm";
    Matrix const had = scaled(z, s, p);
    std::string why;
    if (c.raises())
      why = z.rows == 0 ? "no token: nothing (the peer divides by zero)"
                        : "an end after so many iterations (the peer's loop has none)";
    else if (any_nan(c.output("norm", p).values))
      why = any_nan(z.data) ? "a NaN logit stays alone (the peer's result is NaN everywhere)"
                            : "no overflow (the peer's exp is not held back)";
    if (why.empty()) {
      Tolerance const tolerance = c.tolerance("norm", p);
      Row const& peer = c.output("norm", p).values;
      if (p == Precision::Single && !all_hold(had.data, peer, tolerance) && stops_apart(z, s, peer, tolerance)) {
        c.by_contract("sums in double (the peer's in fp32 stop at another iteration)");
        c.close(at, had.data, reference_sinkhorn(z, s).data, tolerance);
      } else
        c.close(at, had.data, peer, tolerance);
      continue;
    }
    c.by_contract(why);
    Matrix const needed = reference_sinkhorn(z, s);
    double const unit = p == Precision::Single ? 1e-6 : 1e-12;
    c.close(at, had.data, needed.data, {unit, unit * 1e-3});
  }
}

template <class Real> std::vector<Ids> sinkhorn_ids(Request const& r, moebal::Sinkhorn<1> const& s, Matrix& weights) {
  return detail::with_compiled_top_k(r.top_k, [&](auto constant) {
    constexpr int K = decltype(constant)::value;
    moebal::Sinkhorn<K> const select{s.tolerance, s.most_iterations, s.epsilon, s.epsilon_rule};
    detail::Inputs<Real> const in(r);
    auto const answer = [&](auto gate) {
      moebal::Router<moebal::Sinkhorn<K>, decltype(gate)> const router{select, gate};
      auto const routing = router.route(chosen_execution(), in.matrix, in.options);
      std::vector<Ids> ids(r.tokens(), Ids(r.top_k));
      weights = Matrix(r.tokens(), r.top_k);
      for (std::size_t t = 0; t < r.tokens(); ++t)
        for (std::size_t k = 0; k < r.top_k; ++k) {
          ids[t][k] = routing.expert_ids()(Index(t), Index(k));
          weights(t, k) = double(routing.weights()(Index(t), Index(k)));
        }
      return ids;
    };
    if constexpr (K == 1)
      return answer(moebal::Sigmoid{.normalise = moebal::Normalise::None});
    else
      return answer(moebal::Softmax{});
  });
}

/// Training: Sinkhorn chooses, and the weights are sigmoids (K = 1) or softmax probabilities. Evaluation: top-K.
void megatron_router_sinkhorn(Case& c) {
  c.ignore_argument("num_experts");
  std::size_t const K = c.count("topk");
  auto const make = [&](Precision) {
    return Request{
        .gate = {.score = K == 1 ? Score::Sigmoid : Score::Softmax}, .top_k = K, .logits = c.matrix("in_logits")};
  };
  if (!c.flag("training"))
    return check_routing(c, make, {.dense = "scores", .map = "routing_map", .gradient = "grad_logits"});
  Matrix const cotangent = c.matrix("in_cotangent");
  moebal::Sinkhorn<1> const s = sinkhorn_of(1e-4, !c.raises());
  if (c.raises()) c.by_contract("an end after so many iterations (the peer's loop has none)");
  for (Precision const p : precisions) {
    Request const r = make(p);
    Matrix weights;
    auto const ids = with_real(p, [&](auto real) { return sinkhorn_ids<decltype(real)>(r, s, weights); });
    Matrix const keys = reference_sinkhorn(r.logits, s);
    Matrix const d = backward(r, p, ids, gather(ids, cotangent, K));
    Matrix const had = scatter(ids, weights, r.experts());
    for (std::size_t t = 0; t < r.tokens(); ++t) {
      std::string const at = at_row(p, t);
      Row const z = r.logits.row(t);
      check_ids(c, at + " ids", ids[t], r.experts());
      // The choice is the best of the scaled matrix, up to rounding.
      Row const key = keys.row(t);
      Row ours, best;
      for (int e : ids[t]) ours.push_back(key[std::size_t(e)]);
      for (int e : reference::top_k(key, K)) best.push_back(key[std::size_t(e)]);
      std::sort(ours.begin(), ours.end()), std::sort(best.begin(), best.end());
      bool const nan = any_nan(z);
      double const unit = p == Precision::Single ? 1e-5 : 1e-11;
      if (!nan) c.close(at + " keys", ours, best, {unit, 0});
      int const open = c.has("ambiguous_rows") ? int(c.array("ambiguous_rows")[t]) : 0;
      if (!c.raises() && open == 0 && !any_nan(r.logits.data)) {
        Row map(r.experts(), 0);
        for (int e : ids[t]) map[std::size_t(e)] = 1;
        c.close(at + " routing_map", map, c.output_matrix("routing_map", p).row(t), {});
        c.close(at + " scores", had.row(t), c.output_matrix("scores", p).row(t), c.tolerance("scores", p));
        c.close(at + " grad_logits", d.row(t), c.output_matrix("grad_logits", p).row(t),
                with_noise(c.tolerance("grad_logits", p), p, largest(cotangent.row(t))));
        continue;
      }
      if (!c.raises()) c.by_contract(open ? "a tie decides" : "a NaN logit (the peer's Sinkhorn is NaN everywhere)");
      Tolerance const tolerance =
          p == Precision::Single ? Tolerance{2e-5, 2e-6} : Tolerance{1e-10, 1e-12 * (1 + largest(cotangent.row(t)))};
      c.close(at + " weights", weights.row(t), reference::weights(r.gate, z, ids[t]), tolerance);
      if (nan) continue;
      Row const d_weights = gather({ids[t]}, Matrix(cotangent.row(t).data(), 1, r.experts()), K).row(0);
      c.close(at + " gradient", d.row(t), reference::weights_gradient(r.gate, z, ids[t], d_weights),
              with_noise(tolerance, p, largest(d_weights)));
    }
    if (!c.raises())
      for (char const* name : {"routing_map", "scores", "grad_logits"}) c.output(name, p); // read them without rows too
  }
}

// -------------------- expert choice

template <class Real> std::vector<Ids> expert_choice_ids(Matrix const& gates, Index capacity) {
  moebal::laws::AnyExec const& exec = chosen_execution();
  auto const T = Index(gates.rows), E = Index(gates.cols);
  // The member that the router calls, on gates as they are given; a token may get up to E experts.
  moebal::ExpertChoice<1> const select{.slots = {.fixed = capacity}};
  std::vector<Real> scores(gates.data.begin(), gates.data.end());
  std::vector<moebal::ExpertId> ids(gates.data.size());
  moebal::Workspace workspace(select.workspace_bytes<Real>(exec, T, E));
  select.assign(exec, moebal::select::BatchCandidates<Real>{{scores.data(), T, E}, {}},
                moebal::MatrixView<moebal::ExpertId>(ids.data(), T, E), moebal::WorkspaceView<>(workspace));
  std::vector<Ids> rows;
  for (std::size_t t = 0; t < gates.rows; ++t)
    rows.emplace_back(ids.begin() + long(t * gates.cols), ids.begin() + long((t + 1) * gates.cols));
  return rows;
}

/// [T, E, C]: the tokens of an expert stand in the order of their gates.
void vmoe_expert_choice(Case& c) {
  Matrix const gates = c.matrix("in_gates");
  std::size_t const C = c.count("capacity"), T = gates.rows, E = gates.cols;
  for (Precision const p : precisions) {
    auto const ids = with_real(p, [&](auto real) { return expert_choice_ids<decltype(real)>(gates, Index(C)); });
    std::vector<Ids> tokens(E);
    for (std::size_t t = 0; t < T; ++t) {
      double last = INFINITY;
      for (int e : ids[t]) {
        if (e < 0) break;
        double const gate = gates(t, std::size_t(e));
        c.need(gate <= last || std::isnan(gate), at_row(p, t) + " order", "the best gates first", "another");
        last = gate;
        tokens[std::size_t(e)].push_back(int(t));
      }
    }
    if (c.raises()) c.by_contract("the peer throws");
    Array const* const dispatch = c.raises() ? nullptr : &c.output("dispatch_weights", p);
    Array const* const combine = c.raises() ? nullptr : &c.output("combine_weights", p);
    for (std::size_t e = 0; e < E; ++e) {
      std::string const at = std::string(name_of(p)) + " expert " + std::to_string(e);
      Row column;
      for (std::size_t t = 0; t < T; ++t) column.push_back(gates(t, e));
      Ids needed = reference::ranking(column);
      needed.resize(std::min(C, T));
      Ids sorted = needed;
      std::sort(sorted.begin(), sorted.end());
      c.need(tokens[e] == sorted, at + " tokens", "the best of the column, the lower token first", "others");
      if (!dispatch) continue;
      bool open = any_nan(column); // the order of equal gates is open
      for (std::size_t k = 0; k + 1 < T && k < C; ++k) {
        Ids const order = reference::ranking(column);
        open = open || column[std::size_t(order[k])] == column[std::size_t(order[k + 1])];
      }
      if (open) {
        c.by_contract("a tie decides, or a NaN");
        continue;
      }
      Row stood(T * C, 0), weight = stood, peer_stood, peer_weight;
      std::sort(tokens[e].begin(), tokens[e].end(),
                [&](int a, int b) { return column[std::size_t(a)] > column[std::size_t(b)]; });
      for (std::size_t k = 0; k < tokens[e].size(); ++k) {
        stood[std::size_t(tokens[e][k]) * C + k] = 1;
        weight[std::size_t(tokens[e][k]) * C + k] = column[std::size_t(tokens[e][k])];
      }
      for (std::size_t t = 0; t < T; ++t)
        for (std::size_t k = 0; k < C; ++k) {
          peer_stood.push_back((*dispatch)[(t * E + e) * C + k]);
          peer_weight.push_back((*combine)[(t * E + e) * C + k]);
        }
      c.close(at + " dispatch_weights", stood, peer_stood, {});
      c.close(at + " combine_weights", weight, peer_weight, c.tolerance("combine_weights", p));
    }
  }
}

} // namespace

Mapping batch_mapping(std::string const& key) {
  static std::map<std::string, Mapping> const mappings{
      {"megatron.sinkhorn", megatron_sinkhorn},
      {"megatron.router_sinkhorn_load_balancing", megatron_router_sinkhorn},
      {"vmoe.expert_choice_einsum_dispatcher", vmoe_expert_choice},
  };
  auto const found = mappings.find(key);
  return found == mappings.end() ? nullptr : found->second;
}

} // namespace golden
