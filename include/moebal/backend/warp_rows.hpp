// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Which rows a warp takes, and in what form: in registers where the body can and the row fits, else in the row form that
// serves every lane group.

#include "../core/execution.hpp"
#include "warp_row.hpp"

namespace moebal::detail {

/// The words a lane keeps of a row, known when compiling. 0: the row form.
template <int n> struct WarpWords {
  static constexpr int value = n;
};

/// A body whose rows may be worked on in registers:
///   has_warp         whether the following is there at all
///   warp_experts()   elements of a row, or 0 where the rows of this body do not fit
///   warp_bytes()     shared memory for each warp
///   warp_together()  rows that it would rather take together, where there are many: a power of two
///   warp(WarpRow<...>{}, scratch, shared, worker, first, count)  `count` rows from `first` on
template <class Body>
concept warp_body = requires(Body const& body) {
  requires Body::has_warp;
  { body.warp_experts() } -> std::same_as<Index>;
  { body.warp_bytes() } -> std::same_as<std::size_t>;
  { Body::warp_together() } -> std::same_as<int>;
};

/// f(WarpWords<n>{}) with the form for the rows of a body, given at most `most_shared` bytes for each warp. A short list,
/// for every entry is a kernel; whatever is longer takes the row form.
template <class Body, class F> void with_warp_words([[maybe_unused]] Body const& body, [[maybe_unused]] std::size_t most_shared, F f) {
  if constexpr (warp_body<Body>) {
    Index const experts = body.warp_experts();
    if (experts > 0 && body.warp_bytes() <= most_shared) {
      if (experts <= 32) return f(WarpWords<1>{});
      if (experts <= 64) return f(WarpWords<2>{});
      if (experts <= 128) return f(WarpWords<4>{});
      if (experts <= 256) return f(WarpWords<8>{});
      if (experts <= 384) return f(WarpWords<12>{});
      if (experts <= 512) return f(WarpWords<16>{});
    }
  }
  f(WarpWords<0>{});
}

/// Shared memory that a warp's rows take in that form.
template <int words, class Body> std::size_t warp_shared_bytes([[maybe_unused]] Body const& body) {
  if constexpr (words > 0)
    return body.warp_bytes();
  else
    return 0;
}

/// The rows of one worker: single ones while others have few too.
template <class Warp, int words, class Body>
MOEBAL_FN void warp_rows(Body const& body, std::byte* scratch, std::byte* shared, Index worker, Index workers, Index n) {
  if constexpr (words > 0) {
    constexpr int together = Body::warp_together();
    Index const step = n < 2 * workers ? 1 : together;
    for (Index row = worker * step; row < n; row += workers * step)
      body.warp(WarpRow<Warp, words, together>{}, scratch, shared, worker, row, int(n - row < step ? n - row : step));
  } else {
    for (Index row = worker; row < n; row += workers) body(WarpLanes<Warp>{}, scratch, worker, row);
  }
}

/// A functor of for_each with a form for a warp: warp(Lanes, i) does what its call operator does.
template <class F, class Warp>
concept warp_item = requires(F const& f, Index i) { f.warp(Warp{}, i); };

} // namespace moebal::detail
