// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "study.hpp"

#include "spread.hpp"

#include "../train_moe_lm/trainer.hpp"

#include <moebal/plan/traffic.hpp>
#include <moebal/stats/metrics.hpp>

namespace locality {

namespace {

constexpr double tokens = 256; // of a micro-batch

/// What reaches experts in the exchanges at the end of a run: first of one rank, then (on each rank) of all.
struct Exchanges {
  std::vector<moebal::Traffic> traffic;
  std::vector<std::vector<std::int64_t>> load; // [exchanges] [E]
  std::size_t at = 0;

  Exchanges(moebal::Topology const& topology, Index number)
      : traffic(std::size_t(number), moebal::Traffic(topology)),
        load(std::size_t(number), std::vector<std::int64_t>(std::size_t(topology.experts()), 0)) {}

  /// The kept choices [T, K] of a rank.
  void add(Index rank, moebal::MatrixView<moebal::ExpertId const> ids) {
    traffic[at].add(rank, ids);
    for (Index p = 0; p < ids.rows() * ids.cols(); ++p)
      if (ids.data()[p] != moebal::no_expert) ++load[at][std::size_t(ids.data()[p])];
    ++at;
  }
  /// Collective.
  template <class C> void share(C const& comm) {
    for (moebal::Traffic& t : traffic) t.all_reduce_sum(comm);
    for (auto& l : load) comm.all_reduce_sum(l);
  }
};

/// Of the ranks that own experts: the fullest beside their mean.
double rank_vio(moebal::Topology const& topology, moebal::VectorView<std::int64_t const> load) {
  std::vector<std::int64_t> of_rank;
  for (Index r = 0; r < topology.ranks(); ++r) {
    std::int64_t sum = 0;
    for (moebal::ExpertId const e : topology.experts_of(r)) sum += load[e];
    if (topology.experts_of(r).size() > 0) of_rank.push_back(sum);
  }
  return moebal::stats::max_vio(of_rank);
}

void add(moebal::cost::StepTime const& more, double weight, Times& sum) {
  sum.compute += weight * more.compute, sum.dispatch += weight * more.dispatch, sum.combine += weight * more.combine;
}

void summarise(moebal::Topology const& topology, Exchanges const& seen, Setting const& setting, Result& r) {
  moebal::cost::Expert const expert{.width = setting.model.model().width,
                                    .hidden = setting.model.model().expert_width,
                                    .element_bytes = sizeof(float)};
  // On the paper's servers a row stands for as many as make a micro-batch of 4096 tokens a rank.
  std::int64_t const scale = 16;
  double const number = double(seen.traffic.size()), steps = number / double(setting.model.micro_batches);
  moebal::TrafficSums sums;
  for (std::size_t i = 0; i < seen.traffic.size(); ++i) {
    auto const rows = seen.traffic[i].rows();
    std::vector<std::int64_t> const& load = seen.load[i];
    auto const more = seen.traffic[i].sums();
    sums.inside_rank += more.inside_rank, sums.inside_node += more.inside_node,
        sums.between_nodes += more.between_nodes;
    r.rank_vio += rank_vio(topology, load) / number;
    if (setting.machine) add(step_time(*setting.machine, topology, expert, load, rows), 1 / steps, r.here);
    std::vector<std::int64_t> many(rows.data(), rows.data() + rows.rows() * rows.cols()), many_load(load);
    for (std::int64_t& n : many) n *= scale;
    for (std::int64_t& n : many_load) n *= scale;
    add(step_time(ascend::machine(setting.ranks_per_node), topology, ascend::expert, many_load,
                  {many.data(), rows.rows(), rows.cols()}),
        1 / steps, r.ascend);
  }
  double const kept = double(sums.total());
  r.dropped = 1 - kept / (tokens * double(setting.model.ranks) * number);
  r.in_rank = double(sums.inside_rank) / kept;
  r.in_node = double(sums.inside_rank + sums.inside_node) / kept;
  r.bytes_between = expert.row_bytes() * double(sums.between_nodes) / steps;
}

/// The experts of two bytes, each domain as long as any other.
std::shared_ptr<moebal::HashTable const> pairs_table(std::vector<train::Domain> const& domains, Index experts) {
  std::vector<std::int64_t> frequency(1 << 16, 0);
  for (train::Domain const& domain : domains) {
    std::vector<std::int64_t> count(frequency.size(), 0);
    for (std::size_t i = 1; i < domain.text.size(); ++i)
      ++count[std::size_t(256 * std::uint8_t(domain.text[i - 1]) + std::uint8_t(domain.text[i]))];
    for (std::size_t v = 0; v < count.size(); ++v)
      frequency[v] += count[v] * 100'000'000 / std::int64_t(domain.text.size());
  }
  return std::make_shared<moebal::HashTable>(moebal::HashTable::balanced(frequency, 1, experts));
}

} // namespace

Result run(train::Processes& processes, Strategy const& strategy, std::vector<train::Domain> const& domains,
           Setting const& setting, std::uint64_t seed) {
  train::Settings const& s = setting.model;
  moebal::Topology const topology = spread(s.experts, s.ranks, setting.ranks_per_node);
  train::Corpus const corpus(
      domains, 4,
      {.nodes = topology.nodes(), .node_batches = setting.ranks_per_node * s.micro_batches, .share = setting.share});
  auto const contestant = strategy.contestant({topology, setting.locality, pairs_table(domains, s.experts)});
  Index const tail = std::max<Index>(1, s.steps / 10), first = s.steps - tail;

  Result r;
  r.name = strategy.name, r.seed = seed;
  r.ranks = s.ranks, r.ranks_per_node = setting.ranks_per_node, r.experts = s.experts, r.steps = s.steps;
  r.share = setting.share, r.locality = setting.locality;
  processes.each_rank(s.ranks, [&](train::Comm const& comm) {
    Exchanges seen(topology, tail * s.micro_batches);
    train::Observer observer;
    observer.routed = [&](Index step, train::LayerActivations<float> const& a, lab::Weights, lab::Method&) {
      if (step < first) return;
      auto const ids = a.routing.expert_ids();
      seen.add(comm.rank(), s.capacity > 0 ? moebal::MatrixView(a.kept_ids.data(), ids.rows(), ids.cols()) : ids);
    };
    train::Record const record = train::Trainer(corpus, s, observer, setting.validation).run(comm, contestant, seed);
    seen.share(comm);
    if (comm.rank() != 0) return;
    r.max_vio = record.row.max_vio_batch, r.dead = record.row.dead_experts;
    r.perplexity = record.row.perplexity, r.perplexity_causal = record.row.perplexity_causal;
    r.specialisation = record.row.specialisation_bits;
    summarise(topology, seen, setting, r);
  });
  return r;
}

} // namespace locality
