// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The K best of E keys for several rows at once, one row a lane, without a branch that depends on the keys. The plan of attack:
//   fold     each row to its 16 column maxima
//   bound    sort the 16 columns, one row a lane: the K-th largest column maximum cannot exceed the K-th largest key
//   filter   compare each row with its bound and keep the indices of the survivors, some K to 2K of them
//   sort     the survivors' rank words in a network, one row a lane
// Where a row has more than 16 survivors, the best of them give it a better bound for the rest. A row with a NaN is reported and left to
// the row form (select/rounds.hpp), which is also the oracle: both give the same ids for all keys. M is a machine, as backend/simd_avx512.hpp. Costs and dead ends: docs/performance.md.

#include "network.hpp"
#include "tile_lanes.hpp"
#include "tile_rows.hpp"

namespace moebal {

/// The keys of a tile's rows, in memory.
struct TileKeys {
  float const* data; // [rows, E]
  Index stride;      // elements between rows
  Index ahead = 0;   // elements from a row to one that will be read soon, for prefetching; 0: none

  static constexpr float error = 0; // how far keys may be from the exact ones
  template <class M> typename M::F exact(M, typename M::I index, typename M::Mask live) const { // one of each row
    return M::gather(data, M::add(M::multiply(M::numbers(), M::set(int(stride))), index), live);
  }
};

/// Keys that are at most `error` off, with a way to the exact ones: exact_key(index [rows]) of one expert in each row.
template <class ExactKey> struct RoughTileKeys : TileKeys {
  ExactKey exact_key;
  float error;

  template <class M> typename M::F exact(M, typename M::I index, typename M::Mask) const {
    std::int32_t indices[M::width];
    M::store(indices, index);
    return __builtin_bit_cast(typename M::F, exact_key(indices).v);
  }
};

/// The two largest of some numbers, in each lane.
template <class M> struct BestTwo {
  typename M::F first, second;

  static BestTwo better_of(BestTwo a, BestTwo b) {
    return {M::max(a.first, b.first), M::max(M::min(a.first, b.first), M::max(a.second, b.second))};
  }
  template <int step> static BestTwo pairs(BestTwo a, BestTwo b) {
    return {M::template pairs<step>(a.first, b.first), M::template pairs<step>(a.second, b.second)};
  }
};

template <class M> struct Tile {
  static constexpr int W = M::width;
  static constexpr Index rows = W;
  static constexpr int most_k = 16;
  static constexpr Index most_stride = 0x7fffffff / W; // elements between rows: offsets within a tile have 32 bits
  static constexpr Index most_experts = Index(1) << 20; // ids within a word
  using lanes = PackLanes<W>;
  using row_lanes = TileLanes;
  using open_lanes = TileRows<M>;
  using pack = Pack<float, W>;
  using keys = TileKeys;
  template <class ExactKey> using rough_keys = RoughTileKeys<ExactKey>;
  template <class Logit> using logits = TileLogits<Logit>;
  using memory = TileMemory;

  /// ids[k][row] = the id of the row's (k + 1)-th best key, for the rows whose bit in the result is 0.
  ///   ids [K][rows], out
  template <int K, class Keys>
#if !defined(__SANITIZE_ADDRESS__)
  [[gnu::flatten]]
#endif
  static unsigned top_k(Keys keys, Index experts, std::int32_t (*ids)[W]) {
    static_assert(K <= most_k);
    if (experts <= 16) return of_few<K>(keys.data, keys.stride, experts, ids);
    F columns[16];
    unsigned missed = fold(keys.data, keys.stride, experts, columns);
    network::best_first<M, K>(columns);
    alignas(64) float bounds[W];
    M::store(bounds, lowered(columns[K - 1], keys.error));
    if constexpr (K == 1 && std::is_same_v<Keys, TileKeys>)
      if (only_one(keys, experts, bounds, ids[0])) return missed;
    return missed | best_of_survivors<K>(keys, bounds, ids, [&](int r, Index from, float reached, std::int32_t* found) {
             return filter(keys.data + r * keys.stride, from == 0 ? keys.ahead : 0, 0, experts, from, reached, found);
           });
  }

  /// The same within the `kept` best of `groups` groups of consecutive keys. A group ranks by the sum of its `summed` best members, 1 or
  /// 2 of them; equal groups: the lower one. Serves groups <= 16 and kept * summed >= K, where the smallest summed member of the kept
  /// groups is a bound: at least K keys reach it. All rows are left to the row form otherwise.
  template <int K, class Keys>
  static unsigned group_limited_top_k(Keys keys, Index experts, Index groups, Index kept, Index summed,
                                      std::int32_t (*ids)[W]) {
    static_assert(K <= most_k);
    if (groups > 16 || summed > 2 || kept * summed < K) return every_row;
    Index const size = experts / groups;
    F sum[16], least[16]; // of each group, one row a lane
    F total = M::set(0.0f);
    for (Index g = 0; g < groups; ++g) total = M::add(total, group_scores(keys.data + g * size, keys.stride, size, summed, sum[g], least[g]));
    unsigned missed = finite(total) ? 0u : nan_rows(keys.data, keys.stride, experts);

    I better[16]; // groups that rank before g
    for (Index g = 0; g < groups; ++g) better[g] = M::set(0);
    I const one = M::set(1);
    for (Index h = 0; h < groups; ++h)
      for (Index g = h + 1; g < groups; ++g) {
        I const before = M::select(M::at_least(sum[h], sum[g]), one, M::set(0));
        better[g] = M::add(better[g], before);
        better[h] = M::add(better[h], M::differ(before, one));
      }
    F const none = M::set(-__builtin_inff());
    F bound = M::set(__builtin_inff()), last_kept = bound, first_left = none;
    I chosen = M::set(0), refused = chosen; // a bit for each kept group; not 0: rows that are left
    for (Index g = 0; g < groups; ++g) {
      auto const keep = M::greater(M::set(int(kept)), better[g]);
      // Sums of -inf are told apart by NaN among the members, and a NaN sum comes of infinities: both are rare.
      refused = M::select(M::nan(sum[g]), one, refused);
      refused = M::select(keep, M::select(M::equal(sum[g], none), one, refused), refused);
      bound = M::select(keep, M::min(least[g], bound), bound);
      last_kept = M::select(keep, M::min(sum[g], last_kept), last_kept);
      first_left = M::select(keep, first_left, M::max(sum[g], first_left));
      chosen = M::select(keep, M::either(chosen, M::set(1 << g)), chosen);
    }
    if (keys.error > 0) refused = M::select(M::at_least(first_left, lowered(last_kept, 2 * keys.error)), one, refused); // not sure
    missed |= M::bits(M::greater(refused, M::set(0)));
    alignas(64) float bounds[W];
    alignas(64) std::int32_t kept_groups[W];
    M::store(bounds, lowered(bound, keys.error));
    M::store(kept_groups, chosen);
    return missed | best_of_survivors<K>(keys, bounds, ids, [&, missed](int r, Index from, float reached, std::int32_t* found) {
             if (missed >> r & 1) return 0;
             return filter_groups(keys.data + r * keys.stride, size, unsigned(kept_groups[r]), from, reached, found);
           });
  }

  static pack load(float const* p) { return to_pack(M::load(p)); }
  static void store(float* p, pack x) { M::store(p, __builtin_bit_cast(F, x.v)); }
  /// One element of each row.
  static pack gather(float const* rows_of, Index stride, std::int32_t const (&column)[W]) {
    return to_pack(M::gather(rows_of, M::add(row_offsets(stride), M::load(column)), M::all()));
  }
  /// values[k][row] to K columns of `rows_out`, whose rows are `stride` apart.
  template <int K> static void store_rows(std::int32_t const (*values)[W], std::int32_t* rows_out, Index stride) {
    columns_to_rows<K>([values](int k) { return M::as_float(M::load(values[k])); }, reinterpret_cast<float*>(rows_out), stride);
  }
  template <int K> static void store_rows(pack const* values, float* rows_out, Index stride) {
    columns_to_rows<K>([values](int k) { return __builtin_bit_cast(F, values[k].v); }, rows_out, stride);
  }
  /// Bit r of the result: values[r] == value.
  static unsigned equal_bits(std::int32_t const (&values)[W], std::int32_t value) {
    return M::bits(M::equal(M::load(values), M::set(value)));
  }

  /// Bit r of the result: element r of the mask.
  static unsigned bits(Mask<W> m) { return M::bits(M::greater(M::set(0), __builtin_bit_cast(typename M::I, m.v))); }
  /// The numbers of row r, in every lane: Rows is an aggregate of packs, or empty.
  template <class Rows> static Rows row_of(Rows const& rows_of, int r) {
    Rows row{};
    if constexpr (!std::is_empty_v<Rows>) {
      constexpr std::size_t fields = sizeof(Rows) / sizeof(pack);
      static_assert(sizeof(Rows) == fields * sizeof(pack));
      float numbers[fields][W];
      __builtin_memcpy(numbers, &rows_of, sizeof(numbers));
      pack spread[fields];
      for (std::size_t f = 0; f < fields; ++f) spread[f] = pack(typename pack::native{} + numbers[f][r]);
      __builtin_memcpy(static_cast<void*>(&row), spread, sizeof(row));
    }
    return row;
  }
  template <class Rows, class Row> static void set_row(Rows& rows_of, int r, Row const& row) {
    constexpr std::size_t fields = sizeof(Row) / sizeof(float);
    static_assert(sizeof(Rows) == fields * sizeof(pack));
    float numbers[fields];
    __builtin_memcpy(numbers, &row, sizeof(row));
    for (std::size_t f = 0; f < fields; ++f)
      __builtin_memcpy(reinterpret_cast<unsigned char*>(&rows_of) + (f * W + std::size_t(r)) * sizeof(float), &numbers[f], sizeof(float));
  }

private:
  using F = typename M::F;
  using I = typename M::I;
  using D = typename M::D;
  static constexpr unsigned every_row = unsigned((1ull << W) - 1);
  static constexpr int id_bits = 20;
  static constexpr int room = 64; // for the survivors of a row

  /// Rank words of one candidate of every row, in two registers.
  struct Words {
    D low, high;
  };

  template <int K, class Column> static void columns_to_rows(Column column, float* rows_out, Index stride) {
    if (K == 1 && stride == 1) return M::store(rows_out, column(0));
    if (K == 2 && stride == 2) return M::store_pairs(column(0), column(K - 1), rows_out);
    for (int k = 0; k < K; k += 4) {
      F columns[4];
      for (int i = 0; i < 4; ++i) columns[i] = column(k + i < K ? k + i : K - 1);
      M::store_columns(columns, K - k < 4 ? K - k : 4, rows_out + k, stride);
    }
  }
  static pack to_pack(F x) { return pack(__builtin_bit_cast(typename pack::native, x)); }
  static I row_offsets(Index stride) { return M::multiply(M::numbers(), M::set(int(stride))); }

  /// Whether a sum of keys says that none of them is a NaN or an infinity; it may say no where none is.
  static bool finite(F total) {
    F const magnitude = M::as_float(M::both(M::as_int(total), M::set(0x7fffffff)));
    return M::bits(M::at_least(M::set(0x1.fffffep127f), magnitude)) == every_row;
  }
  /// What a key that is less than `bound` may be off by from keys that reach it: both are up to `error` off before a bias is added.
  static F lowered(F bound, float error) {
    if (error == 0) return bound;
    F const magnitude = M::as_float(M::both(M::as_int(bound), M::set(0x7fffffff)));
    return M::subtract(bound, M::add(M::set(2 * error), M::multiply(magnitude, M::set(0x1p-20f))));
  }
  /// The rows with a NaN.
  static unsigned nan_rows(float const* keys, Index stride, Index experts) {
    unsigned rows_of = 0;
    for (int r = 0; r < W; ++r)
      for (Index e = 0; e < experts; e += W)
        if (M::bits(M::nan(M::load_head(keys + r * stride + e, experts - e, M::set(0.0f)))) != 0) rows_of |= 1u << r;
    return rows_of;
  }

  /// Signed integer that orders like the key: -0 equals +0. For keys that are no NaN.
  static I signed_key(F key) {
    I const raw = M::as_int(key);
    I const bits = M::select(M::equal(raw, M::set(int(0x80000000u))), M::set(0), raw);
    return M::differ(bits, M::both(M::signs(bits), M::set(0x7fffffff)));
  }
  /// Rank words: 1, the key in 32 bits, then the id in 20, the lower the better. As numbers these are normal whatever the key, so
  /// they compare like the integers, and faster. Rows outside `valid` get 0, below every candidate.
  static Words to_words(typename M::Mask valid, F key, I id) {
    I const ordered = M::differ(signed_key(key), M::set(int(0x80000000u)));
    I const low = M::either(M::template left<id_bits>(ordered), M::subtract(M::set((1 << id_bits) - 1), id));
    I const high = M::either(M::template right<32 - id_bits>(ordered), M::set(1 << id_bits));
    I const none = M::set(0);
    I const l = M::select(valid, low, none), h = M::select(valid, high, none);
    return {M::words_low(l, h), M::words_high(l, h)};
  }
  template <int K> static void best_ids(Words const (&words)[16], std::int32_t (*ids)[W]) {
    D best[2][K];
    for (int half = 0; half < 2; ++half) {
      D column[16];
      for (int j = 0; j < 16; ++j) column[j] = half == 0 ? words[j].low : words[j].high;
      network::best_first<M, K>(column);
      for (int k = 0; k < K; ++k) best[half][k] = column[k];
    }
    for (int k = 0; k < K; ++k) {
      I const most = M::set((1 << id_bits) - 1);
      M::store(ids[k], M::subtract(most, M::both(M::low_halves(best[0][k], best[1][k]), most)));
    }
  }

  /// At most 16 experts: every one is a candidate.
  template <int K> static unsigned of_few(float const* keys, Index stride, Index experts, std::int32_t (*ids)[W]) {
    F columns[16];
    if (experts <= 8) {
      M::few_columns(keys, stride, experts, columns);
    } else {
      for (int part = 0; part < 16; part += W) {
        F block[W];
        for (int r = 0; r < W; ++r) block[r] = M::load_head(keys + r * stride + part, experts - part, M::set(0.0f));
        M::transpose(block);
        for (int c = 0; c < W; ++c) columns[part + c] = block[c];
      }
    }
    F total = M::set(0.0f);
    for (Index e = 0; e < experts; ++e) total = M::add(total, columns[e]);
    unsigned const missed = finite(total) ? 0u : nan_rows(keys, stride, experts);
    if constexpr (K <= 2) {
      best_two_ids<K>(columns, experts, ids);
    } else {
      Words words[16];
      for (int e = 0; e < 16; ++e)
        words[e] = e < experts ? to_words(M::all(), columns[e], M::set(e)) : Words{M::zero_words(), M::zero_words()};
      best_ids<K>(words, ids);
    }
    return missed;
  }
  template <int K> static void best_two_ids(F const* columns, Index experts, std::int32_t (*ids)[W]) {
    I best = M::set(int(0x80000000u)), second = best, best_id = M::set(0), second_id = best_id; // below the key of -inf
    for (Index e = 0; e < experts; ++e) {
      I const key = signed_key(columns[e]), id = M::set(int(e));
      auto const first = M::greater(key, best);
      if constexpr (K == 2) {
        auto const next = M::greater(key, second);
        second = M::select(first, best, M::select(next, key, second));
        second_id = M::select(first, best_id, M::select(next, id, second_id));
      }
      best = M::select(first, key, best);
      best_id = M::select(first, id, best_id);
    }
    M::store(ids[0], best_id);
    if constexpr (K == 2) M::store(ids[1], second_id);
  }

  /// Maxima of the 16 columns of each row, element r of columns[c]; NaN is passed over. Returns the rows with a NaN.
  static unsigned fold(float const* keys, Index stride, Index experts, F (&columns)[16]) {
    F const none = M::set(-__builtin_inff());
    F total = M::set(0.0f);
    constexpr int parts = 16 / W;
    F maxima[parts][W];
    for (int r = 0; r < W; ++r) {
      float const* const row = keys + r * stride;
      F a[parts], b[parts];
      for (int p = 0; p < parts; ++p) a[p] = b[p] = none;
      F sum = M::set(0.0f), sum_too = sum; // of the row: one chain of additions through all rows would be waited for
      Index e = 0;
      for (; e + 32 <= experts; e += 32)
        for (int p = 0; p < parts; ++p) {
          F const x = M::load(row + e + p * W), y = M::load(row + e + 16 + p * W);
          a[p] = M::max(x, a[p]);
          b[p] = M::max(y, b[p]);
          sum = M::add(sum, x);
          sum_too = M::add(sum_too, y);
        }
      for (int p = 0; e < experts; e += W, p = (p + 1) % parts) {
        F const x = M::load_head(row + e, experts - e, none);
        a[p] = M::max(x, a[p]);
        sum = M::add(sum, M::load_head(row + e, experts - e, M::set(0.0f)));
      }
      total = M::add(total, M::add(sum, sum_too));
      for (int p = 0; p < parts; ++p) maxima[p][r] = M::max(a[p], b[p]);
    }
    for (int p = 0; p < parts; ++p) {
      M::transpose(maxima[p]);
      for (int c = 0; c < W; ++c) columns[p * W + c] = maxima[p][c];
    }
    return finite(total) ? 0u : nan_rows(keys, stride, experts);
  }

  /// The id of the only key of each row that reaches its bound. False where one has more of them (and then ids are undefined).
  static bool only_one(TileKeys keys, Index experts, float const* bounds, std::int32_t* ids) {
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

  /// The ids of the K best survivors. survivors(row, from, bound, found) writes the first 16 indices from `from` on whose keys reach the
  /// bound, and answers how many there are. Returns the rows with fewer than K.
  template <int K, class Keys, class Survivors>
  static unsigned best_of_survivors(Keys const& keys, float const* bounds, std::int32_t (*ids)[W], Survivors survivors) {
    alignas(64) std::int32_t found[W][room]; // appending writes 16 past the 16th of those after K
    alignas(64) std::int32_t counts[W];
    for (int r = 0; r < W; ++r) counts[r] = survivors(r, 0, bounds[r], found[r]);
    unsigned const few = M::bits(M::greater(M::set(K), M::load(counts)));
    for (;;) {
      best_found<K>(keys, found, counts, ids);
      auto const over = M::greater(M::load(counts), M::set(16));
      unsigned crowded = M::bits(over);
      if (crowded == 0) return few;
      if (K == 16) return few | crowded;
      // More survivors than words. The K best of the first 16 stay; of the later ones only better keys can matter, since equal keys
      // have higher ids.
      alignas(64) float better[W];
      M::store(better, next_above(keys.exact(M(), M::select(over, M::load(ids[K - 1]), M::set(0)), over), keys.error));
      for (; crowded != 0; crowded &= crowded - 1) {
        int const r = __builtin_ctz(crowded);
        Index const from = found[r][15] + 1;
        for (int k = 0; k < K; ++k) found[r][k] = ids[k][r];
        counts[r] = K + survivors(r, from, better[r], found[r] + K);
      }
    }
  }
  template <int K, class Keys>
  static void best_found(Keys const& keys, std::int32_t const (&found)[W][room], std::int32_t const* counts, std::int32_t (*ids)[W]) {
    I const count = M::load(counts);
    Words words[16];
    for (int part = 0; part < 16; part += W) {
      F indices[W];
      for (int r = 0; r < W; ++r) indices[r] = M::as_float(M::load(found[r] + part));
      M::transpose(indices);
      for (int j = 0; j < W; ++j) {
        auto const valid = M::greater(count, M::set(part + j));
        I const index = M::select(valid, M::as_int(indices[j]), M::set(0));
        words[part + j] = to_words(valid, keys.exact(M(), index, valid), index);
      }
    }
    best_ids<K>(words, ids);
  }
  /// The least bound that keys above x reach, and keys that are up to `error` off.
  static F next_above(F x, float error) {
    if (error > 0) return lowered(x, error);
    I const bits = M::as_int(x), one = M::set(1);
    I const next = M::select(M::greater(M::set(0), bits), M::subtract(bits, one), M::add(bits, one)); // +inf: a NaN, which nothing reaches
    return M::select(M::equal(x, M::set(0.0f)), M::as_float(one), M::as_float(next));
  }

  /// Of one group in each row: the sum of its `summed` best members, and the least of these. NaN members count as -inf. Returns sums of
  /// the members, for finite().
  static F group_scores(float const* keys, Index stride, Index size, Index summed, F& sum, F& least) {
    F const none = M::set(-__builtin_inff());
    F total = M::set(0.0f);
    BestTwo<M> rows_of[W];
    for (int r = 0; r < W; ++r) {
      float const* const row = keys + r * stride;
      BestTwo<M> two{none, none};
      F row_sum = M::set(0.0f);
      for (Index e = 0; e < size; e += W) {
        F x = M::load_head(row + e, size - e, none);
        row_sum = M::add(row_sum, size - e >= W ? x : M::load_head(row + e, size - e, M::set(0.0f)));
        x = M::max(x, none);
        two = {M::max(x, two.first), M::max(M::min(x, two.first), two.second)};
      }
      rows_of[r] = two;
      total = M::add(total, row_sum);
    }
    BestTwo<M> const best = M::across(rows_of, BestTwo<M>::better_of);
    sum = summed == 2 ? M::add(best.first, best.second) : best.first;
    least = summed == 2 ? best.second : best.first;
    return total;
  }

  /// 64 elements that will be read soon. Spread over the work on other rows this costs nothing; all at once it stalls.
  static void fetch(float const* p) {
    for (int line = 0; line < 4; ++line) __builtin_prefetch(p + 16 * line);
  }

  /// The first 16 indices in [first, last) and at least `from` whose keys reach the bound go to `found`. Returns how many there are.
  static std::int32_t filter(float const* row, Index ahead, Index first, Index last, Index from, float bound, std::int32_t* found) {
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
  static std::int32_t filter_groups(float const* row, Index size, unsigned groups, Index from, float bound, std::int32_t* found) {
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
