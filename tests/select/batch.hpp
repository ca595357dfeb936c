// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A batch through a batch-wise selection by plain loops, and the laws that all of them keep.

#include "support/inputs.hpp"
#include "support/serial_exec.hpp"

#include <moebal/select/batch_selection.hpp>

#include <algorithm>
#include <cstring>
#include <set>
#include <vector>

namespace select_batch {

using namespace moebal;
using moebal_test::SerialExec;
using Ids = std::vector<std::vector<ExpertId>>; // of each token, without no_expert

/// [T, E] scores and what they are asked with.
template <class Real> struct Batch {
  std::vector<Real> scores;
  Index tokens, experts;
  std::vector<std::uint8_t> padding{};
  Real at(Index t, Index e) const { return scores[std::size_t(t * experts + e)]; }
};
template <class Real = float> Batch<Real> batch_of(std::vector<std::vector<Real>> const& rows) {
  Batch<Real> b{{}, Index(rows.size()), rows.empty() ? 1 : Index(rows[0].size())};
  for (auto const& row : rows) b.scores.insert(b.scores.end(), row.begin(), row.end());
  return b;
}
template <class Real = float>
Batch<Real> batch_of(moebal_test::Kind kind, Index tokens, Index experts, std::uint64_t seed = 1) {
  auto const logits = moebal_test::logits_of<float>(kind, tokens, experts, seed);
  return {std::vector<Real>(logits.begin(), logits.end()), tokens, experts};
}

/// What the selection writes, with exactly the memory that it asked for.
template <class Selection, class Real>
std::vector<ExpertId> assign(Selection const& selection, Batch<Real> batch, SerialExec exec = {}) {
  selection.check(batch.tokens, batch.experts);
  std::vector<ExpertId> ids(std::size_t(batch.tokens * Selection::top_k), -7);
  std::size_t const bytes = selection.template workspace_bytes<Real>(exec, batch.tokens, batch.experts);
  Workspace memory(bytes);
  WorkspaceView<> workspace = memory;
  std::memset(workspace.template take<std::byte>(Index(bytes)), 0xa5, bytes); // nothing may rely on zeros
  workspace = memory;
  selection.assign(exec,
                   select::BatchCandidates<Real>{{batch.scores.data(), batch.tokens, batch.experts}, {.padding = batch.padding}},
                   MatrixView<ExpertId>(ids.data(), batch.tokens, Selection::top_k), workspace);
  return ids;
}
template <class Selection, class Real> Ids choices(Selection const& selection, Batch<Real> const& batch) {
  auto const flat = assign(selection, batch);
  Ids ids(std::size_t(batch.tokens));
  for (std::size_t i = 0; i < flat.size(); ++i)
    if (flat[i] != no_expert) ids[i / std::size_t(Selection::top_k)].push_back(flat[i]);
  return ids;
}
inline std::vector<Index> loads(Ids const& ids, Index experts) {
  std::vector<Index> n(std::size_t(experts), 0);
  for (auto const& row : ids)
    for (ExpertId const e : row) ++n[std::size_t(e)];
  return n;
}

/// Distinct ids in range, best first, then no_expert; nothing for padding, whose scores matter to nobody; the same for
/// any number of workers and in any order of work.
template <class Real, class Selection> void check_laws(Selection const& selection, Batch<Real> batch, bool best_first) {
  auto const ids = assign(selection, batch);
  BOOST_TEST((ids == assign(selection, batch, SerialExec{.pretended_workers = 3, .backwards = true})));
  for (Index t = 0; t < batch.tokens; ++t) {
    std::set<ExpertId> seen;
    bool over = false;
    for (Index k = 0; k < Selection::top_k; ++k) {
      ExpertId const e = ids[std::size_t(t * Selection::top_k + k)];
      over = over || e == no_expert;
      if (over) {
        BOOST_TEST(e == no_expert);
        continue;
      }
      BOOST_TEST_REQUIRE((e >= 0 && e < batch.experts));
      BOOST_TEST(seen.insert(e).second);
      if (best_first && k > 0) {
        ExpertId const before = ids[std::size_t(t * Selection::top_k + k - 1)];
        BOOST_TEST((rank_word(batch.at(t, before), before) > rank_word(batch.at(t, e), e)));
      }
    }
    if (!batch.padding.empty() && batch.padding[std::size_t(t)] != 0) BOOST_TEST(seen.empty());
  }
  if (batch.padding.empty()) return;
  Batch<Real> without{{}, 0, batch.experts}; // the same tokens without the padding rows
  std::vector<ExpertId> expected;
  for (Index t = 0; t < batch.tokens; ++t) {
    if (batch.padding[std::size_t(t)] != 0) continue;
    ++without.tokens;
    for (Index e = 0; e < batch.experts; ++e) without.scores.push_back(batch.at(t, e));
    for (Index k = 0; k < Selection::top_k; ++k) expected.push_back(ids[std::size_t(t * Selection::top_k + k)]);
  }
  BOOST_TEST((assign(selection, without) == expected));
}

/// Every kind of number and odd shapes, in float and double. padding_is_absent: whether a batch with padding is the
/// batch without those rows (not where a random draw depends on the row's place).
enum class Padding { Absent, Placed };
template <class Selection>
void check_all(Selection const& selection, std::vector<Index> experts, bool best_first = true,
               Padding padding = Padding::Absent) {
  for (auto const kind : moebal_test::all_kinds)
    for (Index const e : experts)
      for (Index const t : {0, 1, 7, 65}) {
        BOOST_TEST_CONTEXT(moebal_test::name_of(kind) << ", T " << t << ", E " << e) {
          check_laws(selection, batch_of<float>(kind, t, e), best_first);
          auto batch = batch_of<double>(kind, t, e, 2);
          check_laws(selection, batch, best_first);
          batch.padding = moebal_test::padding_of(t);
          if (padding == Padding::Absent) check_laws(selection, batch, best_first);
        }
      }
}

} // namespace select_batch
