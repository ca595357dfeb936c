// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The two greedy steps that expert placement is made of, with heaps. Host only.

#include "../core/errors.hpp"
#include "../core/rank.hpp"
#include "../core/views.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace moebal {

namespace detail {
/// Refuses loads that are negative or not finite.
inline void require_loads(VectorView<float const> loads) {
  for (float const x : loads)
    if (!(x >= 0 && x <= 3.4028235e38f))
      refuse<ShapeError>("loads to place", "finite numbers of at least 0", std::to_string(x));
}

/// The heaviest first, equal: the lower index.
inline std::vector<Index> by_weight(VectorView<float const> weights) {
  std::vector<std::uint64_t> words;
  for (Index i = 0; i < weights.size(); ++i) words.push_back(rank_word(weights[i], i));
  std::sort(words.begin(), words.end(), std::greater<>());
  std::vector<Index> order;
  for (std::uint64_t const w : words) order.push_back(id_of(w));
  return order;
}
} // namespace detail

/// Packs n items into `packs` packs of n / packs items each: the heaviest item first, into the lightest pack that has
/// room; equal items and equal packs: the lower index (deepseek-ai/EPLB balanced_packing, whose sums are fp32 too).
/// @param weights  [n] at least 0, in
/// @param pack     [n] which pack an item is in, out
/// @param place    [n] its place there, in order of arrival, out
/// Cost: n log n, and a few vectors. Throws ShapeError unless packs divides n.
inline void balanced_packing(VectorView<float const> weights, Index packs, VectorView<Index> pack,
                             VectorView<Index> place) {
  Index const n = weights.size();
  require_at_least("packs", 1, packs);
  require_equal("items modulo packs", 0, n % packs);
  require_equal("pack of each item [n]", n, pack.size());
  require_equal("place of each item [n]", n, place.size());
  detail::require_loads(weights);
  if (n == packs) { // one each: nothing to balance, so nobody moves
    for (Index i = 0; i < n; ++i) pack[i] = i, place[i] = 0;
    return;
  }
  using Pack = std::pair<float, Index>;
  std::vector<Pack> open; // a heap with the lightest on top
  for (Index p = 0; p < packs; ++p) open.emplace_back(0.0f, p);
  std::vector<Index> held(std::size_t(packs), 0);
  for (Index const i : detail::by_weight(weights)) {
    std::pop_heap(open.begin(), open.end(), std::greater<>());
    auto& [weight, p] = open.back();
    pack[i] = p;
    place[i] = held[std::size_t(p)]++;
    weight += weights[i];
    if (held[std::size_t(p)] == n / packs)
      open.pop_back();
    else
      std::push_heap(open.begin(), open.end(), std::greater<>());
  }
}

/// Copies n items until there are `copies` of them: each next copy is one of the item with the largest weight / count,
/// equal: the lower index (EPLB replicate_experts).
/// @param weights  [n] at least 0, in
/// @param item_of  [copies] the items themselves, then the further copies, out
/// @param copy     [copies] which copy of its item it is, from 0, out
/// @param count    [n] copies of each, out
/// Cost: n + (copies - n) log n. Throws ShapeError for copies < n.
inline void replicate(VectorView<float const> weights, VectorView<Index> item_of, VectorView<Index> copy,
                      VectorView<Index> count) {
  Index const n = weights.size();
  require_at_least("items to replicate", 1, n);
  require_at_least("copies of all items", n, item_of.size());
  require_equal("copy numbers [copies]", item_of.size(), copy.size());
  require_equal("count of each item [n]", n, count.size());
  detail::require_loads(weights);
  std::vector<std::uint64_t> heap; // weight / count, then the lower index
  for (Index i = 0; i < n; ++i) {
    item_of[i] = i, copy[i] = 0, count[i] = 1;
    heap.push_back(rank_word(weights[i], i));
  }
  std::make_heap(heap.begin(), heap.end());
  for (Index c = n; c < item_of.size(); ++c) {
    std::pop_heap(heap.begin(), heap.end());
    Index const i = id_of(heap.back());
    item_of[c] = i;
    copy[c] = count[i]++;
    heap.back() = rank_word(weights[i] / float(count[i]), i);
    std::push_heap(heap.begin(), heap.end());
  }
}

} // namespace moebal
