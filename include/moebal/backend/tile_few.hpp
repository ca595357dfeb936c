// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The rows of a tile where there are at most 16 experts: every one is a candidate, and lanes on a row would be empty. So
// each expert is one register, and a row is a lane from the start.

#include "tile_bounds.hpp"
#include "tile_columns.hpp"
#include "tile_rows.hpp"
#include "tile_words.hpp"

namespace moebal {

template <class M> struct TileFew {
  using F = typename M::F;
  using pack = Pack<float, M::width>;
  using Columns = TileColumns<M>;
  using Words = TileWords<M>;
  static constexpr int W = M::width;
  static constexpr Index most = 16; // experts

  /// As Tile::top_k. Columns past the last expert are -inf, and lose to every lower id.
  template <int K> static unsigned top_k(TileKeys const& keys, Index experts, std::int32_t (*ids)[W]) {
    if (experts <= 8) {
      F columns[8];
      M::few_columns(keys.data, keys.stride, experts, columns);
      return best_of_columns<K>(columns, experts, ids, keys.taken);
    }
    F columns[16];
    rows_to_columns(experts, columns, [&](int r, int from, Index n) {
      return M::load_head(keys.data + r * keys.stride + from, n, M::set(-__builtin_inff()));
    });
    return best_of_columns<K>(columns, experts, ids, keys.taken);
  }
  /// columns[e][row] = the row's logit of expert e, of at most 16.
  template <class Logit> static void columns(TileLogits<Logit> x, Index experts, pack (&columns_out)[16]) {
    F of[16];
    if constexpr (std::is_same_v<Logit, float>)
      if (experts <= 8) {
        M::few_columns(x.data, x.stride, experts, of);
        for (Index e = 0; e < experts; ++e) columns_out[e] = Columns::to_pack(of[e]);
        return;
      }
    rows_to_columns(experts, of, [&](int r, int from, Index n) {
      if (n >= W) return F::from(x(TileAt<PackAt<W>>{r, {from}}).v);
      return F::from(x(TileAt<PackTail<W>>{r, {from, int(n > 0 ? n : 0)}}).v);
    });
    for (Index e = 0; e < experts; ++e) columns_out[e] = Columns::to_pack(of[e]);
  }
  /// The sum of the elements that belong to live rows.
  static std::int64_t sum_of(unsigned live, Twin<std::int64_t, W> values) {
    if (live != TileBounds<M>::every_row) {
      for (int r = 0; r < W / 2; ++r) {
        if ((live >> r & 1) == 0) values.low.v[r] = 0;
        if ((live >> (r + W / 2) & 1) == 0) values.high.v[r] = 0;
      }
    }
    return detail::halve(values.low + values.high, [](auto a, auto b) { return a + b; });
  }
  /// sums[e] += the sum over all rows of the integers nearest to value(e), for n experts.
  template <class Value>
    requires requires(Pack<std::int64_t, 8> const (&values)[8]) { M::add_sums(values, 8, nullptr); }
  static void add_nearest(Index n, Value value, std::int64_t* sums) {
    for (Index first = 0; first < n; first += 8) {
      Pack<std::int64_t, 8> of[8];
      for (Index e = 0; e < 8; ++e)
        if (first + e < n) {
          auto const both = math::Ops<pack>::nearest(value(first + e));
          of[e] = both.low + both.high;
        }
      M::add_sums(of, n - first, sums + first);
    }
  }
  /// counts[id] += 1 for n ids of each row in `live`, which are distinct and below experts <= 16.
  static void count(std::int32_t const (*ids)[W], Index n, unsigned live, Index experts, std::int64_t* counts) {
    for (Index first = 0; first < experts; first += 8) M::count_eight(ids, n, live, first, experts - first, counts + first);
  }

  /// rank(k, row) = counts[id] of the row's k-th id, before the row is counted there: K distinct ids below experts <= 16.
  template <int K>
    requires requires(typename M::I a) { M::expand(M::all(), a); }
  static void rank(std::int32_t const (*ids)[W], Index experts, std::int32_t* counts, std::int32_t* ranks_out,
                       Index stride) {
    alignas(64) std::int32_t ranks[K][W];
    typename M::I rank[K];
    for (int k = 0; k < K; ++k) rank[k] = M::set(0);
    for (int e = 0; e < int(experts); ++e) {
      typename M::Mask chose[K], any = 0;
      for (int k = 0; k < K; ++k) {
        chose[k] = M::equal(M::load(ids[k]), M::set(e));
        any = typename M::Mask(any | chose[k]);
      }
      auto const places = M::expand(any, M::add(M::numbers(), M::set(counts[e])));
      for (int k = 0; k < K; ++k) rank[k] = M::select(chose[k], places, rank[k]);
      counts[e] += __builtin_popcount(M::bits(any));
    }
    for (int k = 0; k < K; ++k) M::store(ranks[k], rank[k]);
    Columns::template store_rows<K>(ranks, ranks_out, stride);
  }

private:
  /// load(r, from, n): the first n elements of row r from `from` on. n may be 0 or less.
  template <class Load> static void rows_to_columns(Index experts, F (&columns)[16], Load load) {
    for (int part = 0; part < 16; part += W) {
      F block[W];
      for (int r = 0; r < W; ++r) block[r] = load(r, part, experts - part);
      M::transpose(block);
      for (int c = 0; c < W; ++c) columns[part + c] = block[c];
    }
  }
  template <int K, int n>
  static unsigned best_of_columns(F const (&columns)[n], Index experts, std::int32_t (*ids)[W], TakenKeys* taken) {
    if constexpr (K <= 2) {
      Words::template best_two<K>(columns, ids, taken != nullptr ? reinterpret_cast<float(*)[W]>(taken->keys) : nullptr);
      if (taken != nullptr) taken->known = true;
    } else {
      typename Words::Pair words[16];
      for (int e = 0; e < 16; ++e)
        words[e] = e < experts ? Words::of(M::all(), columns[e], M::set(e))
                               : typename Words::Pair{M::zero_words(), M::zero_words()};
      Words::template best_ids<K>(words, ids);
    }
    unsigned missed = 0;
    for (int e = 0; e < n; e += 2) missed |= M::bits(M::unordered(columns[e], columns[e + 1]));
    return missed;
  }
};

} // namespace moebal
