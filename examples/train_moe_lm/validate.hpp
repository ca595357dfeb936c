// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The validation text, read by all ranks in turns; what they find comes together at rank 0.

#include "collect.hpp"
#include "data.hpp"
#include "routed.hpp"
#include "validation.hpp"

#include <bit>

namespace train {

namespace detail {
inline void append(Index m, Validated const& v, std::vector<std::int64_t>& words) {
  for (std::int64_t const word : {m, v.domain, v.dropped, std::bit_cast<std::int64_t>(v.loss),
                                  std::bit_cast<std::int64_t>(v.loss_without_drops)})
    words.push_back(word);
  words.insert(words.end(), v.load.begin(), v.load.end());
}
/// Results in the order of the micro-batches, from rows in any order.
inline std::vector<Validated> arranged(std::vector<std::int64_t> const& words, Index experts) {
  std::size_t const row = 5 + std::size_t(experts);
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

/// Validates micro-batches of `per_domain` windows of each domain, with the drops of the run (capacity) and, if there
/// are any, without. a: memory to work in. Collective; nothing is returned on ranks other than 0.
inline std::vector<Validated> validate(Comm const& comm, Corpus const& corpus, ModelShape const& shape,
                                       Parameters<float> const& p, lab::Method& method, lab::Evaluation how,
                                       double capacity, Index per_domain, Activations<float>& a) {
  Index const all = per_domain * corpus.domain_count(), ranks = comm.size();
  std::vector<std::int64_t> words;
  for (Index first = 0; first < all; first += ranks) {
    Index const m = first + comm.rank();
    embed(shape, p, corpus.validation(std::min(m, all - 1), per_domain), a);
    prepare(method, shape.experts, a);
    if (method.deaf()) // what it learned is to use any expert
      method.forward(view(a.n), std::uint64_t(m), router_of(p), view(a.logits));
    else
      method.reference(view(a.n), std::uint64_t(m), router_of(p), view(a.logits));
    method.evaluate(how, view(a.logits), a.tags, a.routing.view());
    Validated result;
    result.domain = a.batch.domain;
    result.load.assign(std::size_t(shape.experts), 0);
    moebal::ExpertId* const ids = a.routing.expert_ids().data();
    Index const pairs = a.logits.rows() * method.top_k();
    for (Index i = 0; i < pairs; ++i)
      if (ids[i] != moebal::no_expert) ++result.load[std::size_t(ids[i])];
    if (m >= all) std::fill(ids, ids + pairs, moebal::no_expert); // the last round of a number that R does not divide
    result.dropped = dispatch(method, capacity, a);
    if (m >= all) continue;
    result.loss = result.loss_without_drops = predict(shape, p, a);
    if (result.dropped > 0) {
      a.dispatch.group(std::as_const(a.routing).expert_ids(), method.zeros());
      result.loss_without_drops = predict(shape, p, a);
    }
    detail::append(m, result, words);
  }
  std::vector<Index> rows;
  for (Index r = 0; r < ranks; ++r) rows.push_back((all - r + ranks - 1) / ranks);
  return detail::arranged(to_rank_0(comm, words, 5 + shape.experts, rows), shape.experts);
}

} // namespace train
