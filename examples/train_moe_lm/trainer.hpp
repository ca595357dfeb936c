// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One run: R ranks as threads train one model with one strategy. Weights are shared; each rank sums the gradients of
// its own micro-batches, then the ranks add theirs in rank order, each rank for a slice of the weights, and step that
// slice. So the numbers do not depend on timing.

#include "model.hpp"
#include "optimizer.hpp"
#include "state.hpp"
#include "strategies.hpp"
#include "validation.hpp"

#include <moebal/stats/metrics.hpp>

#include <functional>
#include <sstream>

namespace train {

/// Watches a run. Called by rank 0 between two steps.
struct Observer {
  /// After each step. Returns whether to stop here.
  std::function<bool(Record const&)> stepped = [](Record const&) { return false; };
  /// When a state is due (every few seconds and when stopped).
  std::function<void(Midway)> save = [](Midway) {};
};

class Trainer {
public:
  Trainer(Corpus const& corpus, Settings const& settings, Observer observer, Validation validation = {})
      : corpus_(corpus), s_(settings), observer_(std::move(observer)), validation_(validation) {}

  /// Runs a strategy from the start, or on from where `midway` stopped. The record says whether it finished.
  Record run(StrategyInfo const& info, std::uint64_t seed, std::optional<Midway> const& midway = {}) {
    Index const n = parameter_count(shape_);
    if (midway) {
      for (auto const* v : {&midway->weights, &midway->first_moments, &midway->second_moments})
        if (Index(v->size()) != n)
          throw StateError("the saved weights do not fit the model: needed " + std::to_string(n) + ", had " +
                           std::to_string(v->size()));
      weights_ = Eigen::Map<Vector<float> const>(midway->weights.data(), n);
      moments_.first = Eigen::Map<Vector<float> const>(midway->first_moments.data(), n);
      moments_.second = Eigen::Map<Vector<float> const>(midway->second_moments.data(), n);
      record_ = midway->record;
    } else {
      initialise(shape_, seed, weights_);
      moments_.reset(n);
      record_ = Record{};
      record_.name = info.name;
      record_.seed = seed;
      record_.experts = s_.experts;
      for (Domain const& domain : corpus_.domains()) record_.domains.push_back(domain.name);
    }
    gradients_.assign(std::size_t(s_.ranks), Vector<float>::Zero(n));
    tallies_.assign(std::size_t(s_.ranks), Tally{});
    for (Tally& t : tallies_) t.load.assign(std::size_t(s_.experts), 0);
    stop_ = false;
    saved_at_ = wall_seconds();
    moebal::run_ranks(s_.ranks, [&](Comm comm) { work(comm, info, seed, midway ? midway->balancer : std::string()); },
                      {.timeout = std::chrono::minutes(5)});
    return std::move(record_);
  }

private:
  /// What a rank counted in one step; rank 0 adds them up.
  struct Tally {
    double loss = 0;
    std::vector<std::int64_t> load; // [E] before any drop
    Index dropped = 0;
    double cpu_seconds = 0, balancer_seconds = 0;
  };
  using Batches = std::vector<Activations<float>>;

  void work(Comm const& comm, StrategyInfo const& info, std::uint64_t seed, std::string const& saved_balancer) {
    auto const strategy = make_strategy<float>(info, s_, seed, comm);
    if (!saved_balancer.empty()) {
      std::istringstream in(saved_balancer);
      strategy->restore(in);
    }
    Batches batches(static_cast<std::size_t>(s_.micro_batches));
    for (Index step = record_.steps(); step < s_.steps && !stop_;) {
      double const wall = wall_seconds(), cpu = thread_seconds(), balancing = strategy->balancer_seconds();
      one_step(comm, *strategy, seed, step, batches);
      Tally& mine = tallies_[std::size_t(comm.rank())];
      mine.cpu_seconds += thread_seconds() - cpu;
      mine.balancer_seconds += strategy->balancer_seconds() - balancing;
      comm.barrier();
      if (comm.rank() == 0) note_step(step, wall_seconds() - wall);
      comm.barrier(); // the record and stop_ are settled
      ++step;
      Index const every = std::max<Index>(1, s_.steps / validation_.checkpoints);
      if (step % every == 0 && step < s_.steps) { // also when stopped: a resumed run does not come by here again
        validate(comm, *strategy, validation_.midway, batches.front());
        if (comm.rank() == 0) note_checkpoint(results_, step, corpus_.tokens(), record_);
        comm.barrier();
      }
      if (comm.rank() == 0 && (stop_ || wall_seconds() - saved_at_ > 15)) observer_.save(midway(*strategy));
      comm.barrier();
    }
    if (stop_) return;
    validate(comm, *strategy, validation_.at_end, batches.front());
    if (comm.rank() == 0)
      finish(results_, corpus_.domain_count(), corpus_.tokens() * s_.top_k, corpus_.tokens(), record_);
  }

  void one_step(Comm const& comm, Strategy<float>& strategy, std::uint64_t seed, Index step, Batches& batches) {
    Vector<float>& mine = gradients_[std::size_t(comm.rank())];
    Tally& tally = tallies_[std::size_t(comm.rank())];
    mine.setZero();
    tally.loss = 0;
    std::fill(tally.load.begin(), tally.load.end(), 0);
    Parameters<float> const p(shape_, weights_.data());
    Parameters<float> g(shape_, mine.data());

    strategy.begin_step(step);
    for (Index i = 0; i < s_.micro_batches; ++i) {
      Activations<float>& a = batches[std::size_t(i)];
      embed(shape_, p, corpus_.training(seed, step, comm.rank(), i), a);
      prepare(a);
      strategy.route(i, a.logits, a.routing.view());
      for (std::size_t e = 0; e < tally.load.size(); ++e) tally.load[e] += strategy.counts()[Index(e)];
      tally.dropped += dispatch(comm, a);
      tally.loss += predict(shape_, p, a);
      if (strategy.slopes_known() == SlopesKnown::AfterItsRoute) backward(strategy, i, p, a, g);
    }
    strategy.all_routed();
    if (strategy.slopes_known() == SlopesKnown::AfterAllRoutes)
      for (Index i = 0; i < s_.micro_batches; ++i) backward(strategy, i, p, batches[std::size_t(i)], g);
    strategy.end_step();

    comm.barrier(); // all gradients are there, and nobody reads the weights
    Index const n = weights_.size();
    Index const begin = n * comm.rank() / s_.ranks, count = n * (comm.rank() + 1) / s_.ranks - begin;
    auto sum = gradients_.front().segment(begin, count);
    for (Index r = 1; r < s_.ranks; ++r) sum += gradients_[std::size_t(r)].segment(begin, count);
    sum /= float(s_.ranks); // the gradient of the loss over all ranks is the mean of theirs
    adam_step(adam_, learning_rate(adam_.rate, step, s_.steps), step, begin, count, gradients_.front(), moments_,
              weights_);
  }

  void backward(Strategy<float>& strategy, Index i, Parameters<float> const& p, Activations<float>& a,
                Parameters<float>& g) {
    float const scale = 1 / float(a.batch.tokens() * s_.micro_batches); // a mean over the tokens of the rank
    predict_backward(shape_, p, scale, a, g);
    a.d_logits.resize(a.logits.rows(), a.logits.cols());
    strategy.backward(i, a.logits, std::as_const(a.routing).expert_ids(), a.d_weights, a.d_logits);
    embed_backward(shape_, p, a, g);
  }

  void prepare(Activations<float>& a) const {
    if (a.routing.tokens() != a.logits.rows()) a.routing = moebal::Routing<float>(a.logits.rows(), s_.top_k);
  }
  Index dispatch(Comm const& comm, Activations<float>& a) const {
    Dispatch::Ids const ids = std::as_const(a.routing).expert_ids();
    if (s_.capacity > 0) return a.dispatch.group_within(s_.capacity, ids, s_.experts, comm);
    a.dispatch.group(ids, s_.experts);
    return 0;
  }

  /// Rank 0, while the others wait.
  void note_step(Index step, double wall) {
    std::vector<std::int64_t> load(std::size_t(s_.experts), 0);
    double loss = 0;
    for (Tally& t : tallies_) {
      loss += t.loss;
      for (std::size_t e = 0; e < load.size(); ++e) load[e] += t.load[e];
      record_.dropped_pairs += std::exchange(t.dropped, 0);
      record_.cpu_seconds += std::exchange(t.cpu_seconds, 0);
      record_.balancer_seconds += std::exchange(t.balancer_seconds, 0);
    }
    Index const tokens = corpus_.tokens() * s_.ranks * s_.micro_batches;
    record_.routed_pairs += tokens * s_.top_k;
    record_.train_loss.push_back(loss / double(tokens));
    record_.max_vio.push_back(moebal::stats::max_vio(load));
    record_.load.insert(record_.load.end(), load.begin(), load.end());
    record_.step_seconds += wall;
    stop_ = observer_.stepped(record_) && step + 1 < s_.steps;
  }

  /// Collective: micro-batches of validation text in turns, with the drops of the run and (if there are any) without.
  void validate(Comm const& comm, Strategy<float>& strategy, Index per_domain, Activations<float>& a) {
    Index const all = per_domain * corpus_.domain_count();
    if (comm.rank() == 0) results_.assign(std::size_t(all), Validated{});
    comm.barrier();
    Parameters<float> const p(shape_, weights_.data());
    for (Index first = 0; first < all; first += s_.ranks) {
      Index const m = first + comm.rank();
      embed(shape_, p, corpus_.validation(std::min(m, all - 1), per_domain), a);
      prepare(a);
      strategy.evaluate(a.logits, a.routing.view());
      Validated result;
      result.domain = a.batch.domain;
      result.load.assign(std::size_t(s_.experts), 0);
      moebal::ExpertId* const ids = a.routing.expert_ids().data();
      Index const pairs = a.logits.rows() * s_.top_k;
      for (Index i = 0; i < pairs; ++i) ++result.load[std::size_t(ids[i])];
      if (m >= all) std::fill(ids, ids + pairs, moebal::no_expert); // the last round of a number that R does not divide
      result.dropped = dispatch(comm, a);
      if (m >= all) continue;
      result.loss = result.loss_without_drops = predict(shape_, p, a);
      if (result.dropped > 0) {
        a.dispatch.group(std::as_const(a.routing).expert_ids(), s_.experts);
        result.loss_without_drops = predict(shape_, p, a);
      }
      results_[std::size_t(m)] = std::move(result);
    }
    comm.barrier();
  }

  Midway midway(Strategy<float> const& strategy) {
    saved_at_ = wall_seconds();
    std::ostringstream balancer;
    strategy.save(balancer);
    auto const copy = [](Vector<float> const& v) { return std::vector<float>(v.data(), v.data() + v.size()); };
    return {.record = record_,
            .weights = copy(weights_),
            .first_moments = copy(moments_.first),
            .second_moments = copy(moments_.second),
            .balancer = balancer.str()};
  }

  Corpus const& corpus_;
  Settings s_;
  ModelShape shape_ = s_.model();
  Observer observer_;
  Validation validation_;
  Adam adam_;

  // Shared by the ranks: written by one rank between two barriers.
  Vector<float> weights_;
  Moments<float> moments_;
  std::vector<Vector<float>> gradients_; // [R]
  std::vector<Tally> tallies_;           // [R]
  std::vector<Validated> results_;       // of a validation
  Record record_;
  bool stop_ = false;
  double saved_at_ = 0;
};

} // namespace train
