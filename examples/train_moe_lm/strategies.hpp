// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A strategy routes the micro-batches of a step and says what balancing adds to their gradients. Each rank has its own
// and calls it in the same order. All that differs between strategies is the Balancer's type and which tokens it is
// shown.

#include "clock.hpp"
#include "gate_router.hpp"
#include "options.hpp"
#include "random.hpp"

#include <moebal/balancer.hpp>
#include <moebal/comm/threads.hpp>

#include <numeric>
#include <sstream>

namespace train {

using Comm = moebal::Communicator<moebal::Threads>;

/// When the slopes of a micro-batch are known.
enum class SlopesKnown { AfterItsRoute, AfterAllRoutes };

template <class Real> class Strategy {
public:
  using Logits = moebal::MatrixView<Real const>;
  virtual ~Strategy() = default;

  virtual void begin_step(Index step) = 0;
  /// Routes micro-batch g = 0, 1, ... G - 1 and shows it to the balancer.
  virtual void route(Index g, Logits, moebal::RoutingView<Real>) = 0;
  /// After all G.
  virtual void all_routed() {}
  virtual SlopesKnown slopes_known() const { return SlopesKnown::AfterItsRoute; }
  /// d loss / d logits of micro-batch g, from that of its weights [T, K] and from balancing.
  virtual void backward(Index g, Logits, moebal::MatrixView<moebal::ExpertId const> ids,
                        moebal::MatrixView<Real const> d_weights, moebal::MatrixView<Real> d_logits) = 0;
  virtual void end_step() = 0;

  /// Tokens that chose each expert in the micro-batch routed last, [E].
  virtual moebal::VectorView<std::int64_t const> counts() const = 0;
  /// Routes validation text: nothing is counted, no state moves.
  virtual void evaluate(Logits, moebal::RoutingView<Real>) = 0;
  virtual void save(std::ostream&) const {}
  virtual void restore(std::istream&) {}

  /// Processor time spent so far in the balancer and on statistics.
  double balancer_seconds() const { return balancer_seconds_; }

protected:
  /// Routes, and notes what the statistics cost: the difference to routing without, measured once.
  template <class Load>
  void route_counted(GateRouter<Real>& router, Logits logits, moebal::RowOptions<> options,
                     moebal::RoutingView<Real> out, Load& load) {
    if (statistics_seconds_ < 0) {
      std::int64_t nothing[moebal::stats::None::header] = {};
      auto const seconds_of = [&](auto into) {
        double best = 1;
        for (int i = 0; i < 20; ++i) {
          double seconds = 0;
          {
            Measured const measured(seconds);
            router.route(logits, options, out, into);
          }
          best = std::min(best, seconds);
        }
        return best;
      };
      double const without = seconds_of(moebal::LoadView<moebal::stats::None>(nothing, 1, logits.cols()));
      statistics_seconds_ = std::max(0.0, seconds_of(load.view()) - without);
    }
    router.route(logits, options, out, load.view());
    balancer_seconds_ += statistics_seconds_;
  }

  double balancer_seconds_ = 0;
  double statistics_seconds_ = -1; // of one micro-batch; negative: not yet measured
};

/// No balancing. The counts are for the report alone, so they are not put down to a balancer.
template <class Real> class Unbalanced final : public Strategy<Real> {
public:
  using typename Strategy<Real>::Logits;
  Unbalanced(std::unique_ptr<GateRouter<Real>> router, Settings const& s)
      : router_(std::move(router)), load_(1, s.experts) {}

  void begin_step(Index) override {}
  void route(Index, Logits logits, moebal::RoutingView<Real> out) override {
    router_->route(logits, {}, out, load_.view());
  }
  void backward(Index, Logits logits, moebal::MatrixView<moebal::ExpertId const> ids,
                moebal::MatrixView<Real const> d_weights, moebal::MatrixView<Real> d_logits) override {
    router_->backward(logits, {}, ids, {.d_weights = d_weights, .slopes = {}, .z_slopes = {}}, d_logits);
  }
  void end_step() override {}
  moebal::VectorView<std::int64_t const> counts() const override { return load_.template get<moebal::stats::Counts>(); }
  void evaluate(Logits logits, moebal::RoutingView<Real> out) override {
    router_->route(logits, {}, out, moebal::LoadView<moebal::stats::None>(ignored_, 1, logits.cols()));
  }

private:
  std::unique_ptr<GateRouter<Real>> router_;
  moebal::Load<Counted> load_;
  std::int64_t ignored_[moebal::stats::None::header] = {};
};

/// Whose choices the balancer is shown as those of micro-batch g: its own, or those of as many tokens of the whole
/// step, which is dealt out to the micro-batches of all ranks at random, anew in each step (arXiv 2501.11873 Table 2).
enum class Shown { MicroBatch, RandomSubset };

/// Any Balancer<Scope, Rule>.
template <class Real, class Scope, class Rule, Shown shown = Shown::MicroBatch>
class Balanced final : public Strategy<Real> {
  using Balancer = moebal::Balancer<Scope, Rule, Comm, Real>;
  using Needs = typename Balancer::needs;
  using Load = moebal::Load<Needs>;

public:
  using typename Strategy<Real>::Logits;

  Balanced(std::unique_ptr<GateRouter<Real>> router, Rule rule, Settings const& s, std::uint64_t seed, Comm comm)
      : settings_(s), seed_(seed), router_(std::move(router)), comm_(comm),
        balancer_(Scope{}, rule, {.experts = s.experts, .top_k = s.top_k}, comm, std::type_identity<Real>{}),
        load_(1, s.experts), loads_(std::size_t(s.micro_batches)) {}

  SlopesKnown slopes_known() const override {
    return shown == Shown::RandomSubset || Scope::accumulate == moebal::Accumulate::TwoPass
               ? SlopesKnown::AfterAllRoutes
               : SlopesKnown::AfterItsRoute;
  }
  void begin_step(Index step) override {
    step_ = step;
    Measured const measured(this->balancer_seconds_);
    balancer_.begin_step(settings_.micro_batches);
  }
  void route(Index g, Logits logits, moebal::RoutingView<Real> out) override {
    this->route_counted(*router_, logits, {.bias = balancer_.bias(), .padding = {}, .segments = {}}, out, load_);
    Measured const measured(this->balancer_seconds_);
    if constexpr (shown == Shown::MicroBatch)
      balancer_.observe(g, load_);
    else
      keep(g, out.expert_ids);
  }
  void all_routed() override {
    if constexpr (shown == Shown::RandomSubset) {
      Measured const measured(this->balancer_seconds_);
      show_random_subsets();
    }
  }
  void backward(Index g, Logits logits, moebal::MatrixView<moebal::ExpertId const> ids,
                moebal::MatrixView<Real const> d_weights, moebal::MatrixView<Real> d_logits) override {
    moebal::RouterGradient<Real> gradient{.d_weights = d_weights, .slopes = {}, .z_slopes = {}};
    if constexpr (Balancer::has_loss) {
      Measured const measured(this->balancer_seconds_);
      gradient.slopes = balancer_.terms(g).router_slopes;
    }
    router_->backward(logits, {.bias = balancer_.bias(), .padding = {}, .segments = {}}, ids, gradient, d_logits);
  }
  /// The rate of a bias falls linearly to zero over the run.
  void end_step() override {
    Measured const measured(this->balancer_seconds_);
    balancer_.end_step(float(settings_.steps - step_) / float(settings_.steps));
  }
  moebal::VectorView<std::int64_t const> counts() const override { return load_.template get<moebal::stats::Counts>(); }
  void evaluate(Logits logits, moebal::RoutingView<Real> out) override {
    router_->route(logits, {.bias = balancer_.bias(), .padding = {}, .segments = {}}, out,
                   moebal::LoadView<moebal::stats::None>(ignored_, 1, logits.cols()));
  }
  void save(std::ostream& out) const override { balancer_.save(out); }
  void restore(std::istream& in) override { balancer_.restore(in); }

private:
  void keep(Index g, moebal::MatrixView<moebal::ExpertId const> ids) {
    loads_[std::size_t(g)] = load_;
    Index const pairs = ids.rows() * ids.cols();
    ids_.resize(std::size_t(settings_.micro_batches * pairs));
    std::copy_n(ids.data(), pairs, ids_.begin() + g * pairs);
  }
  /// The same dealing on all ranks; each counts what its own micro-batches got.
  void show_random_subsets() {
    Index const parts = settings_.ranks * settings_.micro_batches, pairs = Index(ids_.size()) / settings_.micro_batches;
    Index const tokens = pairs / settings_.top_k, all = parts * tokens;
    all_ids_.resize(std::size_t(parts * pairs));
    comm_.all_gather(moebal::VectorView<moebal::ExpertId const>(ids_), all_ids_);
    order_.resize(std::size_t(all));
    std::iota(order_.begin(), order_.end(), Index(0));
    Random random{seed_, std::uint64_t(step_), 0x737562736574u};
    for (Index i = all - 1; i > 0; --i) std::swap(order_[std::size_t(i)], order_[std::size_t(random.below(i + 1))]);
    for (Index g = 0; g < settings_.micro_batches; ++g) {
      Index const part = comm_.rank() * settings_.micro_batches + g;
      auto const counts = loads_[std::size_t(g)].view().template get<moebal::stats::Counts>();
      std::fill(counts.begin(), counts.end(), 0);
      for (Index i = part * tokens; i < (part + 1) * tokens; ++i)
        for (Index k = 0; k < settings_.top_k; ++k)
          ++counts[all_ids_[std::size_t(order_[std::size_t(i)] * settings_.top_k + k)]];
      balancer_.observe(g, loads_[std::size_t(g)]);
    }
  }

  Settings settings_;
  std::uint64_t seed_;
  Index step_ = 0;
  std::unique_ptr<GateRouter<Real>> router_;
  Comm comm_;
  Balancer balancer_;
  Load load_;
  std::vector<Load> loads_;                     // of each micro-batch
  std::vector<moebal::ExpertId> ids_, all_ids_; // of this rank's tokens of the step, of all
  std::vector<Index> order_;
  std::int64_t ignored_[moebal::stats::None::header] = {};
};

template <class Real>
std::unique_ptr<Strategy<Real>> make_strategy(StrategyInfo const& info, Settings const& s, std::uint64_t seed,
                                              Comm comm) {
  using namespace moebal;
  auto router = make_router<Real>(info.gate, s.top_k);
  auto const balanced = [&]<class Scope, class Rule, Shown shown = Shown::MicroBatch>(
                            Scope, Rule rule,
                            std::integral_constant<Shown, shown> = {}) -> std::unique_ptr<Strategy<Real>> {
    return std::make_unique<Balanced<Real, Scope, Rule, shown>>(std::move(router), rule, s, seed, comm);
  };
  if (info.rule == RuleKind::None) return std::make_unique<Unbalanced<Real>>(std::move(router), s);
  if (info.rule == RuleKind::Bias) {
    double const rate = s.rate > 0 ? s.rate : info.gate == GateKind::Softmax ? 1e-2 : 3e-2;
    LossFreeBias const rule{.rate = float(rate)};
    return info.pool == Pool::MicroBatch ? balanced(MicroBatch<>{}, rule)
                                         : balanced(GlobalBatch<Accumulate::Running>{}, rule);
  }
  SwitchLoss<> const rule{.coefficient = s.alpha};
  switch (info.pool) {
  case Pool::MicroBatch:
    return balanced(MicroBatch<>{}, rule);
  case Pool::Ranks:
    return balanced(GlobalBatch<>{}, rule);
  case Pool::Running:
    return balanced(GlobalBatch<Accumulate::Running>{}, rule);
  case Pool::RandomSubset:
    return balanced(MicroBatch<>{}, rule, std::integral_constant<Shown, Shown::RandomSubset>{});
  default:
    return balanced(GlobalBatch<Accumulate::TwoPass>{}, rule);
  }
}

} // namespace train
