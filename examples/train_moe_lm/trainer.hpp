// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One rank of R that train one model with one strategy. It shares no memory with the others: gradients, weights, counts
// and decisions travel by the verbs of its communicator, so ranks may be threads or processes, and the numbers are the
// same.

#include "launch.hpp"
#include "observer.hpp"
#include "sharded.hpp"
#include "tally.hpp"
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
    stop_ = false;
    saved_at_ = wall_seconds();
    lab::Make make = lab::make_for(s_.experts, comm.size(), corpus_.frequencies());
    make.coefficient = s_.alpha, make.rate = s_.rate, make.seed = seed;
    if (s_.capacity > 0) make.capacity = s_.capacity;
    auto const method = contestant.make(lab::on_rank(make, comm.rank()), lab::recorded(comm));
    work(comm, *method, midway);
    return std::move(record_);
  }

  /// Whether rank 0 asked for a stop, be it after the last step.
  bool stopped() const { return stop_; }

private:
  using Method = lab::Method;
  using Batches = std::vector<Activations<float>>;

  Sharded start(Comm const& comm, Method& method, std::optional<Midway> const& midway) {
    shape_.top_k = method.top_k();
    shape_.router = method.parameters(shape_.width);
    record_.computing = method.zeros().ffn;
    Index const n = parameter_count(shape_);
    Sharded learned(comm, n);
    if (midway) {
      for (auto const* v : {&midway->weights, &midway->first_moments, &midway->second_moments})
        if (Index(v->size()) != n)
          throw StateError("the saved weights do not fit the model: needed " + std::to_string(n) + ", had " +
                           std::to_string(v->size()));
      std::copy(midway->weights.begin(), midway->weights.end(), learned.weights());
      learned.restore(midway->first_moments, midway->second_moments);
      if (!midway->balancer.empty()) {
        std::istringstream in(midway->balancer);
        method.restore(in);
      }
    } else {
      initialise(shape_, seed_, learned.weights());
      Parameters<float> p(shape_, learned.weights());
      if (p.router.rows() == 1) method.start(seed_, shape_.width, router_of(p));
    }
    learned.agree();
    return learned;
  }

  void work(Comm const& comm, Method& method, std::optional<Midway> const& midway) {
    Sharded learned = start(comm, method, midway);
    Parameters<float> const p(shape_, learned.weights());
    Batches batches(static_cast<std::size_t>(s_.micro_batches));
    auto const validated = [&](lab::Evaluation how, Index per_domain) {
      return validate(comm, corpus_, shape_, p, method, how, s_.capacity, per_domain, batches.front());
    };
    Index step = record_.steps();
    while (step < s_.steps && !stop_) {
      double const wall = wall_seconds();
      one_step(comm, method, step, batches, learned);
      note_step(comm, tally_, corpus_.tokens() * comm.size() * s_.micro_batches, record_);
      record_.step_seconds += wall_seconds() - wall;
      ++step;
      bool const save = decide(comm, step);
      Index const every = std::max<Index>(1, s_.steps / validation_.checkpoints);
      if (step % every == 0 && step < s_.steps) { // also when stopped: a resumed run does not come by here again
        auto const results = validated(lab::Evaluation::AsTrained, validation_.midway);
        if (comm.rank() == 0) note_checkpoint(results, step, corpus_.tokens(), record_);
      }
      if (save) keep_state(comm, method, learned);
    }
    if (step < s_.steps) return;
    if (observer_.ended) observer_.ended(method);
    record_.finished = Finished::Yes;
    auto results = validated(lab::Evaluation::AsTrained, validation_.at_end);
    if (comm.rank() == 0) finish(results, corpus_.domain_count(), corpus_.tokens(), record_);
    if (method.causal()) return;
    results = validated(lab::Evaluation::Causal, validation_.at_end);
    if (comm.rank() == 0) record_.row.perplexity_causal = perplexity_of(results, corpus_.tokens());
  }

  void one_step(Comm const& comm, Method& method, Index step, Batches& batches, Sharded& learned) {
    tally_.reset(s_.experts);
    Parameters<float> const p(shape_, learned.weights());
    Parameters<float> g(shape_, learned.gradients());
    double const cpu = thread_seconds();
    double const routing = method.routing_seconds(), balancing = method.balancer_seconds();

    learned.begin_step();
    method.begin_step(step, s_.micro_batches);
    for (Index i = 0; i < s_.micro_batches; ++i) {
      Activations<float>& a = batches[std::size_t(i)];
      embed(shape_, p, corpus_.training(seed_, step, comm.rank() * s_.micro_batches + i), a);
      prepare(method, s_.experts, a);
      method.forward(view(a.n), draw(comm, step, i), router_of(p), view(a.logits));
      if (step == 0 && i == 0) method.measure_statistics(view(a.logits), a.tags, a.routing.view());
      method.route(i, view(a.logits), a.tags, a.routing.view());
      auto const counts = method.counts();
      for (Index e = 0; e < counts.size(); ++e) tally_.load[std::size_t(e)] += counts[e];
      tally_.dropped += dispatch(method, s_.capacity, a);
      if (observer_.routed) observer_.routed(step, a, router_of(p), method);
      tally_.loss += predict(shape_, p, a);
      if (!method.two_passes()) backward(comm, method, step, i, p, a, g);
    }
    method.all_routed();
    if (method.two_passes())
      for (Index i = 0; i < s_.micro_batches; ++i) backward(comm, method, step, i, p, batches[std::size_t(i)], g);
    method.end_step(float(s_.steps - step) / float(s_.steps)); // rates fall linearly to zero over the run
    learned.end_step(adam_, learning_rate(adam_.rate, step, s_.steps), step);

    tally_.cpu_seconds = thread_seconds() - cpu;
    tally_.routing_seconds = method.routing_seconds() - routing;
    tally_.balancer_seconds = method.balancer_seconds() - balancing;
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
    return moebal::random::bits(seed_,
                                std::uint64_t((step * comm.size() + comm.rank()) * s_.micro_batches + i));
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

  void keep_state(Comm const& comm, Method const& method, Sharded const& learned) {
    Moments<float> const moments = learned.all_moments();
    if (comm.rank() != 0) return;
    std::ostringstream balancer;
    method.save(balancer); // what balances has the same state on all ranks
    auto const copy = [](Vector<float> const& v) { return std::vector<float>(v.data(), v.data() + v.size()); };
    observer_.save({.record = record_,
                    .weights = {learned.weights(), learned.weights() + learned.size()},
                    .first_moments = copy(moments.first),
                    .second_moments = copy(moments.second),
                    .balancer = balancer.str()});
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
