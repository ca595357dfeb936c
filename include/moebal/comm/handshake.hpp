// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Do all ranks run the same job? Asked once, before ranks that differ send each other what they do not expect.

#include "../core/communication.hpp"
#include "../core/config.hpp"
#include "../core/errors.hpp"
#include "call.hpp"
#include "texts.hpp"

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moebal {

/// Something that must be the same on all ranks: {"experts", 60}, {"dtype", "float"}. No NUL in it.
struct Fact {
  std::string name, value;
  Fact(std::string_view what, std::string_view is) : name(what), value(is) {}
  Fact(std::string_view what, std::integral auto is) : name(what), value(std::to_string(is)) {}
};

namespace detail {
inline constexpr std::size_t handshake_bytes = 2048;

inline std::vector<Fact> read_facts(std::string_view text) {
  auto const next = [&text] {
    std::size_t const end = std::min(text.find('\0'), text.size());
    std::string_view const word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return word;
  };
  std::vector<Fact> facts;
  while (!text.empty()) {
    auto const name = next();
    facts.emplace_back(name, next());
  }
  return facts;
}

/// "rank 2 has experts = 64, rank 0 has 60", for the first fact in which they differ.
inline std::string difference(Index rank, std::vector<Fact> const& its, Index other, std::vector<Fact> const& others) {
  auto const value_of = [](std::vector<Fact> const& facts, std::string const& name) {
    auto const fact = std::find_if(facts.begin(), facts.end(), [&](Fact const& f) { return f.name == name; });
    return fact == facts.end() ? "nothing of the kind" : fact->value;
  };
  auto const in = [&](std::vector<Fact> const& facts) -> std::string {
    for (Fact const& fact : facts) {
      auto const a = value_of(its, fact.name), b = value_of(others, fact.name);
      if (a != b) return rank_text(rank) + " has " + fact.name + " = " + a + ", " + rank_text(other) + " has " + b;
    }
    return "";
  };
  auto text = in(others);
  if (text.empty()) text = in(its);
  return text.empty() ? rank_text(rank) + " has the facts of " + rank_text(other) + " in another order" : text;
}
} // namespace detail

/// Returns if all ranks have the same facts in the same order, and the same version of moebal.
///
/// comm: Communicator or a backend, on host memory. facts: whatever has to be equal; their number may differ without
/// harm. Facts of more than 2 KiB are compared in full, but where they differ beyond that only a digest is shown.
/// Collective: one all_gather of 2 KiB. Errors: CommError, with the same text on all ranks, that names the first rank
/// that differs from rank 0, the fact, and both values: "rank 2 has experts = 64, rank 0 has 60".
template <class Comm> void handshake(Comm const& comm, std::span<Fact const> facts) {
  std::string mine;
  auto const add = [&mine](Fact const& fact) {
    mine.append(fact.name).append(1, '\0').append(fact.value).append(1, '\0');
  };
  add({"version of moebal", MOEBAL_VERSION});
  for (Fact const& fact : facts) add(fact);
  auto const all = detail::gather_texts<detail::handshake_bytes>(comm, mine);
  for (std::size_t r = 1; r < all.size(); ++r)
    if (all[r] != all[0])
      throw CommError("moebal: " +
                      detail::difference(Index(r), detail::read_facts(all[r]), 0, detail::read_facts(all[0])));
}
template <class Comm> void handshake(Comm const& comm, std::initializer_list<Fact> facts) {
  handshake(comm, std::span<Fact const>(facts.begin(), facts.size()));
}

} // namespace moebal
