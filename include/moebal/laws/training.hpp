// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A few steps of one balancer on each of some thread ranks, on the same tokens however they are cut.

#include "../comm/threads.hpp"
#include "window.hpp"

#include <cstdint>
#include <memory>
#include <sstream>

namespace moebal::laws {

/// How one step's tokens are cut: uneven parts, some of them empty.
struct Cut {
  Index ranks = 1, micro_batches = 1, sequences = 1;

  /// The first token of a part.
  Index first(Index part, Index tokens) const {
    Index const parts = ranks * micro_batches;
    return part * part * tokens / (parts * parts);
  }
  std::string text() const {
    return words("ranks ", ranks, ", micro-batches ", micro_batches, ", sequences ", sequences);
  }
};

/// What balancing left behind after some steps.
struct Balanced {
  std::vector<std::string> saved;                 // of each rank: bias, state and step count
  std::vector<std::vector<std::int64_t>> windows; // of each rank: the load windows of all steps and micro-batches
  std::vector<double> losses;                     // of each step, the mean over the ranks
  std::vector<Matrix<double>> d_logits;           // of each step [T, E], likewise
};

/// Trains Balancer<Scope, Rule> in double on the same tokens in any cut, routed by sigmoid and top-K with its bias.
/// restart_after: a step after which every rank saves, and a new balancer goes on from there; negative: none.
template <class Scope, class Rule> struct Training {
  Scope scope;
  Rule rule;
  BalancerShape shape;
  Index tokens = 61;
  int steps = 3, restart_after = -1;
  bool shuffle_tokens = false;

  Balanced run(Cut cut) const {
    Balanced all{std::vector<std::string>(std::size_t(cut.ranks)),
                 std::vector<std::vector<std::int64_t>>(std::size_t(cut.ranks)),
                 std::vector<double>(std::size_t(steps)),
                 std::vector<Matrix<double>>(std::size_t(steps), Matrix<double>(tokens, shape.experts))};
    std::vector<std::vector<double>> losses(std::size_t(cut.ranks), std::vector<double>(std::size_t(steps)));
    run_ranks(cut.ranks, [&](Communicator<Threads> comm) {
      auto const r = std::size_t(comm.rank());
      auto balancer = std::make_unique<Balances>(scope, rule, shape, comm);
      for (int step = 0; step < steps; ++step) {
        losses[r][std::size_t(step)] = train(*balancer, cut, step, all.d_logits[std::size_t(step)], all.windows[r]);
        if (step != restart_after) continue;
        std::stringstream bytes;
        balancer->save(bytes);
        balancer = std::make_unique<Balances>(scope, rule, shape, comm);
        balancer->restore(bytes);
      }
      std::ostringstream bytes;
      balancer->save(bytes);
      all.saved[r] = bytes.str();
    });
    for (auto const& of_rank : losses)
      for (std::size_t s = 0; s < of_rank.size(); ++s) all.losses[s] += of_rank[s] / double(cut.ranks);
    for (auto& d : all.d_logits)
      for (double& x : d.values) x /= double(cut.ranks);
    return all;
  }

private:
  using Balances = Balancer<Scope, Rule, Communicator<Threads>, double>;

  /// One micro-batch of a step, on its way through a rank.
  struct Part {
    Matrix<double> x;
    Extras extras;
  };
  Part part(Balances const& balancer, Cut cut, int step, Index first, Index last) const {
    auto const all = shuffle_tokens ? shuffled(tokens) : range(0, tokens);
    std::vector<Index> const order(all.begin() + first, all.begin() + last);
    Extras extras{.bias = {balancer.bias().begin(), balancer.bias().end()}, .bias_by = Balances::bias_by};
    for (Index s = 0; s <= cut.sequences; ++s) extras.segments.push_back(s * Index(order.size()) / cut.sequences);
    for (Index const t : order)
      if (Balances::token_classes > 1) extras.classes.push_back(t % Balances::token_classes);
    return {rows_in_order(skewed(tokens, shape.experts, std::uint64_t(step) + 1), order), extras};
  }
  /// One step of one rank. Returns its loss; writes its rows of d_logits.
  double train(Balances& balancer, Cut cut, int step, Matrix<double>& d_logits,
               std::vector<std::int64_t>& windows) const {
    double loss = 0;
    Index const before = balancer.comm().rank() * cut.micro_batches;
    balancer.begin_step(cut.micro_batches);
    std::vector<Part> parts;
    for (Index g = 0; g < cut.micro_batches; ++g) {
      parts.push_back(part(balancer, cut, step, cut.first(before + g, tokens), cut.first(before + g + 1, tokens)));
      balancer.observe(g, load_of<Balances>(parts.back().x, shape.top_k, parts.back().extras));
    }
    for (Index g = 0; g < cut.micro_batches; ++g) {
      auto const terms = balancer.terms(g);
      loss += terms.loss;
      auto const& mine = parts[std::size_t(g)];
      pull_back(mine, terms, {d_logits.view().row(cut.first(before + g, tokens)), mine.x.rows, shape.experts});
      if constexpr (Balances::has_loss) remember(balancer.window(g), windows);
    }
    balancer.end_step();
    return loss;
  }
  void pull_back(Part const& part, Terms<double> const& terms, MatrixView<double> d) const {
    with_top_k<1, 3>(shape.top_k, [&]<int K>(std::integral_constant<int, K>) {
      Router<TopK<K>, Sigmoid> const router{};
      auto const routed = route(PlainExec{}, router, part.x, part.extras);
      RouterGradient<double> gradient;
      gradient.slopes = terms.router_slopes;
      gradient.z_slopes = terms.router_z_slopes;
      gradient.weight_slopes = terms.router_weight_slopes;
      Workspace memory(router.template workspace_bytes<stats::None, double>(PlainExec{}, part.x.rows, part.x.cols));
      router.backward_into(PlainExec{}, part.x.view(), part.extras.view(),
                           MatrixView<ExpertId const>(routed.ids.data(), part.x.rows, K), gradient, d,
                           WorkspaceView<>(memory));
    });
  }
  template <class... N, class... P>
  static void remember(Window<stats::List<N...>, stats::List<P...>> const& window, std::vector<std::int64_t>& windows) {
    windows.push_back(window.load_tokens());
    (windows.insert(windows.end(), window.template load_data<P>(),
                    window.template load_data<P>() + P::slots(window.experts())),
     ...);
  }
};

} // namespace moebal::laws
