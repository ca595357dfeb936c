// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The keys of a tile's rows that reach a bound, and the best of them.

#include "tile_bounds.hpp"
#include "tile_words.hpp"

namespace moebal {

template <class M> struct TileSurvivors {
  using F = typename M::F;
  using I = typename M::I;
  using Words = TileWords<M>;
  static constexpr int W = M::width;
  static constexpr int room = 64; // for the survivors of a row

  /// The id of the only key of each row that reaches its bound. False where one has more of them (and then ids are
  /// undefined).
  static bool only_one(TileKeys const& keys, Index experts, float const* bounds, std::int32_t* ids) {
    bool more = false;
    for (int r = 0; r < W; ++r) {
      F const bound = M::set(bounds[r]);
      int count = 0;
      ids[r] = 0;
      for (Index e = 0; e < experts; e += 64) {
        float const* const at = keys.data + r * keys.stride + e;
        if (keys.ahead != 0) fetch(at + keys.ahead);
        std::uint64_t const mask = M::reach(at, experts - e < 64 ? experts - e : 64, bound);
        ids[r] = mask != 0 ? std::int32_t(e) + __builtin_ctzll(mask) : ids[r];
        count += __builtin_popcountll(mask);
      }
      more |= count > 1;
    }
    return !more;
  }

  /// The ids of the K best survivors. survivors(row, from, bound, found) writes the first 16 indices from `from` on
  /// whose keys reach the bound, and answers how many there are. sharpen(bounds) may write better bounds, at some cost,
  /// and says whether it did. Returns the rows with fewer than K.
  template <int K, class Keys, class Survivors, class Sharpen>
  static unsigned best_of_survivors(Keys const& keys, float const* bounds, std::int32_t (*ids)[W], Survivors survivors,
                                    Sharpen sharpen) {
    alignas(64) std::int32_t found[W][room]; // appending writes 16 past the 16th of those after K
    alignas(64) std::int32_t counts[W];
    for (int r = 0; r < W; ++r) counts[r] = survivors(r, 0, bounds[r], found[r]);
    alignas(64) float sharp[W];
    if (unsigned crowded = M::bits(M::greater(M::load(counts), M::set(16))); crowded != 0 && sharpen(sharp))
      for (; crowded != 0; crowded &= crowded - 1) {
        int const r = __builtin_ctz(crowded);
        counts[r] = survivors(r, 0, sharp[r], found[r]);
      }
    unsigned const few = M::bits(M::greater(M::set(K), M::load(counts)));
    for (;;) {
      best_found<K>(keys, found, counts, ids);
      auto const over = M::greater(M::load(counts), M::set(16));
      unsigned crowded = M::bits(over);
      if (crowded == 0) return few;
      if (K == 16) return few | crowded;
      // More survivors than words. The K best of the first 16 stay; of the later ones only better keys can matter,
      // since equal keys have higher ids.
      alignas(64) float better[W];
      M::store(better, TileBounds<M>::next_above(keys.exact(M(), M::select(over, M::load(ids[K - 1]), M::set(0)), over),
                                                 keys.error));
      for (; crowded != 0; crowded &= crowded - 1) {
        int const r = __builtin_ctz(crowded);
        Index const from = found[r][15] + 1;
        for (int k = 0; k < K; ++k) found[r][k] = ids[k][r];
        counts[r] = K + survivors(r, from, better[r], found[r] + K);
      }
    }
  }
  template <int K, class Keys>
  static void best_found(Keys const& keys, std::int32_t const (&found)[W][room], std::int32_t const* counts,
                         std::int32_t (*ids)[W]) {
    I const count = M::load(counts);
    int used = K; // by some row: the others are words below all, which need no keys
    while (used < 16 && M::bits(M::greater(count, M::set(used))) != 0) used += used < 8 ? 2 : 4;
    if (used > 16) used = 16;
    typename Words::Pair words[16];
    for (int j = used; j < 16; ++j) words[j] = {M::zero_words(), M::zero_words()};
    for (int part = 0; part < used; part += W) {
      F indices[W];
      for (int r = 0; r < W; ++r) indices[r] = M::as_float(M::load(found[r] + part));
      M::transpose(indices);
      for (int j = 0; j < W && part + j < used; ++j) {
        auto const valid = M::greater(count, M::set(part + j));
        I const index = M::select(valid, M::as_int(indices[j]), M::set(0));
        words[part + j] = Words::of(valid, keys.exact(M(), index, valid), index);
      }
    }
    Words::template best_ids<K>(words, ids);
  }
  /// 64 elements that will be read soon. Spread over the work on other rows this costs nothing; all at once it stalls.
  static void fetch(float const* p) {
    for (int line = 0; line < 4; ++line) __builtin_prefetch(p + 16 * line);
  }

  /// The first 16 indices in [first, last) and at least `from` whose keys reach the bound go to `found`. Returns how
  /// many there are.
  static std::int32_t filter(float const* row, Index ahead, Index first, Index last, Index from, float bound,
                             std::int32_t* found) {
    F const b = M::set(bound);
    std::int32_t count = 0;
    for (Index e = first; e < last; e += 64) {
      if (ahead != 0) fetch(row + e + ahead);
      std::uint64_t mask = M::reach(row + e, last - e < 64 ? last - e : 64, b);
      if (from > e) mask = from - e < 64 ? mask >> (from - e) << (from - e) : 0;
      M::append(mask, std::int32_t(e), found + (count < 16 ? count : 16));
      count += __builtin_popcountll(mask);
    }
    return count;
  }
  /// The same within groups of `size` consecutive keys, a bit each.
  static std::int32_t filter_groups(float const* row, Index size, unsigned groups, Index from, float bound,
                                    std::int32_t* found) {
    std::int32_t count = 0;
    if (size % 16 != 0) {
      for (; groups != 0; groups &= groups - 1) {
        Index const first = Index(__builtin_ctz(groups)) * size;
        count += filter(row, 0, first, first + size, from, bound, found + (count < 16 ? count : 16));
      }
      return count;
    }
    // Sixteen keys a part, four parts at a time, wherever they lie.
    F const b = M::set(bound);
    std::int32_t start[4];
    std::uint64_t mask = 0;
    int parts = 0;
    for (; groups != 0; groups &= groups - 1)
      for (Index e = Index(__builtin_ctz(groups)) * size, last = e + size; e < last; e += 16) {
        start[parts] = std::int32_t(e);
        std::uint64_t part = M::reach(row + e, 16, b);
        if (from > e) part = from - e < 16 ? part >> (from - e) << (from - e) : 0;
        mask |= part << (16 * parts);
        if (++parts < 4 && !(e + 16 == last && (groups & (groups - 1)) == 0)) continue;
        for (; parts < 4; ++parts) start[parts] = 0;
        M::append_parts(mask, start, found + (count < 16 ? count : 16));
        count += __builtin_popcountll(mask);
        mask = 0;
        parts = 0;
      }
    return count;
  }
};

} // namespace moebal
