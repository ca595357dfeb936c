// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/ids.hpp"
#include "../core/math.hpp"

#include <utility>

namespace moebal::detail {

/// What a statistic may ask of the rows of a tile that have just been routed: those in `live`, which have K choices,
/// finite weights and no NaN among their logits. A statistic that serves them together has add_tile(lanes, facts,
/// sums), with the sums that add() gives row by row.
template <class Tile, class Gate, class Logits> class TileFacts {
public:
  using Balance = decltype(std::declval<Gate const&>().balance());
  using Pack = typename Tile::pack;
  using Row = decltype(std::declval<Balance>().template open<Pack>(typename Tile::open_lanes{}, std::declval<Logits>(),
                                                                   Index{}));
  static constexpr bool has_shares = requires { requires Balance::opens_tiles; };

  TileFacts(Gate const& gate, Logits logits, Index experts, unsigned live, std::int32_t const (*ids)[Tile::rows],
            Index top_k, float* kept, bool counted, Pack const* largest)
      : balance_(gate.balance()), logits_(logits), experts_(experts), live_(live), ids_(ids), top_k_(top_k),
        kept_(kept), counted_(counted), largest_(largest) {}

  Index experts() const { return experts_; }
  /// Whether all choices are counted already.
  bool counted() const { return counted_; }
  Index live_rows() const { return __builtin_popcount(live_); }
  /// counts[id] += 1 for the choices [0, last) of every live row.
  void count_choices(Index last, std::int64_t* counts) const {
    if (experts_ <= Tile::Few::most) { // the counters would wait for one another
      Tile::Few::count(ids_, last, live_, experts_, counts);
    } else if (live_ == Tile::every_row) {
      for (Index k = 0; k < last; ++k)
        for (int r = 0; r < Tile::rows; ++r) ++counts[ids_[k][r]];
    } else {
      for (Index k = 0; k < last; ++k)
        for (unsigned left = live_; left != 0; left &= left - 1) ++counts[ids_[k][__builtin_ctz(left)]];
    }
  }
  Index top_k() const { return top_k_; }

  /// What the gate's open() kept serves the balance too.
  void reuse(Row row) {
    row_ = row;
    opened_ = true;
  }
  /// sums[e] += the sum of to_fixed(the normalised score, one) over the live rows.
  void add_shares(typename Tile::lanes lanes, double one, std::int64_t* sums) {
    if (!opened_ && experts_ == 8) return add_columns(std::integral_constant<Index, 8>{}, one, sums);
    if (!opened_ && experts_ <= Tile::Few::most) return add_columns(experts_, one, sums);
    if (!opened_)
      reuse(balance_.template open<Pack>(typename Tile::open_lanes{largest_}, logits_, experts_,
                                         typename Tile::memory{kept_, experts_}));
    unsigned const odd = odd_rows(row_), plain = live_ & ~odd;
    if constexpr (rounds_at_once)
      if (plain == Tile::every_row) return add_nearest(lanes, one, sums);
    lanes.each(experts_, [&](auto e) {
      auto const share = [&](int r) {
        return balance_.share(Tile::row_of(row_, r), load(static_cast<float const*>(kept_ + r * experts_), e));
      };
      using Share = decltype(share(0));
      decltype(math::shifted_fixed(share(0), one)) shifted{};
      if (plain == Tile::every_row)
        for (int r = 0; r < Tile::rows; ++r) shifted = shifted + math::shifted_fixed(share(r), one);
      else
        for (unsigned left = plain; left != 0; left &= left - 1)
          shifted = shifted + math::shifted_fixed(share(__builtin_ctz(left)), one);
      auto total = math::unshifted<Share>(shifted, __builtin_popcount(plain));
      for (unsigned left = odd; left != 0; left &= left - 1)
        total = total + math::to_fixed(share(__builtin_ctz(left)), one);
      lanes.add(sums, e, total);
    });
  }

private:
  // Whether numbers are rounded to integers of 64 bits in one instruction.
  static constexpr bool rounds_at_once = requires(Pack x) { math::Ops<Pack>::nearest(x); };

  // The same for rows that are all live and plain. A power of two may be multiplied to the row's number as well as to its shares: below
  // the normal numbers, where that is not the same, both are 0 in the end.
  Row scaled(Row row, double one) const {
    row.inverse_sum = row.inverse_sum * float(one);
    return row;
  }
  void add_nearest(typename Tile::lanes lanes, double one, std::int64_t* sums) const {
    Row const rows_of = scaled(row_, one);
    lanes.each(experts_, [&](auto e) {
      auto const fixed = [&](int r) {
        auto const share = balance_.share(Tile::row_of(rows_of, r), load(static_cast<float const*>(kept_ + r * experts_), e));
        return math::Ops<std::remove_cvref_t<decltype(share)>>::nearest(share);
      };
      auto total = fixed(0);
      for (int r = 1; r < Tile::rows; ++r) total = total + fixed(r);
      lanes.add(sums, e, total);
    });
  }
  // Live rows whose shares may be NaN or infinite.
  unsigned odd_rows(Row const& row) const {
    Pack const largest = balance_.share(row, math::splat<Pack>(1));
    return live_ & Tile::bits(!math::is_finite(largest));
  }
  // add_shares for at most 16 experts: lanes on a row would be empty, so rows are the lanes. A constant number of them
  // leaves all columns in registers.
  template <class Experts>
#if !defined(__SANITIZE_ADDRESS__)
  [[gnu::flatten]]
#endif
  void add_columns(Experts experts, double one, std::int64_t* sums) const {
    Pack z[Tile::Few::most], kept[Tile::Few::most];
    Tile::Few::columns(logits_, experts, z);
    auto const row = balance_.template open<Pack>(
        typename Tile::row_lanes{}, [&z](Index e) { return z[e]; }, experts,
        [&kept](Index e, Pack u) { kept[e] = u; });
    if constexpr (rounds_at_once)
      if (live_ == Tile::every_row && odd_rows(row) == 0) {
        Row const rows_of = scaled(row, one);
        return Tile::Few::add_nearest(experts, [&](Index e) { return balance_.share(rows_of, kept[e]); }, sums);
      }
    for (Index e = 0; e < experts; ++e)
      sums[e] += Tile::Few::sum_of(live_, math::to_fixed(balance_.share(row, kept[e]), one));
  }

  Balance balance_;
  Logits logits_;
  Index experts_;
  unsigned live_;
  std::int32_t const (*ids_)[Tile::rows];
  Index top_k_;
  float* kept_; // [rows, E]
  bool counted_;
  Pack const* largest_; // logit of each row, where that is known
  Row row_{};
  bool opened_ = false;
};

} // namespace moebal::detail
