// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The K best of E keys for several rows at once, one row a lane, without a branch that depends on the keys. The plan of attack:
//   fold     each row to its 16 column maxima
//   bound    sort the 16 columns, one row a lane: the K-th largest column maximum cannot exceed the K-th largest key
//   filter   compare each row with its bound and keep the indices of the survivors, some K to 2K of them
//   sort     the survivors' rank words in a network, one row a lane
// A row with more than 16 survivors or with a NaN is reported and left to the row form (select/rounds.hpp), which is also the oracle:
// both give the same ids for all keys. M is a machine, as backend/simd_avx512.hpp. Costs and dead ends: docs/performance.md.

#include "network.hpp"
#include "tile_lanes.hpp"
#include "tile_rows.hpp"

namespace moebal {

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

  /// ids[k][row] = the id of the row's (k + 1)-th best key, for the rows whose bit in the result is 0.
  ///   keys [rows, E], `stride` elements apart;  ids [K][rows], out
  template <int K> static unsigned top_k(float const* keys, Index stride, Index experts, std::int32_t (*ids)[W]) {
    static_assert(K <= most_k);
    if (experts <= 16) return of_few<K>(keys, stride, experts, ids);
    F columns[16];
    unsigned missed = fold(keys, stride, experts, columns);
    network::best_first<M, K>(columns);
    alignas(64) float bounds[W];
    M::store(bounds, columns[K - 1]);
    Found found;
    for (int r = 0; r < W; ++r) found.counts[r] = filter(keys + r * stride, 0, experts, bounds[r], found.indices[r], 0);
    return missed | best_found<K>(keys, stride, found, ids);
  }

  /// The same within the `kept` best of `groups` groups of consecutive keys. A group ranks by the sum of its `summed` best members, 1 or
  /// 2 of them; equal groups: the lower one. Serves groups <= 16 and kept * summed >= K, where the smallest summed member of the kept
  /// groups is a bound: at least K keys reach it. All rows are left to the row form otherwise.
  template <int K>
  static unsigned group_limited_top_k(float const* keys, Index stride, Index experts, Index groups, Index kept, Index summed,
                                      std::int32_t (*ids)[W]) {
    static_assert(K <= most_k);
    if (groups > 16 || summed > 2 || kept * summed < K) return every_row;
    Index const size = experts / groups;
    F sum[16], least[16]; // of each group, one row a lane
    F total = M::set(0.0f);
    for (Index g = 0; g < groups; ++g) total = M::add(total, group_scores(keys + g * size, stride, size, summed, sum[g], least[g]));
    unsigned missed = finite(total) ? 0u : nan_rows(keys, stride, experts);

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
    F bound = M::set(__builtin_inff());
    I chosen = M::set(0); // a bit for each kept group
    for (Index g = 0; g < groups; ++g) {
      auto const keep = M::greater(M::set(int(kept)), better[g]);
      // Sums of -inf are told apart by NaN among the members, and a NaN sum comes of infinities: both are rare.
      missed |= M::bits(M::nan(sum[g])) | (M::bits(keep) & M::bits(M::equal(sum[g], none)));
      bound = M::select(keep, M::min(least[g], bound), bound);
      chosen = M::select(keep, M::either(chosen, M::set(1 << g)), chosen);
    }
    alignas(64) float bounds[W];
    alignas(64) std::int32_t kept_groups[W];
    M::store(bounds, bound);
    M::store(kept_groups, chosen);
    Found found;
    for (int r = 0; r < W; ++r) {
      std::int32_t count = 0;
      if (!(missed >> r & 1))
        for (unsigned left = unsigned(kept_groups[r]); left != 0; left &= left - 1) {
          Index const first = Index(__builtin_ctz(left)) * size;
          count = filter(keys + r * stride, first, first + size, bounds[r], found.indices[r], count);
        }
      found.counts[r] = count;
    }
    return missed | best_found<K>(keys, stride, found, ids);
  }

  /// One element of each row.
  static pack gather(float const* rows_of, Index stride, std::int32_t const (&column)[W]) {
    return to_pack(M::gather(rows_of, M::add(row_offsets(stride), M::load(column)), M::all()));
  }
  /// values[k][row] to K columns of `rows_out`, whose rows are `stride` apart.
  template <int K> static void store_rows(std::int32_t const (*values)[W], std::int32_t* rows_out, Index stride) {
    for (int k = 0; k < K; k += 4) {
      F columns[4];
      for (int i = 0; i < 4; ++i) columns[i] = M::as_float(M::load(values[k + i < K ? k + i : K - 1]));
      M::store_columns(columns, K - k < 4 ? K - k : 4, reinterpret_cast<float*>(rows_out) + k, stride);
    }
  }
  template <int K> static void store_rows(pack const* values, float* rows_out, Index stride) {
    for (int k = 0; k < K; k += 4) {
      F columns[4];
      for (int i = 0; i < 4; ++i) columns[i] = __builtin_bit_cast(F, values[k + i < K ? k + i : K - 1].v);
      M::store_columns(columns, K - k < 4 ? K - k : 4, rows_out + k, stride);
    }
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
      __builtin_memcpy(&row, spread, sizeof(row));
    }
    return row;
  }
  template <class Rows, class Row> static void set_row(Rows& rows_of, int r, Row const& row) {
    constexpr std::size_t fields = sizeof(Row) / sizeof(float);
    static_assert(sizeof(Rows) == fields * sizeof(pack));
    float numbers[fields];
    __builtin_memcpy(numbers, &row, sizeof(row));
    for (std::size_t f = 0; f < fields; ++f)
      __builtin_memcpy(reinterpret_cast<std::byte*>(&rows_of) + (f * W + std::size_t(r)) * sizeof(float), &numbers[f], sizeof(float));
  }

private:
  using F = typename M::F;
  using I = typename M::I;
  using D = typename M::D;
  static constexpr unsigned every_row = unsigned((1ull << W) - 1);
  static constexpr int id_bits = 20;

  /// Survivors of each row: how many there are, and the indices of the first 16.
  struct Found {
    alignas(64) std::int32_t indices[W][32]; // appending writes 16 past the 16th
    alignas(64) std::int32_t counts[W];
  };
  /// Rank words of one candidate of every row, in two registers.
  struct Words {
    D low, high;
  };

  static pack to_pack(F x) { return pack(__builtin_bit_cast(typename pack::native, x)); }
  static I row_offsets(Index stride) { return M::multiply(M::numbers(), M::set(int(stride))); }

  /// Whether a sum of keys says that none of them is a NaN or an infinity; it may say no where none is.
  static bool finite(F total) {
    F const magnitude = M::as_float(M::both(M::as_int(total), M::set(0x7fffffff)));
    return M::bits(M::at_least(M::set(0x1.fffffep127f), magnitude)) == every_row;
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
    F total = M::set(0.0f), total_too = total;
    constexpr int parts = 16 / W;
    F maxima[parts][W];
    for (int r = 0; r < W; ++r) {
      float const* const row = keys + r * stride;
      F a[parts], b[parts];
      for (int p = 0; p < parts; ++p) a[p] = b[p] = none;
      Index e = 0;
      for (; e + 32 <= experts; e += 32)
        for (int p = 0; p < parts; ++p) {
          F const x = M::load(row + e + p * W), y = M::load(row + e + 16 + p * W);
          a[p] = M::max(x, a[p]);
          b[p] = M::max(y, b[p]);
          total = M::add(total, x);
          total_too = M::add(total_too, y);
        }
      for (int p = 0; e < experts; e += W, p = (p + 1) % parts) {
        F const x = M::load_head(row + e, experts - e, none);
        a[p] = M::max(x, a[p]);
        total = M::add(total, M::load_head(row + e, experts - e, M::set(0.0f)));
      }
      for (int p = 0; p < parts; ++p) maxima[p][r] = M::max(a[p], b[p]);
    }
    for (int p = 0; p < parts; ++p) {
      M::transpose(maxima[p]);
      for (int c = 0; c < W; ++c) columns[p * W + c] = maxima[p][c];
    }
    return finite(M::add(total, total_too)) ? 0u : nan_rows(keys, stride, experts);
  }

  /// The ids of the K best survivors. Returns the rows that have more survivors than are kept, or fewer than K.
  template <int K>
  static unsigned best_found(float const* keys, Index stride, Found const& found, std::int32_t (*ids)[W]) {
    I const count = M::load(found.counts), offsets = row_offsets(stride);
    Words words[16];
    for (int part = 0; part < 16; part += W) {
      F indices[W];
      for (int r = 0; r < W; ++r) indices[r] = M::as_float(M::load(found.indices[r] + part));
      M::transpose(indices);
      for (int j = 0; j < W; ++j) {
        auto const valid = M::greater(count, M::set(part + j));
        I const index = M::as_int(indices[j]);
        words[part + j] = to_words(valid, M::gather(keys, M::add(offsets, index), valid), index);
      }
    }
    best_ids<K>(words, ids);
    return M::bits(M::greater(count, M::set(16))) | M::bits(M::greater(M::set(K), count));
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
      for (Index e = 0; e < size; e += W) {
        F x = M::load_head(row + e, size - e, none);
        total = M::add(total, size - e >= W ? x : M::load_head(row + e, size - e, M::set(0.0f)));
        x = M::max(x, none);
        two = {M::max(x, two.first), M::max(M::min(x, two.first), two.second)};
      }
      rows_of[r] = two;
    }
    BestTwo<M> const best = M::across(rows_of, BestTwo<M>::better_of);
    sum = summed == 2 ? M::add(best.first, best.second) : best.first;
    least = summed == 2 ? best.second : best.first;
    return total;
  }

  /// Appends the indices in [first, last) whose keys reach the bound to `count` found ones, of which 16 are kept. Returns the new count.
  static std::int32_t filter(float const* row, Index first, Index last, float bound, std::int32_t* found, std::int32_t count) {
    F const b = M::set(bound);
    for (Index e = first; e < last; e += 64) {
      std::uint64_t const mask = M::reach(row + e, last - e < 64 ? last - e : 64, b);
      M::append(mask, std::int32_t(e), found + (count < 16 ? count : 16));
      count += __builtin_popcountll(mask);
    }
    return count;
  }
};

} // namespace moebal
