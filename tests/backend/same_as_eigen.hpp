// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What every host backend is held to: the primitives by hand, and a whole layer (routing, statistics, gradients, plan,
// alignment, gather, combine) with the same bits as EigenExec.

#include "support/bits.hpp"
#include "support/inputs.hpp"
#include "support/test.hpp"

#include <moebal/backend/eigen.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/gate/sqrt_softplus.hpp>
#include <moebal/plan/combine.hpp>
#include <moebal/plan/kept_weights.hpp>
#include <moebal/plan/make_plan.hpp>
#include <moebal/router.hpp>
#include <moebal/select/group_limited_top_k.hpp>
#include <moebal/select/top_k.hpp>
#include <moebal/stats/counts.hpp>
#include <moebal/stats/log_sum_exp_squares.hpp>
#include <moebal/stats/score_sums.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace backend_test {

using namespace moebal;
using moebal_test::Kind;

using All = stats::List<stats::Counts, stats::FirstChoiceCounts, stats::UnbiasedCounts,
                        stats::UnbiasedFirstChoiceCounts, stats::ScoreSums, stats::LogSumExpSquares>;

/// Everything that a layer made, by name, as bits. Every NaN is the same NaN.
class Record {
public:
  template <class T> void add(std::string name, T const* p, Index n) {
    names_.push_back(std::move(name));
    parts_.push_back(moebal_test::bits_of(p, n));
  }
  template <class R> void add(std::string name, R const& range) {
    add(std::move(name), range.data(), Index(range.size()));
  }

  /// The name and place of the first difference, or an empty text.
  std::string difference(Record const& other) const {
    if (names_ != other.names_) return "other parts";
    for (std::size_t p = 0; p < parts_.size(); ++p) {
      if (parts_[p].size() != other.parts_[p].size()) return names_[p] + ": other size";
      for (std::size_t i = 0; i < parts_[p].size(); ++i)
        if (parts_[p][i] != other.parts_[p][i]) return names_[p] + "[" + std::to_string(i) + "]";
    }
    return {};
  }
  std::size_t values() const {
    std::size_t n = 0;
    for (auto const& p : parts_) n += p.size();
    return n;
  }

private:
  std::vector<std::string> names_;
  std::vector<std::vector<std::uint64_t>> parts_;
};

template <class Drop, class Exec, class Real>
void record_plan(Record& record, std::string const& name, Exec const& exec, PlanPolicy<Drop> policy, Index experts,
                 Routing<Real> const& routing) {
  Plan const plan = make_plan(exec, policy, experts, routing);
  auto const put = [&](std::string const& of, Plan const& p) {
    record.add(of + " offsets", p.offsets());
    record.add(of + " order", p.order());
    record.add(of + " slot_of", p.slot_of().data(), p.tokens() * p.top_k());
    record.add(of + " loads", p.loads());
    record.add(of + " kept", p.kept());
  };
  put(name, plan);
  AlignedPlan const aligned = make_aligned(exec, Alignment{.block = 16}, plan);
  put(name + " aligned", aligned.plan);
  record.add(name + " block_experts", aligned.block_experts);

  Index const tokens = plan.tokens(), slots = aligned.plan.slots(), width = 37;
  auto const x = moebal_test::logits_of<Real>(Kind::Bell, tokens, width, 5);
  std::vector<Real> rows(std::size_t(slots * width)), out(x.size()), back(x.size()), d_rows(rows.size());
  std::vector<Real> kept(std::size_t(tokens * plan.top_k())), d_weights(kept.size());
  auto const at = [](std::vector<Real>& v, Index r, Index c) { return MatrixView<Real>(v.data(), r, c); };
  auto const in = moebal_test::matrix(x, tokens, width);
  kept_weights_into(exec, KeptWeights{.after_drop = AfterDrop::Renormalise}, aligned.plan.view(), routing.weights(),
                    at(kept, tokens, plan.top_k()));
  gather_into(exec, aligned.plan.view(), in, at(rows, slots, width));
  scatter_into(exec, Scatter::Sum, aligned.plan.view(), at(rows, slots, width), at(back, tokens, width));
  combine_into(exec, aligned.plan.view(), at(rows, slots, width), at(kept, tokens, plan.top_k()),
               at(out, tokens, width));
  combine_backward_into(exec, aligned.plan.view(), at(rows, slots, width), at(kept, tokens, plan.top_k()), in,
                        at(d_rows, slots, width), at(d_weights, tokens, plan.top_k()));
  record.add(name + " kept weights", kept);
  record.add(name + " gathered", rows);
  record.add(name + " scattered", back);
  record.add(name + " combined", out);
  record.add(name + " d gathered", d_rows);
  record.add(name + " d weights", d_weights);
}

struct Batch {
  Kind kind = Kind::Specials;
  Index tokens = 0, experts = 1;
  bool biased = true;
  Index sequences = 1;
};

template <class Logit, class Exec, class Selection, class Gate>
Record layer(Exec const& exec, Router<Selection, Gate> const& router, Batch batch) {
  using Real = compute_t<Logit>;
  Index const T = batch.tokens, E = batch.experts, K = Selection::top_k, S = batch.sequences;
  auto const logits = moebal_test::logits_of<Logit>(batch.kind, T, E);
  auto const z = moebal_test::matrix(logits, T, E);
  moebal_test::Options options;
  if (batch.biased) options.bias = moebal_test::bias_of(E, 0.1f);
  if (T > 0) options.padding = moebal_test::padding_of(T);
  if (S > 1) options.segments = moebal_test::segments_of(T, S);

  auto [routing, load] = router.template route_with<All>(exec, z, options.view());
  Record record;
  record.add("ids", routing.expert_ids().data(), T * K);
  record.add("weights", routing.weights().data(), T * K);
  record.add("load", load.raw());

  auto const d_weights = moebal_test::logits_of<Real>(Kind::Bell, T, K, 2);
  auto const slopes = moebal_test::logits_of<Real>(Kind::Bell, S, E, 3);
  auto const z_slopes = moebal_test::logits_of<Real>(Kind::Bell, 1, S, 4);
  std::vector<Real> d_logits(std::size_t(T * E), Real(99));
  Workspace workspace(router.template workspace_bytes<stats::None, Logit>(exec, T, E, S));
  router.backward_into(
      exec, z, options.view(), MatrixView<ExpertId const>(routing.expert_ids()),
      RouterGradient<Real>{moebal_test::matrix(d_weights, T, K), moebal_test::matrix(slopes, S, E), z_slopes},
      MatrixView<Real>(d_logits.data(), T, E), WorkspaceView<>(workspace));
  record.add("d_logits", d_logits);

  record_plan(record, "dropless", exec, PlanPolicy<>{}, E, routing);
  record_plan(record, "by position", exec,
              PlanPolicy<DropByPosition<>>{.drop = {}, .capacity = capacities::megatron(1)}, E, routing);
  record_plan(
      record, "by probability", exec,
      PlanPolicy<DropByProbability>{.drop = {}, .capacity = capacities::megatron(1), .order = SlotOrder::Priority}, E,
      routing);
  return record;
}

template <class Logit, class Exec, class Selection, class Gate>
void same_layer(Exec const& exec, Router<Selection, Gate> const& router, Batch batch) {
  Record const expected = layer<Logit>(EigenExec{}, router, batch);
  Record const had = layer<Logit>(exec, router, batch);
  BOOST_TEST(expected.values() > 0u);
  BOOST_TEST(had.difference(expected) == "", had.difference(expected)
                                                 << " for " << moebal_test::name_of(batch.kind)
                                                 << ", T = " << batch.tokens << ", E = " << batch.experts);
}

/// Every router of the slice in every shape. The large batches once each.
template <class Exec> void same_layers(Exec const& exec) {
  Router const sigmoid{TopK<8>{}, Sigmoid{.scale = 2.5f}};
  for (Index const T : {0, 1, 7, 101})
    for (Index const E : {9, 60, 100, 160, 384}) same_layer<float>(exec, sigmoid, {.tokens = T, .experts = E});
  same_layer<float>(exec, sigmoid, {.kind = Kind::Bell, .tokens = 4097, .experts = 160, .sequences = 5});
  same_layer<BFloat16>(exec, sigmoid, {.kind = Kind::Coarse, .tokens = 4097, .experts = 60});
  for (Kind const kind : moebal_test::all_kinds) {
    same_layer<float>(exec, sigmoid, {.kind = kind, .tokens = 33, .experts = 100, .sequences = 3});
    same_layer<double>(exec, sigmoid, {.kind = kind, .tokens = 33, .experts = 33, .sequences = 3});
    same_layer<Half>(exec, Router{TopK<3>{}, SqrtSoftplus{}}, {.kind = kind, .tokens = 33, .experts = 100});
  }
  for (bool const biased : {false, true}) {
    same_layer<float>(exec, Router{TopK<1>{}, Softmax{}}, {.tokens = 101, .experts = 1, .biased = biased});
    same_layer<float>(exec, Router{TopK<2>{}, Softmax{}}, {.tokens = 101, .experts = 3, .biased = biased});
    same_layer<double>(exec, Router{TopK<2>{}, Softmax{.normalise = Normalise::OverChosen}},
                       {.tokens = 101, .experts = 60, .biased = biased});
    same_layer<float>(exec, Router{TopK<3>{}, SoftmaxOverChosen{}}, {.tokens = 101, .experts = 160, .biased = biased});
    Router const grouped{GroupLimitedTopK<8>{.groups = 8, .kept = 4}, Sigmoid{.scale = 2.5f}};
    same_layer<float>(exec, grouped, {.tokens = 101, .experts = 160, .biased = biased});
    same_layer<double>(exec, grouped, {.tokens = 101, .experts = 384, .biased = biased});
    same_layer<BFloat16>(exec, Router{GroupLimitedTopK<6>{.groups = 4, .kept = 2, .score = GroupScore::Max}, Softmax{}},
                         {.kind = Kind::Bell, .tokens = 101, .experts = 60, .biased = biased});
  }
}

/// The primitives, against loops.
struct MarkOnce {
  std::int64_t* seen;
  MOEBAL_FN void operator()(Index i) const { seen[i] += i + 1; }
};
struct MarkRow {
  using real = float;
  std::int64_t* seen;    // [n]
  std::int64_t* rows_of; // [workers]
  std::int64_t* at;      // [workers] address of the scratch
  Index workers;
  std::size_t bytes;
  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte* scratch, Index worker, Index row) const {
    bool const lawful = worker >= 0 && worker < workers && reinterpret_cast<std::uintptr_t>(scratch) % 64 == 0;
    auto const self = *this;
    lanes.each_one(Index(bytes), [=](Index i) { scratch[i] = std::byte(row); });
    lanes.once([=] {
      self.seen[row] += lawful ? row + 1 : 0;
      for (std::size_t i = 0; i < self.bytes; ++i) self.seen[row] += scratch[i] != std::byte(row);
      self.rows_of[worker] += 1;
      self.at[worker] = std::int64_t(reinterpret_cast<std::uintptr_t>(scratch));
    });
  }
};

template <class Exec> void lawful_primitives(Exec const& exec) {
  BOOST_TEST(exec.workers() >= 1);
  for (Index const n : {0, 1, 2, 31, 257, 10007}) {
    std::vector<std::int64_t> seen(std::size_t(n + 1));
    exec.for_each(n, MarkOnce{seen.data()});
    bool once = seen.back() == 0;
    for (Index i = 0; i < n; ++i) once = once && seen[std::size_t(i)] == i + 1;
    BOOST_TEST(once);

    std::vector<std::int64_t> rows(std::size_t(n + 1)), of(std::size_t(exec.workers())), at(of.size());
    std::size_t const bytes = 192;
    Workspace workspace(bytes * std::size_t(exec.workers()));
    exec.for_rows(n, bytes, WorkspaceView<>(workspace),
                  MarkRow{rows.data(), of.data(), at.data(), exec.workers(), bytes});
    once = rows.back() == 0;
    for (Index i = 0; i < n; ++i) once = once && rows[std::size_t(i)] == i + 1;
    BOOST_TEST(once);
    Index total = 0;
    for (Index const o : of) total += o;
    BOOST_TEST(total == n);
    std::erase(at, 0); // workers that had no row
    std::sort(at.begin(), at.end());
    bool apart = n == 0 || !at.empty();
    for (std::size_t w = 1; w < at.size(); ++w) apart = apart && at[w] - at[w - 1] >= std::int64_t(bytes);
    BOOST_TEST(apart);

    auto const size = std::size_t(n);
    std::vector<std::int64_t> v, scanned, sums(size, 99), copied(size, 99), m;
    std::int64_t sum = 0;
    for (Index i = 0; i < n; ++i) {
      v.push_back((i * 7919) % 101 - 20);
      scanned.push_back(sum);
      sum += v.back();
    }
    for (Index r = 0; r < 3; ++r)
      for (Index i = 0; i < n; ++i) m.push_back(r * 1000 + i);
    exec.copy(VectorView<std::int64_t const>(v), VectorView<std::int64_t>(copied));
    BOOST_TEST((copied == v));
    exec.exclusive_scan(VectorView<std::int64_t>(copied));
    BOOST_TEST((copied == scanned));
    exec.reduce_columns(MatrixView<std::int64_t const>(m.data(), 3, n), VectorView<std::int64_t>(sums));
    once = true;
    for (Index i = 0; i < n; ++i) once = once && sums[std::size_t(i)] == 3000 + 3 * i;
    BOOST_TEST(once);
    exec.fill(VectorView<std::int64_t>(sums), std::int64_t(-5));
    BOOST_TEST((sums == std::vector<std::int64_t>(std::size_t(n), -5)));
  }
  std::vector<std::byte> little(64);
  BOOST_CHECK_THROW(exec.for_rows(1, 128, WorkspaceView<>(little.data(), 64), MarkRow{}), ShapeError);
}

} // namespace backend_test
