// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The one sort that plans are made of: stable, into few bins, with for_each and exclusive_scan alone. Its functors have
// a form for a warp each (backend/warp_rows.hpp), which takes 32 items at once. Items are cut
// into chunks; each chunk counts its items into a private row, the rows are summed over the chunks of each bin, and
// each chunk then places its items in order. The result does not depend on the cut, hence neither on threads nor
// machine.

#include "../backend/warp_lanes.hpp"
#include "../core/workspace.hpp"

#include <cstdint>

namespace moebal::detail {

/// Chunks that `items` are cut into: some for each worker of a host, which fetches one after the other; many small ones on a device.
template <class Exec> Index sort_chunks(Exec const& exec, Index items) {
  constexpr bool host = std::same_as<typename Exec::memory, HostMemory>;
  Index const workers = exec.workers(), most = !host ? 1024 : workers == 1 ? 1 : 8 * workers;
  Index const wanted = items / (host ? 4096 : 256);
  return wanted < 1 ? 1 : wanted > most ? (most < 1 ? 1 : most) : wanted;
}

/// Items [items * c / chunks, items * (c + 1) / chunks) without overflow for up to 2^53 items.
struct Cut {
  Index items;
  Index chunks;
  MOEBAL_FN Index first(Index c) const { return items / chunks * c + (c < items % chunks ? c : items % chunks); }
};

inline constexpr Index warp_items = warp_size; // that a warp takes at once
/// Lanes of a warp with the same bin.
template <class Warp> struct Peers {
  int before; // among the lower lanes
  int all;
  MOEBAL_FN explicit Peers(Index bin) {
    unsigned const same = Warp::match(std::uint32_t(bin)), lower = (1u << Warp::lane()) - 1;
    before = __builtin_popcount(same & lower);
    all = __builtin_popcount(same);
  }
};

/// Bin(i) is in [0, bins), or negative for an item that goes nowhere.
template <class Bin> struct CountChunk {
  Bin bin;
  Cut cut;
  Index bins;
  Index* table; // [chunks, bins]
  MOEBAL_FN void operator()(Index c) const {
    Index* const row = table + c * bins;
    for (Index b = 0; b < bins; ++b) row[b] = 0;
    Bin const bin_of = bin; // a copy that no store can reach: its members stay in registers
    Index const end = cut.first(c + 1);
    for (Index i = cut.first(c); i < end; ++i) {
      Index const b = bin_of(i);
      if (b >= 0) ++row[b];
    }
  }
  template <class Warp> MOEBAL_FN void warp(Warp, Index c) const {
    Index* const row = table + c * bins;
    for (Index b = Warp::lane(); b < bins; b += warp_items) row[b] = 0;
    Warp::sync();
    Index const end = cut.first(c + 1);
    for (Index first = cut.first(c); first < end; first += warp_items) {
      Index const i = first + Warp::lane(), b = i < end ? bin(i) : -1;
      Peers<Warp> const peers(b);
      if (b >= 0 && peers.before == 0) Warp::add(row + b, peers.all);
    }
  }
};

/// Turns each chunk's count into the number of items of that bin before the chunk. Called for bins + 1 bins: the last
/// one makes the scan that follows end with the total.
struct SumChunks {
  Index chunks;
  Index bins;
  Index limit;
  Index const* limits; // [bins] instead of the limit, or null
  Index* table;
  Index* sizes; // [bins + 1] min(count, limit), then 0
  Index* all;   // [bins] the counts, or null
  Index* kept;  // [bins] min(count, limit), or null
  MOEBAL_FN void operator()(Index b) const {
    Index sum = 0;
    for (Index c = 0; c < chunks && b < bins; ++c) {
      Index const n = table[c * bins + b];
      table[c * bins + b] = sum;
      sum += n;
    }
    finish(b, sum);
  }
  template <class Warp> MOEBAL_FN void warp(Warp, Index b) const {
    Index sum = 0;
    for (Index first = 0; first < chunks && b < bins; first += warp_items) {
      Index const c = first + Warp::lane();
      WarpPrefix const sums = warp_prefix<Warp>(c < chunks ? table[c * bins + b] : 0);
      if (c < chunks) table[c * bins + b] = sum + sums.before;
      sum += sums.total;
    }
    if (Warp::lane() == 0) finish(b, sum);
  }

private:
  MOEBAL_FN void finish(Index b, Index sum) const {
    if (b == bins) {
      sizes[b] = 0;
      return;
    }
    Index const most = limits ? limits[b] : limit;
    Index const size = sum < most ? sum : most;
    sizes[b] = size;
    if (all) all[b] = sum;
    if (kept) kept[b] = size;
  }
};

/// put(i, position), or put.nowhere(i) for an item of no bin, or past the limit of its bin.
template <class Bin, class Put> struct PlaceChunk {
  Bin bin;
  Put put;
  Cut cut;
  Index bins;
  bool limited;
  Index* table;
  Index const* offsets; // [bins + 1]
  MOEBAL_FN void operator()(Index c) const {
    Index* const row = table + c * bins; // becomes the next position in each bin
    for (Index b = 0; b < bins; ++b) row[b] += offsets[b];
    if (limited)
      place<true>(row, cut.first(c), cut.first(c + 1));
    else
      place<false>(row, cut.first(c), cut.first(c + 1));
  }
  template <class Warp> MOEBAL_FN void warp(Warp, Index c) const {
    Index* const next = table + c * bins;
    for (Index b = Warp::lane(); b < bins; b += warp_items) next[b] += offsets[b];
    Warp::sync();
    Index const end = cut.first(c + 1);
    for (Index first = cut.first(c); first < end; first += warp_items) {
      Index const i = first + Warp::lane(), b = i < end ? bin(i) : -1;
      Peers<Warp> const peers(b);
      Index const position = b >= 0 ? next[b] + peers.before : 0;
      Warp::sync();
      if (b >= 0 && peers.before == 0) next[b] = position + peers.all;
      Warp::sync();
      if (b >= 0 && (!limited || position < offsets[b + 1]))
        put(i, position);
      else if (i < end)
        put.nowhere(i);
    }
  }

private:
  template <bool is_limited> MOEBAL_FN void place(Index* next, Index i, Index end) const {
    Bin const bin_of = bin; // as in CountChunk
    Put const put_at = put;
    Index const* const first = offsets;
    for (; i < end; ++i) {
      Index const b = bin_of(i);
      if (b >= 0) {
        Index const position = next[b]++;
        if (!is_limited || position < first[b + 1]) {
          put_at(i, position);
          continue;
        }
      }
      put_at.nowhere(i);
    }
  }
};

template <class Exec> std::size_t counting_sort_bytes(Exec const& exec, Index items, Index bins) {
  return WorkspaceView<>::bytes_for<Index>(sort_chunks(exec, items) * bins);
}

/// Sorts items [0, items) into bins, at most `limit` into each (the first ones).
/// @param offsets  [bins + 1] out: first position of each bin, then the number of positions
/// @param table    counting_sort_bytes(exec, items, bins) of scratch
/// @param limits   [bins] at least 0, a limit for each bin instead of `limit`; or null
/// Cost: two passes over the items, O(chunks * bins) besides; three or four launches.
template <class Exec, class Bin, class Put>
void counting_sort(Exec const& exec, Index items, Index bins, Index limit, Bin bin, Put put,
                   VectorView<Index, typename Exec::memory> offsets, Index* table, Index* all = nullptr,
                   Index* kept = nullptr, Index const* limits = nullptr) {
  Cut const cut{items, sort_chunks(exec, items)};
  exec.for_each(cut.chunks, CountChunk<Bin>{bin, cut, bins, table});
  exec.for_each(bins + 1, SumChunks{cut.chunks, bins, limit, limits, table, offsets.data(), all, kept});
  exec.exclusive_scan(offsets);
  exec.for_each(cut.chunks, PlaceChunk<Bin, Put>{bin, put, cut, bins, limits || limit < items, table, offsets.data()});
}

} // namespace moebal::detail
