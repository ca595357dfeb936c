// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "text.hpp"

#include "../train_moe_lm/trainer.hpp"

namespace lab {

namespace {

/// What one rank notes while the model trains.
struct Notes {
  Judge judge;
  Tally tally;
  std::vector<double> micro; // [steps] sum over its micro-batches
  Traffic traffic;
  train::Matrix<float> reference;
};

} // namespace

Result run_text(Row const& row, train::Corpus const& corpus, TextSetting const& setting, double capacity,
                std::uint64_t seed) {
  train::Settings const& s = setting.model;
  Result r;
  r.name = row.info.name;
  r.seed = seed;
  if (row.facts.top_k > s.experts) r.skipped = "needs " + std::to_string(row.facts.top_k) + " experts or more";
  if (!r.skipped.empty()) return r;

  Index const tail = std::max<Index>(1, s.steps / 10);
  std::vector<Notes> notes(static_cast<std::size_t>(s.ranks));
  for (Notes& n : notes) n.micro.resize(std::size_t(s.steps));
  train::Observer observer;
  observer.routed = [&](Index step, train::LayerActivations<float> const& a, Weights router, Method& method) {
    Notes& mine = notes[std::size_t(method.comm().rank())];
    Ids const ids = a.routing.expert_ids();
    double const before = mine.tally.micro;
    mine.judge.count(method, ids, a.routing.weights(), s.experts, mine.tally);
    mine.micro[std::size_t(step)] += mine.tally.micro - before;
    if (step < s.steps - tail) return;
    mine.reference.resize(a.logits.rows(), a.logits.cols());
    method.reference(moebal::as_matrix(a.n), 0, router, moebal::as_matrix(mine.reference));
    mine.judge.compare(method, ids, moebal::as_matrix(std::as_const(mine.reference)), mine.tally);
  };
  observer.ended = [&](Method const& method) {
    notes[std::size_t(method.comm().rank())].traffic = traffic_of(method.comm());
  };
  auto const make_method = [&](Make make, Comm comm) {
    make.capacity = capacity; // counted: the model drops nothing
    auto method = row.make(make, comm);
    forget_traffic(comm);
    return method;
  };
  train::Record record;
  try {
    record = train::train_on_threads(corpus, s, observer, setting.validation, {r.name, make_method}, seed);
  } catch (moebal::ShapeError const& error) {
    r.skipped = error.what();
    return r;
  }

  Tally sum;
  std::vector<double> micro(std::size_t(s.steps), 0);
  for (Notes const& n : notes) {
    sum.add(n.tally);
    for (std::size_t i = 0; i < micro.size(); ++i) micro[i] += n.micro[i] / double(s.ranks * s.micro_batches);
  }
  r.max_vio = record.max_vio;
  summarise(micro, sum, setting.threshold, r);
  double const steps = double(s.steps);
  r.bytes = double(notes.front().traffic.bytes) / steps, r.calls = double(notes.front().traffic.calls) / steps;
  r.ns_per_token = 1e9 * record.routing_seconds / (steps * double(corpus.tokens() * s.ranks * s.micro_batches));
  r.model = record.row;
  return r;
}

} // namespace lab
