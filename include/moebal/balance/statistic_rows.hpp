// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One sequence's statistics as a row of integers: copied, added and compared, whichever list of statistics they come
// in.

#include "../stats/load.hpp"

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace moebal::detail {

template <class L> struct LoadTraits {
  static constexpr bool host = false;
};
template <class List> struct LoadTraits<Load<List>> {
  static constexpr bool host = true;
  using list = List;
};
template <class List> struct LoadTraits<LoadView<List, HostMemory>> : LoadTraits<Load<List>> {};
template <class L>
concept load_on_host = LoadTraits<L>::host;
/// Whether a load holds all statistics of a list. (True for what is no load: that has its own sentence.)
template <class L, class Needs> inline constexpr bool load_has = true;
template <load_on_host L, class... S>
inline constexpr bool load_has<L, stats::List<S...>> = (LoadTraits<L>::list::template has<S> && ...);

template <class... S, class F> void each_statistic(stats::List<S...>, F const& f) { (f(std::type_identity<S>{}), ...); }

/// Calls f(from, to) for the header and each statistic of List, as views of sequence s of `load` and of `row`.
template <class List, class From, class F>
void each_part(From const& load, Index s, std::int64_t* row, Index experts, F const& f) {
  std::int64_t const header[List::header] = {load.tokens(s), load.bad_rows(s)};
  f(VectorView<std::int64_t const>(header, List::header), row);
  each_statistic(List{}, [&]<class S>(std::type_identity<S>) {
    f(VectorView<std::int64_t const>(load.template get<S>(s)), row + List::template offset<S>(experts));
  });
}
template <class List, class From> void copy_row(From const& load, Index s, std::int64_t* row, Index experts) {
  each_part<List>(load, s, row, experts, [](VectorView<std::int64_t const> from, std::int64_t* to) {
    std::copy(from.begin(), from.end(), to);
  });
}
template <class List, class From> void add_row(From const& load, Index s, std::int64_t* row, Index experts) {
  each_part<List>(load, s, row, experts, [](VectorView<std::int64_t const> from, std::int64_t* to) {
    for (Index i = 0; i < from.size(); ++i) to[i] += from[i];
  });
}
template <class List, class From> bool same_row(From const& load, Index s, std::int64_t* row, Index experts) {
  bool same = true;
  each_part<List>(load, s, row, experts, [&](VectorView<std::int64_t const> from, std::int64_t* to) {
    same = same && std::equal(from.begin(), from.end(), to);
  });
  return same;
}

} // namespace moebal::detail
