// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The K best of E keys for several rows at once, one row a lane, without a branch that depends on the keys. The plan of
// attack:
//   fold     each row to its 16 column maxima
//   bound    sort the 16 columns, one row a lane: the K-th largest column maximum cannot exceed the K-th largest key
//   filter   compare each row with its bound and keep the indices of the survivors, some K to 2K of them
//   sort     the survivors' rank words in a network, one row a lane
// Where a row has more than 16 survivors, the best of them give it a better bound for the rest. A row with a NaN is
// reported and left to the row form (select/rounds.hpp), which is also the oracle: both give the same ids for all keys.
// M is a machine, as backend/simd_avx512.hpp. Costs and dead ends: docs/performance.md.

#include "tile_few.hpp"
#include "tile_groups.hpp"
#include "tile_lanes.hpp"
#include "tile_rows.hpp"
#include "tile_survivors.hpp"

namespace moebal {

template <class M> struct Tile {
  static constexpr int W = M::width;
  static constexpr Index rows = W;
  static constexpr unsigned every_row = TileBounds<M>::every_row; // a bit each
  static constexpr int most_k = 16;
  static constexpr Index most_stride = 0x7fffffff / W;  // elements between rows: offsets within a tile have 32 bits
  static constexpr Index most_experts = Index(1) << 20; // ids within a word
  using lanes = PackLanes<W>;
  using row_lanes = TileLanes;
  using open_lanes = TileRows<M>;
  using dotted_open_lanes = DottedTileRows<M>;
  using pack = Pack<float, W>;
  using keys = TileKeys;
  using taken_keys = TakenKeys;
  template <class ExactKey> using rough_keys = RoughTileKeys<ExactKey>;
  template <class Logit> using logits = TileLogits<Logit>;
  using memory = TileMemory;
  template <class Logit> using fetching_memory = FetchingTileMemory<Logit>;
  using Few = TileFew<M>;
  using Columns = TileColumns<M>;

  /// ids[k][row] = the id of the row's (k + 1)-th best key, for the rows whose bit in the result is 0.
  ///   ids [K][rows], out
  template <int K, class Keys>
#if !defined(__SANITIZE_ADDRESS__)
  [[gnu::flatten]]
#endif
  static unsigned top_k(Keys const& keys, Index experts, std::int32_t (*ids)[W]) {
    static_assert(K <= most_k);
    if (experts <= Few::most) return Few::template top_k<K>(keys, experts, ids);
    F columns[16];
    unsigned missed = fold(keys.data, keys.stride, experts, columns);
    network::best_first<M, K>(columns);
    alignas(64) float bounds[W];
    M::store(bounds, Bounds::lowered(columns[K - 1], keys.error));
    if constexpr (K == 1 && std::is_same_v<Keys, TileKeys>)
      if (Survivors::only_one(keys, experts, bounds, ids[0])) return missed;
    return missed | Survivors::template best_of_survivors<K>(
                        keys, bounds, ids, [&](int r, Index from, float reached, std::int32_t* found) {
                          return Survivors::filter(keys.data + r * keys.stride, from == 0 ? keys.ahead : 0, 0, experts,
                                                   from, reached, found);
                        },
                        [](float*) { return false; });
  }

  /// The same within the `kept` best of `groups` groups of consecutive keys. A group ranks by the sum of its `summed`
  /// best members, 1 or 2 of them; equal groups: the lower one. Serves groups <= 16 and kept * summed >= K, where the
  /// smallest summed member of the kept groups is a bound: at least K keys reach it. All rows are left to the row form
  /// otherwise.
  template <int K, class Keys>
  static unsigned group_limited_top_k(Keys const& keys, Index experts, Index groups, Index kept, Index summed,
                                      std::int32_t (*ids)[W]) {
    static_assert(K <= most_k);
    if (groups > 16 || summed > 2 || kept * summed < K) return every_row;
    Index const size = experts / groups;
    F sum[16], least[16]; // of each group, one row a lane
    F total = M::set(0.0f);
    for (Index g = 0; g < groups; ++g)
      total = M::add(total, TileGroups<M>::scores(keys.data + g * size, keys.stride, size, summed, sum[g], least[g]));
    unsigned missed = Bounds::finite(total) ? 0u : Bounds::nan_rows(keys.data, keys.stride, experts);

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
    if (keys.error > 0)
      refused =
          M::select(M::at_least(first_left, Bounds::lowered(last_kept, 2 * keys.error)), one, refused); // not sure
    missed |= M::bits(M::greater(refused, M::set(0)));
    alignas(64) float bounds[W];
    alignas(64) std::int32_t kept_groups[W];
    M::store(bounds, Bounds::lowered(bound, keys.error));
    M::store(kept_groups, chosen);
    return missed | Survivors::template best_of_survivors<K>(
                        keys, bounds, ids, [&, missed](int r, Index from, float reached, std::int32_t* found) {
                          if (missed >> r & 1) return 0;
                          return Survivors::filter_groups(keys.data + r * keys.stride, size, unsigned(kept_groups[r]),
                                                          from, reached, found);
                        },
                        [&](float* sharp) {
                          F const by_columns =
                              TileGroups<M>::template column_bound<K>(keys.data, keys.stride, size, kept_groups);
                          M::store(sharp, M::max(Bounds::lowered(by_columns, keys.error), M::load(bounds)));
                          return true;
                        });
  }

  /// f(lanes), compiled apart: what a tile seldom falls back on would otherwise be a part of it wherever it does.
  template <class F> static void in_row_form(F const& f) {
    M::run([&] { f(lanes{}); });
  }

  static pack load(float const* p) { return Columns::to_pack(M::load(p)); }
  static void store(float* p, pack x) { M::store(p, F::from(x.v)); }
  /// One element of each row.
  static pack gather(float const* rows_of, Index stride, std::int32_t const (&column)[W]) {
    return Columns::to_pack(M::gather(rows_of, M::add(row_offsets(stride), M::load(column)), M::all()));
  }
  /// Bit r of the result: element r of the mask.
  static unsigned bits(Mask<W> m) { return M::bits(M::greater(M::set(0), M::I::from(m.v))); }
  /// The numbers of row r, in every lane: Rows is an aggregate of packs, or empty.
  template <class Rows> static Rows row_of(Rows const& rows_of, int r) {
    Rows row{};
    if constexpr (!std::is_empty_v<Rows>) {
      constexpr std::size_t fields = sizeof(Rows) / sizeof(pack);
      static_assert(sizeof(Rows) == fields * sizeof(pack));
      pack* const spread = reinterpret_cast<pack*>(&row); // its fields: bytes would be copied in halves (Pack)
      for (std::size_t f = 0; f < fields; ++f) {
        float number;
        __builtin_memcpy(&number, reinterpret_cast<unsigned char const*>(&rows_of) + at(f, r), sizeof(number));
        spread[f] = pack(typename pack::native{} + number);
      }
    }
    return row;
  }
  template <class Rows, class Row> static void set_row(Rows& rows_of, int r, Row const& row) {
    constexpr std::size_t fields = sizeof(Row) / sizeof(float);
    static_assert(sizeof(Rows) == fields * sizeof(pack));
    float numbers[fields];
    __builtin_memcpy(numbers, &row, sizeof(row));
    for (std::size_t f = 0; f < fields; ++f)
      __builtin_memcpy(reinterpret_cast<unsigned char*>(&rows_of) + at(f, r), &numbers[f], sizeof(float));
  }

private:
  using F = typename M::F;
  using I = typename M::I;
  using D = typename M::D;
  using Words = TileWords<M>;
  using Bounds = TileBounds<M>;
  using Survivors = TileSurvivors<M>;

  /// Bytes before the number of row r in field f of an aggregate of packs.
  static constexpr std::size_t at(std::size_t field, int r) { return (field * W + std::size_t(r)) * sizeof(float); }

  static I row_offsets(Index stride) { return M::multiply(M::numbers(), M::set(int(stride))); }

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
    return Bounds::finite(total) ? 0u : Bounds::nan_rows(keys, stride, experts);
  }
};

} // namespace moebal
