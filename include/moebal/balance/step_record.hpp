// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The statistics of one open optimizer step: what each micro-batch counted here, and the windows that a scope makes
// of it. Sums over the ranks are started when a window is complete here, and waited for when it is read.

#include "rules.hpp"
#include "scope.hpp"
#include "statistic_rows.hpp"
#include "summed_rows.hpp"

#include "../core/errors.hpp"

#include <algorithm>
#include <string>
#include <type_traits>
#include <vector>

namespace moebal::detail {

/// Traits: those of the rules. With loss rules somebody asks for the windows of each micro-batch; else only their sum
/// at the end matters.
template <class Scope, class Traits, class Real, collective_request Request> class StepRecord {
  static_assert(!(Scope::per_sequence && Scope::over_ranks),
                "moebal: sequences are of one rank: a scope over the ranks has one window for each micro-batch");
  using Needs = typename Traits::needs;
  using Pooled = typename Traits::pooled;

public:
  using Scores = LoadView<Needs>; // rows in the layout of what is collected
  using Loads = LoadView<Pooled>; // rows in the layout of what is pooled
  // Without a loss rule nobody asks for the windows between, so one sum over the ranks at the end does.
  static constexpr Accumulate how = Scope::over_ranks && !Traits::has_loss ? Accumulate::TwoPass : Scope::accumulate;

  explicit StepRecord(Index experts) : experts_(experts), zero_scores_(std::size_t(Needs::slots(experts))) {
    bias_load_.reserve(Pooled::slots(experts));
  }

  bool open() const { return micro_batches_ > 0; }
  /// StateError that names the call, unless a step is open, is not, or has observed what the call reads.
  void require_open(char const* what) const {
    if (!open()) refuse<StateError>(what, "an open step (call begin_step first)", "none");
  }
  void require_closed(char const* what) const {
    if (open()) refuse<StateError>(what, "no open step (call end_step or abandon_step first)", "one");
  }
  void require_observed(char const* what, Index g, Accumulate of) const {
    require_open(what);
    if (g < 0 || g >= micro_batches_) // the sentence is only written when it is needed
      require_within(std::string(what) + ": micro-batch", 0, micro_batches_ - 1, g);
    Index const needed = of == Accumulate::TwoPass ? micro_batches_ : g + 1;
    if (observed_ < needed)
      refuse<StateError>(std::string(what) + " of micro-batch " + std::to_string(g) + ": observed micro-batches",
                         "at least " + std::to_string(needed), std::to_string(observed_));
  }
  Index micro_batches() const { return micro_batches_; }
  Index observed() const { return observed_; }
  Index sequences(Index g) const { return first_row_[std::size_t(g) + 1] - first_row_[std::size_t(g)]; }
  /// Windows of a micro-batch: its sequences, or one.
  Index windows(Index g) const { return Scope::per_sequence ? sequences(g) : 1; }

  void begin(Index micro_batches) {
    micro_batches_ = micro_batches;
    observed_ = 0;
    first_row_.assign(std::size_t(micro_batches) + 1, 0);
    loads_.begin(sums_of_step());
    if constexpr (Scope::over_ranks) // rows that are on their way do not move
      loads_.reserve(sums_of_step() * Pooled::slots(experts_));
    bias_load_.begin(1);
  }
  /// Drops what is under way.
  void close() {
    micro_batches_ = observed_ = 0;
    loads_.drop();
    bias_load_.drop();
  }

  /// Whether `load` is what micro-batch g was observed with.
  template <class Load> bool same(Index g, Load const& load) {
    bool same = load.sequences() == sequences(g);
    for (Index s = 0; same && s < load.sequences(); ++s) same = same_row<Needs>(load, s, row(g, s).data(), experts_);
    return same;
  }

  /// Takes the next micro-batch, and starts the sums over the ranks that are due with it. A load that is refused
  /// leaves nothing behind.
  template <class Load, class Comm> void observe(Load const& load, Comm const& comm) {
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
    pool(g, comm);
    if (g + 1 == micro_batches_ && moves_by_rank_0) start_bias_load(comm);
    ++observed_;
  }
  /// Waits for the load windows up to micro-batch g. Every other function but bias_loads leaves the ranks alone.
  void settle(Index g) {
    if constexpr (Scope::over_ranks)
      loads_.settle(how == Accumulate::TwoPass ? sums_of_step() : g + 1, [&](Index done) { finish(done, 0); });
  }
  /// Lets sums under way go on.
  void poll() {
    loads_.poll();
    bias_load_.poll();
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

  /// The one load window that the bias of a step is moved by, equal on all ranks. Waits for it.
  Loads bias_loads() {
    if constexpr (moves_by_rank_0) {
      bias_load_.settle(1, [](Index) {});
    } else if constexpr (Scope::over_ranks) {
      Index const last = micro_batches_ - 1;
      settle(last);
      std::fill_n(bias_load_.data(), Pooled::slots(experts_), 0);
      for (Index g = how == Accumulate::None ? 0 : last; g <= last; ++g)
        add_row<Pooled>(loads(g, 0), 0, bias_load_.data(), experts_);
    }
    return {bias_load_.data(), 1, experts_};
  }
  /// A score window without a token.
  Scores no_scores() { return {zero_scores_.data(), 1, experts_}; }

private:
  static constexpr bool moves = Traits::has_bias || Traits::has_state;
  // At a narrower scope the ranks have windows of their own, and all follow rank 0's.
  static constexpr bool moves_by_rank_0 = moves && !Scope::over_ranks;

  /// Load windows of the step that are summed over the ranks.
  Index sums_of_step() const {
    bool const anybody_reads = Traits::has_loss || !std::same_as<Pooled, stats::None>;
    if (!Scope::over_ranks || !anybody_reads) return 0;
    return how == Accumulate::TwoPass ? 1 : micro_batches_;
  }

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

  template <class Comm> void pool(Index g, Comm const& comm) {
    Index const n = windows(g), slots = Pooled::slots(experts_);
    if constexpr (how == Accumulate::TwoPass) {
      loads_.reserve(n * slots);
      if (g == 0) std::fill_n(loads_.data(), n * slots, 0);
      for (Index w = 0; w < n; ++w) require_tokens<Pooled>(loads(g, w).tokens() + scores(g, w).tokens());
      for (Index w = 0; w < n; ++w) add_row<Pooled>(scores(g, w), 0, loads(g, w).data(), experts_);
      if (g + 1 == micro_batches_ && sums_of_step() > 0) loads_.start(comm, {loads(g, 0).data(), slots});
    } else {
      loads_.reserve((Scope::per_sequence ? first_row_[std::size_t(g) + 1] : g + 1) * slots);
      for (Index w = 0; w < n; ++w) {
        copy_row<Pooled>(scores(g, w), 0, loads(g, w).data(), experts_);
        if constexpr (Scope::over_ranks)
          loads_.start(comm, {loads(g, w).data(), slots});
        else
          finish(g, w);
      }
    }
  }
  /// What is left to do with a load window when it has been summed over the ranks.
  void finish(Index g, Index w) {
    Loads const load = loads(g, w);
    if (how == Accumulate::Running && g > 0) {
      require_tokens<Pooled>(load.tokens() + loads(g - 1, w).tokens());
      add_row<Pooled>(loads(g - 1, w), 0, load.data(), experts_);
    }
    require_tokens<Pooled>(load.tokens());
  }
  template <class Comm> void start_bias_load(Comm const& comm) {
    Index const slots = Pooled::slots(experts_), g = how == Accumulate::None ? 0 : micro_batches_ - 1;
    std::fill_n(bias_load_.data(), slots, 0);
    if (comm.rank() == 0 && windows(g) > 0) add_row<Pooled>(loads(g, 0), 0, bias_load_.data(), experts_);
    bias_load_.start(comm, {bias_load_.data(), slots});
  }

  Index experts_;
  Index micro_batches_ = 0; // G; 0: no step is open
  Index observed_ = 0;
  std::vector<Index> first_row_;          // [G + 1] first sequence of each micro-batch
  std::vector<std::int64_t> rows_;        // [sequences of the step, Needs] as observed
  std::vector<std::int64_t> sums_;        // [G, Needs] their sums, unless each sequence stands for itself
  SummedRows<Request> loads_;             // [windows, Pooled]
  std::vector<std::int64_t> zero_scores_; // [Needs]
  SummedRows<Request> bias_load_;         // [Pooled]
};

} // namespace moebal::detail
