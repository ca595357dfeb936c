// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "checks.hpp"
#include "pair.hpp"

namespace bench {

/// The numbers of tokens at which things are timed.
inline std::vector<Index> sizes(Pairs const& pairs) {
  if (pairs.quick()) return {1, 16, 4096};
  return {1, 16, 64, 1024, 4096, 16384};
}
inline std::string entry(std::string const& op, Model const& m, Index tokens, std::string const& peer) {
  return op + "/" + m.name + "/" + std::to_string(tokens) + "/" + peer;
}
/// f(model, tokens) for all models and the sizes from `least` on; 4096 alone with --quick.
template <class F> void each_size(Pairs const& pairs, Index least, F f) {
  for (Model const& m : models)
    for (Index const n : sizes(pairs))
      if (n >= (pairs.quick() ? 4096 : least)) f(m, n);
}
inline void route_all(Ours& ours) {
  ours.each_batch([&](Index first) { ours.route(first); });
}

/// Registers a pair: what `ours_work(ours, first)` and `peer_work(ours, first)` do to a batch. `check(ours)` comes before.
template <class OursWork, class MakePeer>
void add(Pairs const& pairs, std::string const& op, Model const& m, Index tokens, std::string const& peer, OursWork ours_work,
         MakePeer make_peer) {
  pairs.add(entry(op, m, tokens, peer), double(std::max(tokens, Ours::least_rows)), [=]() -> Work {
    auto ours = Ours::make(m, tokens);
    auto peer_work = make_peer(*ours);
    return {[=] { ours->each_batch([&](Index first) { ours_work(*ours, first); }); },
            [=]() mutable { ours->each_batch([&](Index first) { peer_work(*ours, first); }); }};
  });
}

} // namespace bench
