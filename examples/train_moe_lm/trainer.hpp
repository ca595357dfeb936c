// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One rank of R that train one model with one strategy. It shares no memory with the others: gradients, weights, counts
// and decisions travel by the verbs of its communicator, so ranks may be threads or processes, and the numbers are the
// same.

#include "launch.hpp"
#include "learner.hpp"
#include "passes.hpp"
#include "validate.hpp"

#include <sstream>

namespace train {

class Trainer {
public:
  /// `observer` is asked and told on rank 0, but for what it says itself.
  Trainer(Corpus const& corpus, Settings const& settings, Observer observer, Validation validation = {})
      : corpus_(corpus), s_(settings), observer_(std::move(observer)), validation_(validation) {}

  /// Runs a strategy from the start, or on from where `midway` stopped. The record is whole on rank 0; on every rank it
  /// says whether the run finished. Collective.
  Record run(Comm const& comm, Contestant const& contestant, std::uint64_t seed,
             std::optional<Midway> const& midway = {}) {
    seed_ = seed;
    record_ = midway ? midway->record : Record{};
    if (!midway) {
      record_.name = contestant.name;
      record_.seed = seed;
      record_.experts = s_.experts;
      for (Domain const& domain : corpus_.domains()) record_.domains.push_back(domain.name);
    }
    record_.layers = s_.layers;
    stop_ = false;
    saved_at_ = wall_seconds();
    lab::Make make = lab::make_for(s_.experts, comm.size(), corpus_.frequencies());
    make.coefficient = s_.alpha, make.rate = s_.rate, make.seed = seed;
    if (s_.capacity > 0) make.capacity = s_.capacity;
    Layers const layers(contestant, make, comm, s_.balancer_messages, s_.layers);
    work(comm, layers, midway);
    return std::move(record_);
  }

  /// Whether rank 0 asked for a stop, be it after the last step.
  bool stopped() const { return stop_; }

private:
  using Batches = std::vector<Activations<float>>;

  Learner start(Comm const& comm, Layers const& layers, std::optional<Midway> const& midway) {
    shape_.top_k = layers.first().top_k();
    shape_.router = layers.first().parameters(shape_.width);
    record_.computing = layers.first().zeros().ffn;
    Learner learner(comm, shape_, s_.experts_parallel ? Experts::Spread : Experts::OnEachRank);
    if (midway) {
      learner.restore(midway->learned);
      std::istringstream in(midway->balancers);
      layers.restore(in);
    } else {
      Parameters<float> p = learner.weights();
      initialise(shape_, seed_, p);
      for (Index l = 0; l < shape_.layers; ++l)
        if (p.routers.front().rows() == 1) layers[l].start(Layers::of_layer(seed_, l), shape_.width, router_of(p, l));
    }
    learner.agree();
    return learner;
  }

  void work(Comm const& comm, Layers const& layers, std::optional<Midway> const& midway) {
    Learner learner = start(comm, layers, midway);
    Parameters<float> const p = learner.weights();
    Batches batches(static_cast<std::size_t>(s_.micro_batches));
    auto const validated = [&](lab::Evaluation how, Index per_domain) {
      return validate(comm, corpus_, {comm, shape_, layers, s_, observer_}, p, how, per_domain, batches.front());
    };
    Index step = record_.steps();
    while (step < s_.steps && !stop_) {
      double const wall = wall_seconds();
      one_step(comm, layers, step, batches, learner);
      note_step(comm, tally_, corpus_.tokens() * comm.size() * s_.micro_batches, record_);
      record_.step_seconds += wall_seconds() - wall;
      ++step;
      bool const save = decide(comm, step);
      Index const every = std::max<Index>(1, s_.steps / validation_.checkpoints);
      if (step % every == 0 && step < s_.steps) { // also when stopped: a resumed run does not come by here again
        auto const results = validated(lab::Evaluation::AsTrained, validation_.midway);
        if (comm.rank() == 0) note_checkpoint(results, step, corpus_.tokens(), record_);
      }
      if (save) keep_state(comm, layers, learner);
    }
    if (step < s_.steps) return;
    for (Index l = 0; observer_.ended && l < layers.count(); ++l) observer_.ended(layers[l]);
    record_.finished = Finished::Yes;
    auto results = validated(lab::Evaluation::AsTrained, validation_.at_end);
    if (comm.rank() == 0) finish(results, corpus_.domain_count(), corpus_.tokens(), record_);
    if (layers.first().causal()) return;
    results = validated(lab::Evaluation::Causal, validation_.at_end);
    if (comm.rank() == 0) record_.row.perplexity_causal = perplexity_of(results, corpus_.tokens());
  }

  void one_step(Comm const& comm, Layers const& layers, Index step, Batches& batches, Learner& learner) {
    tally_.reset(s_.layers, s_.experts);
    Parameters<float> const p = learner.weights();
    Parameters<float> g = learner.gradients();
    Pass const pass{comm, shape_, layers, s_, observer_, step};
    double const cpu = thread_seconds();
    Layers::Seconds const before = layers.seconds();
    // Micro-batches are numbered through all ranks; the number also seeds the noise, if the logit map draws any.
    auto const number = [&](Index i) { return comm.rank() * s_.micro_batches + i; };
    auto const noise = [&](Index i) {
      return moebal::random::bits(seed_, std::uint64_t(step * comm.size() * s_.micro_batches + number(i)));
    };

    learner.begin_step();
    layers.begin_step(step, s_.micro_batches);
    bool const two_passes = layers.first().two_passes();
    for (Index i = 0; i < s_.micro_batches; ++i) {
      Activations<float>& a = batches[std::size_t(i)];
      tally_.loss += forward(pass, i, corpus_.training(seed_, step, number(i)), noise(i), p, a, tally_);
      if (!two_passes) backward(pass, i, noise(i), p, a, g);
    }
    layers.all_routed();
    for (Index i = 0; two_passes && i < s_.micro_batches; ++i)
      backward(pass, i, noise(i), p, batches[std::size_t(i)], g);
    learner.end_step(adam_, learning_rate(adam_.rate, step, s_.steps), step);
    // After the gradients' way: what a bias waits for travels meanwhile. Rates fall linearly to zero over the run.
    layers.end_step(float(s_.steps - step) / float(s_.steps));

    Layers::Seconds const after = layers.seconds();
    tally_.cpu_seconds = thread_seconds() - cpu;
    tally_.routing_seconds = after.routing - before.routing;
    tally_.balancer_seconds = after.balancer - before.balancer;
    record_.balancer_wall_seconds += after.balancer_wall - before.balancer_wall;
  }

  /// After `done` steps: rank 0 decides whether to stop and whether to save, and tells the others.
  bool decide(Comm const& comm, Index done) {
    std::int64_t decision[2]{0, 0};
    if (comm.rank() == 0) {
      bool const stop = observer_.stepped(record_);
      bool const due = observer_.save_every > 0 ? done % observer_.save_every == 0 : wall_seconds() - saved_at_ > 15;
      decision[0] = stop;
      decision[1] = done < s_.steps && (stop || due);
    }
    from_rank_0(comm, 2, decision);
    stop_ = decision[0] != 0;
    return decision[1] != 0;
  }

  void keep_state(Comm const& comm, Layers const& layers, Learner const& learner) {
    Whole learned = learner.whole();
    if (comm.rank() != 0) return;
    std::ostringstream balancers;
    layers.save(balancers); // what balances has the same state on all ranks
    observer_.save({.record = record_, .learned = std::move(learned), .balancers = balancers.str()});
    saved_at_ = wall_seconds();
  }

  Corpus const& corpus_;
  Settings s_;
  ModelShape shape_ = s_.model();
  Observer observer_;
  Validation validation_;
  Adam adam_;
  std::uint64_t seed_ = 0;
  Tally tally_;
  Record record_;
  bool stop_ = false;
  double saved_at_ = 0;
};

/// One run by R ranks that are threads of this process. `observer` is called by rank 0; what it has for every rank, by
/// all at the same time.
inline Record train_on_threads(Corpus const& corpus, Settings const& settings, Observer const& observer,
                               Validation validation, Contestant const& contestant, std::uint64_t seed,
                               std::optional<Midway> const& midway = {}) {
  Record record;
  on_threads(settings.ranks, default_timeout, [&](Comm const& comm) {
    Record mine = Trainer(corpus, settings, observer, validation).run(comm, contestant, seed, midway);
    if (comm.rank() == 0) record = std::move(mine);
  });
  return record;
}

} // namespace train
