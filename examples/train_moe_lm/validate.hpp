// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The validation text, read by all ranks in turns; what they find comes together at rank 0.

#include "collect.hpp"
#include "data.hpp"
#include "passes.hpp"
#include "validation.hpp"

#include <bit>

namespace train {

namespace detail {
inline void append(Index m, Validated const& v, std::vector<std::int64_t>& words) {
  for (std::int64_t const word :
       {m, v.domain, v.dropped, std::bit_cast<std::int64_t>(v.loss), std::bit_cast<std::int64_t>(v.loss_without_drops)})
    words.push_back(word);
  words.insert(words.end(), v.load.begin(), v.load.end());
}
/// Results in the order of the micro-batches, from rows in any order.
inline std::vector<Validated> arranged(std::vector<std::int64_t> const& words, Index loads) {
  std::size_t const row = 5 + std::size_t(loads);
  std::vector<Validated> results(words.size() / row);
  for (std::size_t i = 0; i < words.size(); i += row) {
    std::int64_t const* const w = words.data() + i;
    results[std::size_t(w[0])] = {.domain = w[1],
                                  .loss = std::bit_cast<double>(w[3]),
                                  .loss_without_drops = std::bit_cast<double>(w[4]),
                                  .load = {w + 5, w + row},
                                  .dropped = w[2]};
  }
  return results;
}
} // namespace detail

namespace detail {
/// Reads one micro-batch with the given capacity (0: nothing is dropped). Nobody: it only takes part in what is
/// collective.
enum class For { Result, Nobody };
inline Validated read(Pass const& pass, Batch const& batch, Index m, lab::Evaluation how, double capacity, For whom,
                      Parameters<float> const& p, Activations<float>& a) {
  Validated result;
  result.domain = batch.domain;
  embed(pass.shape, p, batch, a);
  tag(pass.layers.first(), a);
  for (Index l = 0; l < pass.shape.layers; ++l) {
    LayerActivations<float>& layer = a.layers[std::size_t(l)];
    lab::Method& method = pass.layers[l];
    std::uint64_t const noise = Layers::of_layer(std::uint64_t(m), l);
    open(pass, l, a);
    if (method.deaf()) // what it learned is to use any expert
      method.forward(view(layer.n), noise, router_of(p, l), view(layer.logits));
    else
      method.reference(view(layer.n), noise, router_of(p, l), view(layer.logits));
    method.evaluate(how, view(layer.logits), a.tags, layer.routing.view());
    std::size_t const first = result.load.size();
    result.load.resize(first + std::size_t(pass.shape.experts), 0);
    moebal::ExpertId* const ids = layer.routing.expert_ids().data();
    Index const pairs = layer.logits.rows() * method.top_k();
    for (Index i = 0; i < pairs; ++i)
      if (ids[i] != moebal::no_expert) ++result.load[first + std::size_t(ids[i])];
    if (whom == For::Nobody) std::fill(ids, ids + pairs, moebal::no_expert);
    result.dropped += dispatch(method, capacity, layer);
    mix(pass.shape, p, l, layer, a.h);
  }
  result.loss = result.loss_without_drops = predict(p, a);
  return result;
}
} // namespace detail

/// Validates micro-batches of `per_domain` windows of each domain, with the drops of the run and, if there are any,
/// without. a: memory to work in. Collective; nothing is returned on ranks other than 0.
inline std::vector<Validated> validate(Comm const& comm, Corpus const& corpus, Pass const& pass,
                                       Parameters<float> const& p, lab::Evaluation how, Index per_domain,
                                       Activations<float>& a) {
  Index const all = per_domain * corpus.domain_count(), ranks = comm.size();
  double const capacity = pass.settings.capacity;
  std::vector<std::int64_t> words;
  for (Index first = 0; first < all; first += ranks) {
    Index const m = first + comm.rank();
    auto const whom = m < all ? detail::For::Result : detail::For::Nobody; // the last round, where R does not divide
    Batch const batch = corpus.validation(std::min(m, all - 1), per_domain);
    Validated result = detail::read(pass, batch, m, how, capacity, whom, p, a);
    if (capacity > 0) result.loss_without_drops = detail::read(pass, batch, m, how, 0, whom, p, a).loss;
    if (whom == detail::For::Result) detail::append(m, result, words);
  }
  std::vector<Index> rows;
  for (Index r = 0; r < ranks; ++r) rows.push_back((all - r + ranks - 1) / ranks);
  Index const loads = pass.shape.layers * pass.shape.experts;
  return detail::arranged(to_rank_0(comm, words, 5 + loads, rows), loads);
}

} // namespace train
