// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One run: R ranks as threads train one model with one strategy. Weights are shared; each rank sums the gradients of
// its own micro-batches, then the ranks add theirs in rank order, each rank for a slice of the weights, and step that
// slice. So the numbers do not depend on timing.

#include "observer.hpp"
#include "optimizer.hpp"
#include "routed.hpp"
#include "validation.hpp"

#include <moebal/stats/metrics.hpp>

#include <sstream>

namespace train {

class Trainer {
public:
  Trainer(Corpus const& corpus, Settings const& settings, Observer observer, Validation validation = {})
      : corpus_(corpus), s_(settings), observer_(std::move(observer)), validation_(validation) {}

  /// Runs a strategy from the start, or on from where `midway` stopped. The record says whether it finished.
  Record run(Contestant const& contestant, std::uint64_t seed, std::optional<Midway> const& midway = {}) {
    seed_ = seed;
    record_ = midway ? midway->record : Record{};
    if (!midway) {
      record_.name = contestant.name;
      record_.seed = seed;
      record_.experts = s_.experts;
      for (Domain const& domain : corpus_.domains()) record_.domains.push_back(domain.name);
    }
    stop_ = false;
    saved_at_ = wall_seconds();
    lab::Make make = lab::make_for(s_.experts, s_.ranks, corpus_.frequencies());
    make.coefficient = s_.alpha, make.rate = s_.rate, make.seed = seed;
    if (s_.capacity > 0) make.capacity = s_.capacity;
    moebal::run_ranks(s_.ranks, [&](Comm comm) { work(comm, contestant, make, midway); },
                      {.timeout = std::chrono::minutes(5)});
    return std::move(record_);
  }

private:
  /// What a rank counted in one step; rank 0 adds them up.
  struct Tally {
    double loss = 0;
    std::vector<std::int64_t> load; // [E] before any drop
    Index dropped = 0;
    double cpu_seconds = 0, balancer_seconds = 0, routing_seconds = 0;
  };
  using Comm = moebal::Communicator<moebal::Threads>;
  using Method = lab::Method;
  using Batches = std::vector<Activations<float>>;

  /// Weights and all that ranks share, by rank 0.
  void start(Method& method, std::optional<Midway> const& midway) {
    shape_.top_k = method.top_k();
    shape_.router = method.parameters(shape_.width);
    record_.computing = method.zeros().ffn;
    Index const n = parameter_count(shape_);
    if (midway) {
      for (auto const* v : {&midway->weights, &midway->first_moments, &midway->second_moments})
        if (Index(v->size()) != n)
          throw StateError("the saved weights do not fit the model: needed " + std::to_string(n) + ", had " +
                           std::to_string(v->size()));
      weights_ = Eigen::Map<Vector<float> const>(midway->weights.data(), n);
      moments_.first = Eigen::Map<Vector<float> const>(midway->first_moments.data(), n);
      moments_.second = Eigen::Map<Vector<float> const>(midway->second_moments.data(), n);
    } else {
      initialise(shape_, seed_, weights_);
      Parameters<float> p(shape_, weights_.data());
      if (p.router.rows() == 1) method.start(seed_, shape_.width, router_of(p));
      moments_.reset(n);
    }
    gradients_.assign(std::size_t(s_.ranks), Vector<float>::Zero(n));
    tallies_.assign(std::size_t(s_.ranks), Tally{});
    for (Tally& t : tallies_) t.load.assign(std::size_t(s_.experts), 0);
  }

  void work(Comm const& comm, Contestant const& contestant, lab::Make const& make,
            std::optional<Midway> const& midway) {
    auto const method = contestant.make(lab::on_rank(make, comm.rank()), lab::recorded(comm));
    if (comm.rank() == 0) start(*method, midway);
    if (midway && !midway->balancer.empty()) {
      std::istringstream in(midway->balancer);
      method->restore(in);
    }
    comm.barrier(); // the weights are there
    Batches batches(static_cast<std::size_t>(s_.micro_batches));
    for (Index step = record_.steps(); step < s_.steps && !stop_;) {
      double const wall = wall_seconds(), cpu = thread_seconds();
      double const routing = method->routing_seconds(), balancing = method->balancer_seconds();
      one_step(comm, *method, step, batches);
      Tally& mine = tallies_[std::size_t(comm.rank())];
      mine.cpu_seconds += thread_seconds() - cpu;
      mine.routing_seconds += method->routing_seconds() - routing;
      mine.balancer_seconds += method->balancer_seconds() - balancing;
      comm.barrier();
      if (comm.rank() == 0) note_step(step, wall_seconds() - wall);
      comm.barrier(); // the record and stop_ are settled
      ++step;
      Index const every = std::max<Index>(1, s_.steps / validation_.checkpoints);
      if (step % every == 0 && step < s_.steps) { // also when stopped: a resumed run does not come by here again
        validate(comm, *method, lab::Evaluation::AsTrained, validation_.midway, batches.front());
        if (comm.rank() == 0) note_checkpoint(results_, step, corpus_.tokens(), record_);
        comm.barrier();
      }
      if (comm.rank() == 0 && (stop_ || wall_seconds() - saved_at_ > 15)) observer_.save(state(*method));
      comm.barrier();
    }
    if (stop_) return;
    if (observer_.ended) observer_.ended(*method);
    validate(comm, *method, lab::Evaluation::AsTrained, validation_.at_end, batches.front());
    if (comm.rank() == 0) finish(results_, corpus_.domain_count(), corpus_.tokens(), record_);
    comm.barrier();
    if (method->causal()) return;
    validate(comm, *method, lab::Evaluation::Causal, validation_.at_end, batches.front());
    if (comm.rank() == 0) record_.row.perplexity_causal = perplexity_of(results_, corpus_.tokens());
  }

  void one_step(Comm const& comm, Method& method, Index step, Batches& batches) {
    Vector<float>& mine = gradients_[std::size_t(comm.rank())];
    Tally& tally = tallies_[std::size_t(comm.rank())];
    mine.setZero();
    tally.loss = 0;
    std::fill(tally.load.begin(), tally.load.end(), 0);
    Parameters<float> const p(shape_, weights_.data());
    Parameters<float> g(shape_, mine.data());

    method.begin_step(step, s_.micro_batches);
    for (Index i = 0; i < s_.micro_batches; ++i) {
      Activations<float>& a = batches[std::size_t(i)];
      embed(shape_, p, corpus_.training(seed_, step, comm.rank(), i), a);
      prepare(method, s_.experts, a);
      method.forward(view(a.n), draw(comm, step, i), router_of(p), view(a.logits));
      if (step == 0 && i == 0) method.measure_statistics(view(a.logits), a.tags, a.routing.view());
      method.route(i, view(a.logits), a.tags, a.routing.view());
      auto const counts = method.counts();
      for (Index e = 0; e < counts.size(); ++e) tally.load[std::size_t(e)] += counts[e];
      if (observer_.routed) observer_.routed(step, a, router_of(p), method);
      tally.dropped += dispatch(method, s_.capacity, a);
      tally.loss += predict(shape_, p, a);
      if (!method.two_passes()) backward(comm, method, step, i, p, a, g);
    }
    method.all_routed();
    if (method.two_passes())
      for (Index i = 0; i < s_.micro_batches; ++i) backward(comm, method, step, i, p, batches[std::size_t(i)], g);
    method.end_step(float(s_.steps - step) / float(s_.steps)); // rates fall linearly to zero over the run

    comm.barrier(); // all gradients are there, and nobody reads the weights
    Index const n = weights_.size();
    Index const begin = n * comm.rank() / s_.ranks, count = n * (comm.rank() + 1) / s_.ranks - begin;
    auto sum = gradients_.front().segment(begin, count);
    for (Index r = 1; r < s_.ranks; ++r) sum += gradients_[std::size_t(r)].segment(begin, count);
    sum /= float(s_.ranks); // the gradient of the loss over all ranks is the mean of theirs
    adam_step(adam_, learning_rate(adam_.rate, step, s_.steps), step, begin, count, gradients_.front(), moments_,
              weights_);
  }

  void backward(Comm const& comm, Method& method, Index step, Index i, Parameters<float> const& p,
                Activations<float>& a, Parameters<float>& g) {
    float const scale = 1 / float(a.batch.tokens() * s_.micro_batches); // a mean over the tokens of the rank
    predict_backward(shape_, p, scale, a, g);
    a.d_logits.resize(a.logits.rows(), a.logits.cols());
    method.backward(i, view(a.logits), a.tags, std::as_const(a.routing).expert_ids(),
                    moebal::as_matrix(std::as_const(a.d_weights)), view(a.d_logits));
    method.backward_map(view(a.n), draw(comm, step, i), router_of(p), view(a.logits), view(a.d_logits), router_of(g),
                        view(a.d_n));
    embed_backward(shape_, p, a, g);
  }

  /// For the noise of a micro-batch, if the logit map draws any.
  std::uint64_t draw(Comm const& comm, Index step, Index i) const {
    return moebal::random::bits(seed_, std::uint64_t((step * s_.ranks + comm.rank()) * s_.micro_batches + i));
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
      record_.routing_seconds += std::exchange(t.routing_seconds, 0);
    }
    Index const tokens = corpus_.tokens() * s_.ranks * s_.micro_batches;
    record_.routed_pairs += std::accumulate(load.begin(), load.end(), std::int64_t(0));
    record_.train_loss.push_back(loss / double(tokens));
    record_.load.insert(record_.load.end(), load.begin(), load.end());
    load.resize(std::size_t(record_.computing));
    record_.max_vio.push_back(moebal::stats::max_vio(load));
    record_.step_seconds += wall;
    stop_ = observer_.stepped(record_) && step + 1 < s_.steps;
  }

  /// Collective: micro-batches of validation text in turns, with the drops of the run and (if there are any) without.
  void validate(Comm const& comm, Method& method, lab::Evaluation how, Index per_domain, Activations<float>& a) {
    Index const all = per_domain * corpus_.domain_count();
    if (comm.rank() == 0) results_.assign(std::size_t(all), Validated{});
    comm.barrier();
    Parameters<float> const p(shape_, weights_.data());
    for (Index first = 0; first < all; first += s_.ranks) {
      Index const m = first + comm.rank();
      embed(shape_, p, corpus_.validation(std::min(m, all - 1), per_domain), a);
      prepare(method, s_.experts, a);
      if (method.deaf()) // what it learned is to use any expert
        method.forward(view(a.n), std::uint64_t(m), router_of(p), view(a.logits));
      else
        method.reference(view(a.n), std::uint64_t(m), router_of(p), view(a.logits));
      method.evaluate(how, view(a.logits), a.tags, a.routing.view());
      Validated result;
      result.domain = a.batch.domain;
      result.load.assign(std::size_t(s_.experts), 0);
      moebal::ExpertId* const ids = a.routing.expert_ids().data();
      Index const pairs = a.logits.rows() * method.top_k();
      for (Index i = 0; i < pairs; ++i)
        if (ids[i] != moebal::no_expert) ++result.load[std::size_t(ids[i])];
      if (m >= all) std::fill(ids, ids + pairs, moebal::no_expert); // the last round of a number that R does not divide
      result.dropped = dispatch(method, s_.capacity, a);
      if (m >= all) continue;
      result.loss = result.loss_without_drops = predict(shape_, p, a);
      if (result.dropped > 0) {
        a.dispatch.group(std::as_const(a.routing).expert_ids(), method.zeros());
        result.loss_without_drops = predict(shape_, p, a);
      }
      results_[std::size_t(m)] = std::move(result);
    }
    comm.barrier();
  }

  Midway state(Method const& method) {
    saved_at_ = wall_seconds();
    std::ostringstream balancer;
    method.save(balancer);
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
  std::uint64_t seed_ = 0;

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
