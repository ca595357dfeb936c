// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/ids.hpp"

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
            Index top_k, float* kept)
      : balance_(gate.balance()), logits_(logits), experts_(experts), live_(live), ids_(ids), top_k_(top_k),
        kept_(kept) {}

  Index experts() const { return experts_; }
  Index live_rows() const { return __builtin_popcount(live_); }
  /// counts[id] += 1 for the choices [0, last) of every live row.
  void count_choices(Index last, std::int64_t* counts) const {
    if (experts_ <= 16) { // the counters would wait for one another
      for (Index e = 0; e < experts_; ++e)
        for (Index k = 0; k < last; ++k)
          counts[e] += __builtin_popcount(live_ & Tile::equal_bits(ids_[k], std::int32_t(e)));
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
  /// f(e, add_up) for consecutive elements e: add_up(g) is the sum of g(the normalised score there) over the live rows.
  template <class F> void each_share(typename Tile::lanes lanes, F f) {
    if (!opened_)
      reuse(balance_.template open<Pack>(typename Tile::open_lanes{}, logits_, experts_,
                                         typename Tile::memory{kept_, experts_}));
    lanes.each(experts_, [&](auto e) {
      auto const share = [&](int r) {
        return balance_.share(Tile::row_of(row_, r), load(static_cast<float const*>(kept_ + r * experts_), e));
      };
      f(e, [&](auto g) {
        auto total = g(share(__builtin_ctz(live_)));
        if (live_ == Tile::every_row)
          for (int r = 1; r < Tile::rows; ++r) total = total + g(share(r));
        else
          for (unsigned left = live_ & (live_ - 1); left != 0; left &= left - 1)
            total = total + g(share(__builtin_ctz(left)));
        return total;
      });
    });
  }

private:
  Balance balance_;
  Logits logits_;
  Index experts_;
  unsigned live_;
  std::int32_t const (*ids_)[Tile::rows];
  Index top_k_;
  float* kept_; // [rows, E]
  Row row_{};
  bool opened_ = false;
};

} // namespace moebal::detail
