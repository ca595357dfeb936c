// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "run.hpp"

#include <moebal/comm/threads.hpp>

#include <map>
#include <mutex>

namespace lab {

Source::Source(moebal::Trace const& trace) : trace_(&trace) {
  std::map<Index, Index> steps; // recorded number -> place
  for (moebal::TraceBatch const& b : trace.batches()) {
    steps.emplace(b.step, 0);
    ranks_ = std::max<Index>(ranks_, b.rank + 1);
    micro_batches_ = std::max<Index>(micro_batches_, b.micro_batch + 1);
  }
  for (auto& [number, place] : steps) place = steps_++;
  batches_.assign(std::size_t(steps_ * ranks_ * micro_batches_), nullptr);
  for (moebal::TraceBatch const& b : trace.batches())
    batches_[std::size_t((steps[b.step] * ranks_ + b.rank) * micro_batches_ + b.micro_batch)] = &b;
  if (std::find(batches_.begin(), batches_.end(), nullptr) != batches_.end() || steps_ == 0)
    throw StateError("moebal: batches of a trace: needed one for each step, rank and micro-batch (" +
                     std::to_string(batches_.size()) + "), had " + std::to_string(trace.batches().size()));
}

std::vector<std::int64_t> Source::frequencies() const {
  if (inputs_) return inputs_->frequencies();
  std::vector<std::int64_t> counts(1, 0);
  for (auto const* b : batches_)
    for (std::int64_t const tag : b->tags) {
      if (tag < 0 || tag >= (1 << 24)) continue; // no token id: gets no expert of a hash layer
      if (tag >= std::int64_t(counts.size())) counts.resize(std::size_t(tag) + 1, 0);
      ++counts[std::size_t(tag)];
    }
  return counts;
}

Make make_of(Source const& source, Setting const& setting) {
  Make m = make_for(source.experts(), source.ranks(), source.frequencies());
  m.coefficient = setting.coefficient;
  m.rate = setting.rate > 0 ? setting.rate : 2.0 / double(std::max<Index>(1, source.steps()));
  m.capacity = setting.capacity;
  m.seed = source.seed();
  return m;
}

namespace {

/// Adam (Kingma, Ba 2014).
class Adam {
public:
  /// The last `offsets` weights move five times as fast.
  void step(Numbers const& gradient, double rate, std::size_t offsets, Numbers& weights) {
    first_.resize(weights.size()), second_.resize(weights.size());
    ++n_;
    double const m_scale = rate / (1 - std::pow(0.9, n_)), v_scale = 1 / (1 - std::pow(0.98, n_));
    for (std::size_t i = 0; i < weights.size(); ++i) {
      first_[i] = 0.9f * first_[i] + 0.1f * gradient[i];
      second_[i] = 0.98f * second_[i] + 0.02f * gradient[i] * gradient[i];
      double const faster = i + offsets >= weights.size() ? 5 : 1;
      weights[i] -= float(faster * m_scale * double(first_[i]) / (std::sqrt(v_scale * double(second_[i])) + 1e-8));
    }
  }

private:
  Numbers first_, second_;
  int n_ = 0;
};

/// One rank of a run.
class Worker {
public:
  Worker(Row const& row, Source const& source, Setting const& setting, Make make,
         moebal::Communicator<moebal::AnyBackend> const& comm, std::uint64_t seed, moebal::TraceWriter* record,
         std::mutex& writing)
      : source_(source), setting_(setting), comm_(comm), seed_(seed), record_(record), writing_(writing) {
    method_ = row.make(on_rank(make, comm.rank()), recorded(comm));
    forget_traffic(method_->comm());
    Index const width = source.inputs() ? source.inputs()->shape().width() : 0;
    weights_.resize(std::size_t(source.inputs() ? method_->parameters(width) : 0) + std::size_t(make.experts));
    if (source.inputs())
      method_->start(moebal::random::bits(seed, 77), width,
                     std::span(weights_).first(weights_.size() - std::size_t(make.experts)));
    start_ = weights_;
    batches_.resize(std::size_t(source.micro_batches()));
  }

  double seconds() const { return method_->routing_seconds(); }
  Index computing() const { return method_->zeros().ffn; }
  Index tokens() const { return tokens_; }
  Traffic traffic() const { return traffic_of(method_->comm()); }

  Tally step(Index step, bool judge) {
    Index const all = source_.micro_batches();
    Tally tally;
    gradient_.assign(weights_.size(), 0);
    method_->begin_step(step, all);
    bool const learns = method_->learns();
    for (Index g = 0; g < all; ++g) {
      Batch& b = batches_[std::size_t(g)];
      prepare(step, g, weights_, Noise::Drawn, b.logits, b);
      if (record_) write(step, g, b);
      method_->route(g, view(b), tags(b), {routed(b).ids, routed(b).weights});
      tokens_ += b.tokens;
      count(step, g, b, judge, tally);
      if (learns && !method_->two_passes()) learn(step, g, b);
    }
    method_->all_routed();
    if (learns && method_->two_passes())
      for (Index g = 0; g < all; ++g) learn(step, g, batches_[std::size_t(g)]);
    // Rates fall in a line, so that what can settle does; not where the skew goes on moving.
    bool const settles = source_.inputs() && source_.inputs()->shape().skew != Skew::Drift;
    double const left = settles ? double(source_.steps() - step) / double(source_.steps()) : 1;
    method_->end_step(float(left));
    if (learns) {
      comm_.all_reduce_sum(gradient_); // the mean over ranks is the gradient; Adam does not see the factor
      adam_.step(gradient_, 2.0 / double(source_.steps()) * left, std::size_t(source_.experts()), weights_);
    }
    return tally;
  }

private:
  struct Batch {
    Index tokens = 0;
    Numbers logits, weights;
    std::vector<ExpertId> ids;
    std::vector<Index> tags;
  };
  struct Routed {
    MatrixView<ExpertId> ids;
    Out weights;
  };
  Routed routed(Batch& b) const {
    Index const k = method_->top_k();
    b.ids.resize(std::size_t(b.tokens * k)), b.weights.resize(std::size_t(b.tokens * k));
    return {{b.ids.data(), b.tokens, k}, {b.weights.data(), b.tokens, k}};
  }
  Out view(Batch& b) const { return {b.logits.data(), b.tokens, source_.experts()}; }
  VectorView<Index const> tags(Batch const& b) const { return b.tags; }
  std::uint64_t draw(Index step, Index g) const {
    return moebal::random::bits(seed_,
                                std::uint64_t((step * comm_.size() + comm_.rank()) * source_.micro_batches() + g));
  }

  enum class Noise { Drawn, None };
  /// Logits by the given weights: the map's, then an offset an expert.
  void prepare(Index step, Index g, Numbers const& weights, Noise noise, Numbers& logits, Batch& b) {
    Index const experts = source_.experts(), rank = comm_.rank();
    if (Inputs const* in = source_.inputs()) {
      In const x = in->x(step, rank, g);
      b.tokens = x.rows();
      logits.resize(std::size_t(b.tokens * experts));
      if (noise == Noise::Drawn)
        method_->forward(x, draw(step, g), weights, {logits.data(), b.tokens, experts});
      else
        method_->reference(x, draw(step, g), weights, {logits.data(), b.tokens, experts});
      auto const clusters = in->clusters(step, rank, g);
      b.tags.assign(clusters.begin(), clusters.end());
      for (Index& tag : b.tags)
        if (method_->tags() == Tags::Domain) tag = tag * domains / in->shape().clusters();
    } else {
      auto const& recorded = source_.batch(step, rank, g);
      b.tokens = recorded.tokens;
      logits = recorded.logits;
      if (noise == Noise::Drawn) method_->over(draw(step, g), {logits.data(), b.tokens, experts});
      b.tags.assign(recorded.tags.begin(), recorded.tags.end());
      for (Index& tag : b.tags)
        if (method_->tags() == Tags::Domain) tag = tag < 0 ? -1 : tag % domains;
    }
    if (noise == Noise::Drawn && method_->deaf()) return;
    float const* const bias = weights.data() + weights.size() - std::size_t(experts);
    for (Index t = 0; t < b.tokens; ++t)
      for (Index e = 0; e < experts; ++e)
        logits[std::size_t(t * experts + e)] += bias[e] + (source_.inputs() ? source_.inputs()->offset(step, e) : 0.0f);
  }

  void learn(Index step, Index g, Batch& b) {
    Index const experts = source_.experts();
    d_logits_.resize(b.logits.size());
    Out const d(d_logits_.data(), b.tokens, experts);
    method_->backward(g, view(b), tags(b), routed(b).ids, MatrixView<float const>{}, d);
    Batch scratch; // where the router started
    prepare(step, g, start_, Noise::None, reference_, scratch);
    float const pull = float(setting_.anchor / double(std::max<Index>(1, b.tokens * source_.micro_batches())));
    Numbers p(static_cast<std::size_t>(experts)), q(p.size());
    for (Index t = 0; t < b.tokens; ++t) {
      softmax(view(b), t, p.data());
      softmax({reference_.data(), b.tokens, experts}, t, q.data());
      for (Index e = 0; e < experts; ++e) d(t, e) += pull * (p[std::size_t(e)] - q[std::size_t(e)]);
    }
    std::size_t const own = weights_.size() - std::size_t(experts);
    if (Inputs const* in = source_.inputs()) {
      // What the map wrote, without the offsets.
      In const x = in->x(step, comm_.rank(), g);
      clean_.resize(b.logits.size());
      Out const z(clean_.data(), b.tokens, experts);
      method_->forward(x, draw(step, g), weights_, z);
      method_->backward_map(x, draw(step, g), weights_, z, d, Slopes(gradient_).first(own), {});
    }
    for (Index t = 0; t < b.tokens; ++t)
      for (Index e = 0; e < experts; ++e) gradient_[own + std::size_t(e)] += d(t, e);
  }

  void count(Index step, Index g, Batch& b, bool judge, Tally& tally) {
    Index const experts = source_.experts(), k = method_->top_k();
    Ids const ids(b.ids.data(), b.tokens, k);
    judge_.count(*method_, ids, {b.weights.data(), b.tokens, k}, experts, tally);
    if (!judge) return;
    Batch scratch;
    prepare(step, g, start_, Noise::None, reference_, scratch);
    judge_.compare(*method_, ids, {reference_.data(), b.tokens, experts}, tally);
  }

  void write(Index step, Index g, Batch const& b) {
    moebal::TraceBatch out;
    out.step = step, out.rank = comm_.rank(), out.micro_batch = g, out.tokens = b.tokens;
    out.logits = b.logits;
    out.tags.assign(b.tags.begin(), b.tags.end());
    std::lock_guard const lock(writing_);
    record_->write(out);
  }

  Source const& source_;
  Setting const& setting_;
  moebal::Communicator<moebal::AnyBackend> comm_;
  std::uint64_t seed_;
  moebal::TraceWriter* record_;
  std::mutex& writing_;
  std::unique_ptr<Method> method_;
  Numbers weights_, start_, gradient_, d_logits_, reference_, clean_; // weights: the map's, then an offset an expert
  std::vector<Batch> batches_;
  Judge judge_;
  Adam adam_;
  Index tokens_ = 0;
};

double mean(std::vector<double> const& values, std::size_t first, std::size_t end) {
  first = std::min(first, values.size());
  return end > first
             ? std::accumulate(values.begin() + std::ptrdiff_t(first), values.begin() + std::ptrdiff_t(end), 0.0) /
                   double(end - first)
             : 0;
}

} // namespace

void summarise(std::vector<double> const& micro, Tally const& sum, double threshold, Result& r) {
  std::size_t const n = r.max_vio.size(), few = std::max<std::size_t>(1, n / 40),
                    tail = std::max<std::size_t>(1, n / 10);
  double const parts[] = {0.1, 0.25, 0.5};
  for (int i = 0; i < 3; ++i) {
    std::size_t const at = std::size_t(parts[i] * double(n));
    r.max_vio_at[i] = mean(r.max_vio, at, std::min(n, at + few));
  }
  r.max_vio_end = mean(r.max_vio, n - tail, n);
  r.max_vio_micro = mean(micro, n - tail, n);
  for (std::size_t at = 0; at + few <= n && r.balanced_after < 0; ++at)
    if (mean(r.max_vio, at, at + few) <= threshold) r.balanced_after = Index(at);
  r.drop_rate = moebal::stats::drop_rate(sum.routed - sum.kept, sum.routed);
  r.moved = sum.judged == 0 ? 0 : double(sum.moved) / double(sum.judged);
  r.mass = sum.full_mass == 0 ? 0 : sum.mass / sum.full_mass;
}

Result run(Row const& row, Source const& source, Setting const& setting, moebal::TraceWriter* record) {
  Result r;
  r.name = row.info.name;
  if (!source.inputs() && !row.facts.on_given_logits) r.skipped = "needs the tokens, and a trace has logits only";
  if (row.facts.top_k > source.experts()) r.skipped = "needs " + std::to_string(row.facts.top_k) + " experts or more";
  Make const make = make_of(source, setting);
  std::uint64_t const seed = r.seed = source.seed();
  Index const ranks = source.ranks(), steps = source.steps(), tail = std::max<Index>(1, steps / 10);
  std::vector<Tally> tallies(static_cast<std::size_t>(ranks));
  std::vector<double> micro, seconds(tallies.size());
  std::vector<Index> tokens(tallies.size());
  Traffic traffic;
  Tally sum;
  if (r.skipped.empty() && row.tags(make) != Tags::None && !source.has_tags())
    r.skipped = "needs tags, and the trace has none";
  if (!r.skipped.empty()) return r;
  std::mutex writing;
  moebal::run_ranks(ranks, [&](moebal::Communicator<moebal::Threads> threads) {
    moebal::Communicator const comm(moebal::AnyBackend(threads.backend()));
    Worker worker(row, source, setting, make, comm, seed, record, writing);
    std::size_t const me = std::size_t(comm.rank());
    for (Index step = 0; step < steps; ++step) {
      tallies[me] = worker.step(step, step >= steps - tail);
      comm.barrier();
      if (me == 0) {
        Tally of_step;
        for (Tally const& t : tallies) of_step.add(t);
        r.max_vio.push_back(of_step.max_vio(worker.computing()));
        micro.push_back(of_step.micro / double(ranks * source.micro_batches()));
        sum.add(of_step);
      }
      comm.barrier();
    }
    seconds[me] = worker.seconds(), tokens[me] = worker.tokens();
    if (me == 0) traffic = worker.traffic();
  });

  summarise(micro, sum, setting.threshold > 0 ? setting.threshold : 0.1, r);
  r.bytes = double(traffic.bytes) / double(steps), r.calls = double(traffic.calls) / double(steps);
  r.ns_per_token = 1e9 * std::accumulate(seconds.begin(), seconds.end(), 0.0) /
                   double(std::max<Index>(1, std::accumulate(tokens.begin(), tokens.end(), Index(0))));
  return r;
}

} // namespace lab
