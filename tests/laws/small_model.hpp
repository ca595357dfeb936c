// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A router's weights trained by R ranks, each on its own tokens: x [T, D] W [D, E] in double, plain SGD. The ranks'
// tokens together are the same for every R, so are the weights that come out, but for rounding.

#include <moebal/balance/locality_loss.hpp>
#include <moebal/moebal.hpp>

#include <cstdint>
#include <random>
#include <utility>
#include <vector>

namespace small_model {

using namespace moebal;

inline constexpr Index experts = 9, dim = 5, top_k = 2, micro_batches = 2;
inline constexpr int steps = 20;
inline constexpr double rate = 0.5;
inline constexpr BalancerShape shape{.experts = experts, .top_k = top_k};

/// Tokens of all ranks together.
inline Index tokens_of(Index g) { return g == 0 ? 37 : 22; }
/// Where rank r's tokens begin (r = ranks: where all end). Uneven parts; in the second micro-batch a rank in turn has
/// none.
inline Index first_of(Index r, Index ranks, int step, Index g) {
  Index place = r, parts = ranks;
  if (g == 1 && ranks > 1) {
    Index const idle = step % ranks;
    --parts;
    place = r > idle ? r - 1 : r;
  }
  return place * place * tokens_of(g) / (parts * parts);
}

struct Trained {
  std::vector<double> weights;      // [D, E]
  std::vector<float> bias;          // of all steps [steps, E]
  std::vector<std::int64_t> counts; // of all steps and micro-batches [steps, G, E], summed over the ranks
};

/// make(shape) is a balancer over `comm`. `reduction`: what is done with the ranks' gradients. `sequences`: as how many
/// of them one rank shows the tokens of as many ranks. `exec`: what routes.
template <class Comm, class Make, class Exec = EigenExec>
Trained train(Comm const& comm, Make const& make, Reduction reduction = Reduction::MeanOverRanks, Index sequences = 1,
              Exec const& exec = {}) {
  BalancerShape wanted = shape;
  wanted.reduction = reduction;
  Pipeline layer{Router{TopK<top_k>{}, Sigmoid{}}, make(wanted)};
  double const ranks = double(comm.size()), own_factor = reduction == Reduction::Sum ? 1 : ranks;
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal;
  auto const draw = [&](Index n) {
    std::vector<double> all(static_cast<std::size_t>(n));
    for (double& x : all) x = normal(random);
    return all;
  };
  Trained trained{draw(dim * experts), {}, {}};
  auto const worth = draw(experts); // what the model gains by a unit of an expert's weight

  for (int step = 0; step < steps; ++step) {
    struct Part {
      std::vector<double> x, logits;
      std::vector<Index> segments;
      Routing<double> routed;
      Index rows;

      MatrixView<double const> view() const { return {logits.data(), rows, experts}; }
      RowOptions<> options() const { return {.segments = segments}; }
    };
    std::vector<Part> parts;
    layer.begin_step(micro_batches);
    for (Index g = 0; g < micro_batches; ++g) {
      auto const all = draw(tokens_of(g) * dim);
      Index const first = first_of(comm.rank(), comm.size(), step, g);
      Index const last = first_of(comm.rank() + 1, comm.size(), step, g);
      Part part{{all.begin() + first * dim, all.begin() + last * dim}, {}, {}, {}, last - first};
      for (Index s = 0; s < sequences; ++s) part.segments.push_back(first_of(s, sequences, step, g));
      part.segments.push_back(part.rows);
      for (Index t = 0; t < part.rows; ++t)
        for (Index e = 0; e < experts; ++e) {
          double z = 0;
          for (Index d = 0; d < dim; ++d)
            z += part.x[std::size_t(t * dim + d)] * trained.weights[std::size_t(d * experts + e)];
          part.logits.push_back(z);
        }
      part.routed = layer.forward(exec, g, part.view(), part.options());
      std::vector<std::int64_t> counts(experts);
      for (Index t = 0; t < part.rows; ++t)
        for (Index k = 0; k < top_k; ++k) ++counts[std::size_t(part.routed.expert_ids()(t, k))];
      comm.all_reduce_sum(counts);
      trained.counts.insert(trained.counts.end(), counts.begin(), counts.end());
      parts.push_back(std::move(part));
    }
    std::vector<double> gradient(trained.weights.size());
    for (Index g = 0; g < micro_batches; ++g) {
      Part const& part = parts[std::size_t(g)];
      std::vector<double> d_weights, d(part.logits.size());
      double const share = own_factor / double(micro_batches * tokens_of(g)); // the model's loss is a mean over tokens
      for (Index t = 0; t < part.rows; ++t)
        for (Index k = 0; k < top_k; ++k)
          d_weights.push_back(-share * worth[std::size_t(part.routed.expert_ids()(t, k))]);
      layer.backward_into(exec, g, part.view(), part.options(), part.routed.expert_ids(),
                          MatrixView<double const>(d_weights.data(), part.rows, top_k),
                          MatrixView<double>(d.data(), part.rows, experts));
      for (Index t = 0; t < part.rows; ++t)
        for (Index i = 0; i < dim; ++i)
          for (Index e = 0; e < experts; ++e)
            gradient[std::size_t(i * experts + e)] +=
                part.x[std::size_t(t * dim + i)] * d[std::size_t(t * experts + e)];
    }
    layer.end_step();
    comm.all_reduce_sum(gradient);
    for (std::size_t i = 0; i < gradient.size(); ++i)
      trained.weights[i] -= rate * gradient[i] / (reduction == Reduction::Sum ? 1 : ranks);
    auto const bias = layer.balancer().bias();
    trained.bias.insert(trained.bias.end(), bias.begin(), bias.end());
  }
  return trained;
}

/// The largest difference of the weights, by the largest of `needed`.
inline double difference(Trained const& had, Trained const& needed) {
  double off = 0, largest = 0;
  for (std::size_t i = 0; i < needed.weights.size(); ++i) {
    off = std::max(off, std::abs(had.weights[i] - needed.weights[i]));
    largest = std::max(largest, std::abs(needed.weights[i]));
  }
  return off / largest;
}

/// Sums in another order, twenty steps long. Measured: 2.3e-16.
inline constexpr double tolerance = 1e-14;

inline constexpr SwitchLoss<> switch_loss{.coefficient = 0.3};
inline constexpr LocalityLoss locality{.local = {.first = 2, .count = 4}, .coefficient = 0.2};
inline constexpr LossFreeBias bias_rule{.rate = 0.02f};
/// All that moves the weights, at global scope, where every cut has the same gradient.
inline Rules const rules{switch_loss, ZLoss{.coefficient = 0.1}, locality, bias_rule};
template <class Scope, class Comm> auto global(Comm const& comm) {
  return [comm](BalancerShape of) { return Balancer(Scope{}, rules, of, comm, std::type_identity<double>{}); };
}
/// The locality loss where it belongs, among the tokens of one rank; or, on one rank, among those of one sequence.
template <class Own, class Comm> auto local(Comm const& comm) {
  return [comm](BalancerShape of) {
    std::type_identity<double> const real;
    return Balancers(Balancer(GlobalBatch<>{}, Rules(switch_loss, bias_rule), of, comm, real),
                     Balancer(Own{}, locality, of, comm, real));
  };
}

} // namespace small_model
