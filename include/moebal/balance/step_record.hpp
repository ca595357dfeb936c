// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The statistics of one open optimizer step: what each micro-batch counted here, and the windows that a scope makes
// of it. How sums travel between ranks is the caller's: `reduce(values)` adds the same int64 of all ranks, in place.

#include "rules.hpp"
#include "scope.hpp"

#include "../core/errors.hpp"

#include <algorithm>
#include <string>
#include <type_traits>
#include <vector>

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

/// has_loss: somebody asks for the windows of each micro-batch; else only their sum at the end matters.
template <class Scope, class Needs, class Pooled, class Real, bool has_loss> class StepRecord {
public:
  using Scores = LoadView<Needs>; // rows in the layout of what is collected
  using Loads = LoadView<Pooled>; // rows in the layout of what is pooled
  // Without a loss rule nobody asks for the windows between, so one sum over the ranks at the end does.
  static constexpr Accumulate how = Scope::over_ranks && !has_loss ? Accumulate::TwoPass : Scope::accumulate;

  explicit StepRecord(Index experts)
      : experts_(experts), zero_scores_(std::size_t(Needs::slots(experts))),
        bias_load_(std::size_t(Pooled::slots(experts))) {}

  bool open() const { return micro_batches_ > 0; }
  Index micro_batches() const { return micro_batches_; }
  Index observed() const { return observed_; }
  Index sequences(Index g) const { return first_row_[std::size_t(g) + 1] - first_row_[std::size_t(g)]; }
  /// Windows of a micro-batch: its sequences, or one.
  Index windows(Index g) const { return Scope::per_sequence ? sequences(g) : 1; }

  void begin(Index micro_batches) {
    micro_batches_ = micro_batches;
    observed_ = 0;
    first_row_.assign(std::size_t(micro_batches) + 1, 0);
  }
  void close() { micro_batches_ = observed_ = 0; }

  /// Whether `load` is what micro-batch g was observed with.
  template <class Load> bool same(Index g, Load const& load) {
    bool same = load.sequences() == sequences(g);
    for (Index s = 0; same && s < load.sequences(); ++s) same = same_row<Needs>(load, s, row(g, s).data(), experts_);
    return same;
  }

  /// Takes the next micro-batch. A load that is refused leaves nothing behind; after a failure in `reduce` the step
  /// is lost.
  template <class Load, class Reduce> void observe(Load const& load, Reduce const& reduce) {
    Index const g = observed_, sequences = load.sequences();
    if (Scope::per_sequence && how != Accumulate::None && g > 0)
      require_equal("sequences of a micro-batch (as in the first one of the step)", this->sequences(0), sequences);
    first_row_[std::size_t(g) + 1] = first_row_[std::size_t(g)] + sequences;
    reserve_rows(rows_, first_row_[std::size_t(g) + 1], Needs::slots(experts_));
    for (Index s = 0; s < sequences; ++s) copy_row<Needs>(load, s, row(g, s).data(), experts_);
    if constexpr (!Scope::per_sequence) {
      reserve_rows(sums_, g + 1, Needs::slots(experts_));
      std::fill_n(scores(g, 0).data(), Needs::slots(experts_), 0);
      check_tokens<Needs>(first_row_[std::size_t(g)], sequences);
      for (Index s = 0; s < sequences; ++s) add_row<Needs>(row(g, s), 0, scores(g, 0).data(), experts_);
    } else {
      for (Index s = 0; s < sequences; ++s) check_tokens<Needs>(first_row_[std::size_t(g)] + s, 1);
    }
    pool(g, reduce);
    ++observed_;
  }

  /// The score window w of micro-batch g: one row.
  Scores scores(Index g, Index w) {
    if constexpr (Scope::per_sequence) return row(g, w);
    return {sums_.data() + g * Needs::slots(experts_), 1, experts_};
  }
  /// The load window w of micro-batch g: one row.
  Loads loads(Index g, Index w) {
    Index const at = how == Accumulate::TwoPass ? w : (Scope::per_sequence ? first_row_[std::size_t(g)] + w : g);
    return {loads_.data() + at * Pooled::slots(experts_), 1, experts_};
  }
  /// Tokens, here and wherever the scope reaches, of the mean that scores(g, w) is a part of.
  Index mean_tokens(Index g, Index w) {
    Index const tokens = loads(g, w).tokens();
    return how == Accumulate::Running && g > 0 ? tokens - loads(g - 1, w).tokens() : tokens;
  }

  /// The one load window that the bias of a step is moved by, equal on all ranks; collective unless the scope has
  /// pooled it.
  template <class Reduce> Loads bias_loads(bool first_rank, Reduce const& reduce) {
    Loads const sum{bias_load_.data(), 1, experts_};
    std::fill(bias_load_.begin(), bias_load_.end(), 0);
    Index const last = micro_batches_ - 1;
    if constexpr (Scope::over_ranks) {
      if (how == Accumulate::None)
        for (Index g = 0; g <= last; ++g) add_row<Pooled>(loads(g, 0), 0, sum.data(), experts_);
      else
        add_row<Pooled>(loads(last, 0), 0, sum.data(), experts_);
    } else {
      Index const g = how == Accumulate::None ? 0 : last;
      if (first_rank && windows(g) > 0) add_row<Pooled>(loads(g, 0), 0, sum.data(), experts_);
      reduce(VectorView<std::int64_t>(bias_load_));
    }
    return sum;
  }
  /// A score window without a token.
  Scores no_scores() { return {zero_scores_.data(), 1, experts_}; }

private:
  static constexpr bool anybody_reads = has_loss || !std::same_as<Pooled, stats::None>;

  Scores row(Index g, Index s) {
    return {rows_.data() + (first_row_[std::size_t(g)] + s) * Needs::slots(experts_), 1, experts_};
  }
  static void reserve_rows(std::vector<std::int64_t>& values, Index rows, Index slots) {
    if (values.size() < std::size_t(rows * slots)) values.resize(std::size_t(rows * slots));
  }
  template <class List> void check_tokens(Index first, Index rows) {
    Index tokens = 0;
    for (Index r = first; r < first + rows; ++r)
      tokens += rows_[std::size_t(r * Needs::slots(experts_) + Needs::tokens_slot)];
    require_tokens<List>(tokens);
  }
  template <class List> static void require_tokens(Index tokens) {
    require_within("tokens of one window", 0, List::template most_tokens<Real>, tokens);
  }

  template <class Reduce> void pool(Index g, Reduce const& reduce) {
    Index const n = windows(g), slots = Pooled::slots(experts_);
    if constexpr (how == Accumulate::TwoPass) {
      reserve_rows(loads_, n, slots);
      if (g == 0) std::fill_n(loads_.data(), n * slots, 0);
      for (Index w = 0; w < n; ++w) require_tokens<Pooled>(loads(g, w).tokens() + scores(g, w).tokens());
    } else {
      reserve_rows(loads_, Scope::per_sequence ? first_row_[std::size_t(g) + 1] : g + 1, slots);
    }
    for (Index w = 0; w < n; ++w) {
      Loads const load = loads(g, w);
      if constexpr (how == Accumulate::TwoPass) {
        add_row<Pooled>(scores(g, w), 0, load.data(), experts_);
        if (Scope::over_ranks && anybody_reads && g + 1 == micro_batches_)
          reduce(VectorView<std::int64_t>(load.data(), slots));
      } else {
        copy_row<Pooled>(scores(g, w), 0, load.data(), experts_);
        if (Scope::over_ranks) reduce(VectorView<std::int64_t>(load.data(), slots));
        if (how == Accumulate::Running && g > 0) {
          require_tokens<Pooled>(load.tokens() + loads(g - 1, w).tokens());
          add_row<Pooled>(loads(g - 1, w), 0, load.data(), experts_);
        }
      }
      require_tokens<Pooled>(load.tokens());
    }
  }

  Index experts_;
  Index micro_batches_ = 0; // G; 0: no step is open
  Index observed_ = 0;
  std::vector<Index> first_row_;          // [G + 1] first sequence of each micro-batch
  std::vector<std::int64_t> rows_;        // [sequences of the step, Needs] as observed
  std::vector<std::int64_t> sums_;        // [G, Needs] their sums, unless each sequence stands for itself
  std::vector<std::int64_t> loads_;       // [windows, Pooled]
  std::vector<std::int64_t> zero_scores_; // [Needs]
  std::vector<std::int64_t> bias_load_;   // [Pooled]
};

} // namespace moebal::detail
