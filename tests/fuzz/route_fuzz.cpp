// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Any bytes as logits, biases, masks, segments, shapes and options: K distinct ids in order, counts that sum up, one
// NaN, finite and repeatable results; nothing outside the caller's memory (AddressSanitizer sees the exact sizes).
#include <moebal/backend/eigen.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/gate/sqrt_softplus.hpp>
#include <moebal/router.hpp>
#include <moebal/select/group_limited_top_k.hpp>
#include <moebal/select/top_k.hpp>
#include <moebal/stats/counts.hpp>
#include <moebal/stats/log_sum_exp_squares.hpp>
#include <moebal/stats/score_sums.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace {

using namespace moebal;
using All = stats::List<stats::Counts, stats::FirstChoiceCounts, stats::UnbiasedCounts,
                        stats::UnbiasedFirstChoiceCounts, stats::ScoreSums, stats::LogSumExpSquares>;

void expect(bool holds, char const* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

/// The fuzzer's bytes, again and again.
class Bytes {
public:
  Bytes(std::uint8_t const* data, std::size_t size) : data_(data), size_(size) {}
  template <class T> T take() {
    unsigned char bytes[sizeof(T)] = {};
    for (unsigned char& b : bytes)
      if (size_ > 0) b = data_[at_++ % size_];
    T value;
    std::memcpy(static_cast<void*>(&value), bytes, sizeof(T));
    return value;
  }
  Index below(Index n) { return take<std::uint8_t>() % n; }
  template <class T> std::unique_ptr<T[]> array(Index n) { // exactly n elements, so that ASan sees their end
    std::unique_ptr<T[]> a(new T[std::size_t(n)]());
    for (Index i = 0; i < n; ++i) a[std::size_t(i)] = take<T>();
    return a;
  }

private:
  std::uint8_t const* data_;
  std::size_t size_, at_ = 0;
};

Eigen::ThreadPool& pool() {
  static Eigen::ThreadPool p(2);
  return p;
}

template <class Logit> bool better(Logit a, Index i, Logit b, Index j) { // the contract's order, said once more
  auto const x = widen(a), y = widen(b);
  if (math::is_nan(x) || math::is_nan(y)) return math::is_nan(x) == math::is_nan(y) ? i < j : math::is_nan(y);
  return x > y || (x == y && i < j);
}

template <class Logit, class Selection, class Gate>
void run(Bytes& in, Selection selection, Gate gate, Index experts, Index tokens) {
  using Real = compute_t<Logit>;
  constexpr Index k = Selection::top_k;
  Router const router(selection, gate);
  Index const flags = in.below(256);
  EigenExec const exec = flags & 1 ? EigenExec{&pool()}.on_every_thread() : EigenExec{};
  Index const sequences = flags & 2 ? 1 + in.below(4) : 1;
  auto const bias = in.array<float>(flags & 4 ? experts : 0);
  auto const padding = in.array<std::uint8_t>(flags & 8 ? tokens : 0);
  auto const segments = in.array<Index>(flags & 2 ? sequences + 1 : 0);
  if (flags & 2) { // valid ones, or whatever the bytes say
    if (flags & 16) {
      for (Index s = 0; s <= sequences; ++s)
        segments[std::size_t(s)] = std::abs(segments[std::size_t(s)] % (tokens + 1));
      std::sort(segments.get(), segments.get() + sequences + 1);
      segments[0] = 0;
      segments[std::size_t(sequences)] = tokens;
    }
  }
  RowOptions<> options;
  if (flags & 4) options.bias = {bias.get(), experts};
  if (flags & 8) options.padding = {padding.get(), tokens};
  if (flags & 2) options.segments = {segments.get(), sequences + 1};

  auto const x = in.array<Logit>(tokens * experts);
  MatrixView<Logit const> const logits(x.get(), tokens, experts);
  auto const ids = std::make_unique<ExpertId[]>(std::size_t(tokens * k));
  auto const weights = std::make_unique<Real[]>(std::size_t(tokens * k));
  auto const load = std::make_unique<std::int64_t[]>(std::size_t(sequences * All::slots(experts)));
  LoadView<All> const view(load.get(), sequences, experts);
  RoutingView<Real> const out{{ids.get(), tokens, k}, {weights.get(), tokens, k}};
  Workspace workspace(router.template workspace_bytes<All, Logit>(exec, tokens, experts, sequences));
  try {
    router.template route_into<All>(exec, logits, options, out, view, WorkspaceView<>(workspace));
  } catch (ShapeError const& e) { // refused: only segments or groups may be wrong here
    expect(std::strstr(e.what(), "needed ") != nullptr, "a refusal names what it needed");
    return;
  }

  std::int64_t valid = 0, counted = 0, bad = 0, seen = 0;
  for (Index t = 0; t < tokens; ++t) {
    ExpertId const* const row = ids.get() + t * k;
    bool const is_padding = !options.padding.empty() && options.padding[t];
    valid += !is_padding;
    for (Index i = 0; i < k; ++i) {
      Real const w = weights[std::size_t(t * k + i)];
      if (is_padding) {
        expect(row[i] == no_expert && w == 0, "padding rows are empty");
        continue;
      }
      expect(row[i] >= 0 && row[i] < experts, "ids are in range");
      for (Index j = 0; j < i; ++j) expect(row[i] != row[j], "ids are distinct");
      if (math::is_nan(w)) expect(math::Ops<Real>::to_bits(w) == math::Ieee<Real>::nan, "there is one NaN");
      if (options.bias.empty() && i > 0)
        expect(
            better(x[std::size_t(t * experts + row[i - 1])], row[i - 1], x[std::size_t(t * experts + row[i])], row[i]),
            "best first");
    }
    if (!is_padding && options.bias.empty() && !Selection::needs_scores)
      for (Index e = 0; e < experts; ++e)
        if (std::find(row, row + k, ExpertId(e)) == row + k)
          expect(better(x[std::size_t(t * experts + row[k - 1])], row[k - 1], x[std::size_t(t * experts + e)], e),
                 "nothing better is left");
  }
  for (Index s = 0; s < sequences; ++s) {
    seen += view.tokens(s), bad += view.bad_rows(s);
    for (std::int64_t const c : view.get<stats::Counts>(s)) counted += c;
    for (std::int64_t const q : view.get<stats::ScoreSums>(s))
      expect(q >= 0 && double(q) <= double(tokens) * stats::score_one<Real> * 1.001, "score sums are in range");
  }
  expect(seen == valid && counted == valid * k && bad <= valid, "counts are conserved");

  auto const again_ids = std::make_unique<ExpertId[]>(std::size_t(tokens * k));
  auto const again_weights = std::make_unique<Real[]>(std::size_t(tokens * k));
  auto const again = std::make_unique<std::int64_t[]>(std::size_t(view.size()));
  EigenExec const other = flags & 1 ? EigenExec{} : EigenExec{&pool()}.on_every_thread();
  workspace.reserve(router.template workspace_bytes<All, Logit>(other, tokens, experts, sequences));
  router.template route_into<All>(other, logits, options,
                                  RoutingView<Real>{{again_ids.get(), tokens, k}, {again_weights.get(), tokens, k}},
                                  LoadView<All>(again.get(), sequences, experts), WorkspaceView<>(workspace));
  auto const same = [](auto const& a, auto const& b, Index n) {
    return n == 0 || std::memcmp(a.get(), b.get(), std::size_t(n) * sizeof(a[0])) == 0;
  };
  expect(same(ids, again_ids, tokens * k) && same(weights, again_weights, tokens * k) && same(load, again, view.size()),
         "threads change no bit");

  auto const d_weights = in.array<Real>(tokens * k), slopes = in.array<Real>(sequences * experts),
             z = in.array<Real>(sequences);
  auto const d = std::make_unique<Real[]>(std::size_t(tokens * experts));
  RouterGradient<Real> gradient;
  if (flags & 32) gradient.d_weights = {d_weights.get(), tokens, k};
  if (flags & 64) gradient.slopes = {slopes.get(), sequences, experts};
  if (flags & 128) gradient.z_slopes = {z.get(), sequences};
  router.backward_into(exec, logits, options, MatrixView<ExpertId const>(ids.get(), tokens, k), gradient,
                       MatrixView<Real>(d.get(), tokens, experts), WorkspaceView<>(workspace));
  for (Index t = 0; t < tokens; ++t)
    if (!options.padding.empty() && options.padding[t])
      for (Index e = 0; e < experts; ++e) expect(d[std::size_t(t * experts + e)] == 0, "padding rows have no gradient");
}

template <class Logit> void with_logits(Bytes& in) {
  Index const shape = in.take<std::uint8_t>();
  Index const tokens = in.below(40); // more than two tiles of rows
  auto const gate = in.take<std::uint8_t>();
  auto const options = [&]<class G>(G g) {
    g.normalise = gate & 8 ? Normalise::OverChosen : Normalise::None;
    g.single_choice = gate & 16 ? SingleChoice::Raw : SingleChoice::Normalised;
    g.epsilon_rule = gate & 32 ? EpsilonRule::Add : EpsilonRule::AtLeast;
    g.epsilon = gate & 64 ? in.take<float>() : 0;
    return g;
  };
  auto const go = [&](auto selection, Index experts) {
    switch (gate & 3) {
    case 0:
      return run<Logit>(in, selection, options(Softmax{}), experts, tokens);
    case 1:
      return run<Logit>(in, selection, SoftmaxOverChosen{}, experts, tokens);
    case 2:
      return run<Logit>(in, selection, options(Sigmoid{}), experts, tokens);
    default:
      return run<Logit>(in, selection, options(SqrtSoftplus{}), experts, tokens);
    }
  };
  Index const experts = shape >> 2;
  switch (shape & 3) {
  case 0:
    return go(TopK<1>{}, experts + 1);
  case 1:
    return go(TopK<5>{}, experts + 5);
  case 2:
    return go(GroupLimitedTopK<3>{.groups = in.below(9),
                                  .kept = in.below(9),
                                  .score = gate & 4 ? GroupScore::Max : GroupScore::SumTop,
                                  .sum_of = in.below(5)},
              experts + 3);
  default:
    return go(TopK<9>{}, Index(9)); // K = E
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  Bytes in(data, size);
  switch (in.take<std::uint8_t>() & 3) {
  case 0:
    with_logits<float>(in);
    break;
  case 1:
    with_logits<double>(in);
    break;
  case 2:
    with_logits<BFloat16>(in);
    break;
  default:
    with_logits<Half>(in);
  }
  return 0;
}
