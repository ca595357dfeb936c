// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What balancing at global scope costs of a step of the text model, over MPI:
//
//   mpirun -n R bench_step_share [--layers L] [--rounds N] [--text FOLDER]
//
// One run for each rule. Every few steps the balancers sum over the ranks in another way (in_turn.hpp), so all ways see
// the same machine, whatever else it does: not at all; the layers in one message, started when the last is ready; a
// message a layer, started when it is ready; a message a layer that is waited for at once. Medians over the rounds, in
// the mean of the ranks, of an optimizer step:
//   step     wall time, in milliseconds
//   ratio    of it to the steps without a message in the same round, and its quartiles
//   collect  processor time of the routers, for the statistics that the rule reads, in microseconds
//   own      processor time of the balancers, in microseconds
//   sending  wall time of starting messages and of taking those that had come, in microseconds
//   waiting  wall time of waiting for those that had not, in microseconds: for the network, and for ranks that are late
//   share    own and sending, and then these with collecting, of the processor time of the step without waiting

#include "in_turn.hpp"
#include "timed.hpp"

#include "../../examples/train_moe_lm/launch_mpi.hpp"
#include "../../examples/train_moe_lm/table.hpp"
#include "../../examples/train_moe_lm/texts.hpp"
#include "../../examples/train_moe_lm/trainer.hpp"

#include <moebal/balance/loss_free_bias.hpp>
#include <moebal/balance/switch_loss.hpp>
#include <moebal/gate/softmax.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <iostream>

namespace bench {

using train::Comm;

constexpr std::array ways{"no message", "one message, started", "one a layer, started", "one a layer, blocking"};
std::vector<AnyBackend> backends_of_ways(Comm const& comm, Index layers) {
  std::vector<AnyBackend> all{AnyBackend(moebal::Self{})};
  for (auto const messages :
       {train::BalancerMessages::Packed, train::BalancerMessages::ByLayer, train::BalancerMessages::Blocking})
    all.push_back(train::balancers_comm(comm, messages, layers).backend());
  return all;
}

constexpr Index steps_a_turn = 3; // the last of them is not looked at: it ends in the first micro-batch of the next

/// Seconds, on one rank.
struct Samples {
  double step = 0, work = 0, collecting = 0, own = 0, sending = 0, waiting = 0; // of one step in the mean
};
struct Options {
  train::Settings settings{};
  Index rounds = 40;
};

/// The samples of each way in each round.
using Rounds = std::vector<std::array<Samples, ways.size()>>;

/// Trains with the rule; `sums`: of one layer in one step.
template <class At> Rounds run(At rule, Index sums, train::Corpus const& corpus, Options const& o, Comm const& comm) {
  using namespace moebal;
  Timed const timed(comm.backend());
  InTurn const in_turn(comm.backend(), backends_of_ways(Comm(AnyBackend(timed)), o.settings.layers),
                       sums * o.settings.layers * steps_a_turn);
  lab::Comm const talk = lab::recorded(Comm(AnyBackend(in_turn)));
  lab::Recipe<TopK<2>, Softmax, lab::Balance<At>> const plan{
      .gate = {.normalise = Normalise::OverChosen, .single_choice = SingleChoice::Raw}, .balance = {{rule}}};
  std::vector<lab::Method const*> methods; // [L]
  train::Contestant const contestant{"", [&](lab::Make const& make, lab::Comm const&) {
                                       using Plan = std::remove_const_t<decltype(plan)>;
                                       auto method = std::make_unique<lab::MethodOf<Plan>>(plan, make, talk);
                                       methods.push_back(method.get());
                                       return method;
                                     }};
  train::Settings settings = o.settings;
  settings.steps = (o.rounds + 1) * steps_a_turn * Index(ways.size()) + 1; // in the first round memory gets its size
  Rounds rounds(std::size_t(o.rounds + 1));
  struct Clock {
    double wall = train::wall_seconds(), cpu = train::thread_seconds(), collecting = 0, balancer = 0;
    Spent spent{};
  } last;
  Index seen = -1;
  train::Observer observer;
  observer.routed = [&](Index step, auto const&...) {
    if (step == seen) return; // the first layer and micro-batch of the step
    Clock now{.spent = timed.spent()};
    for (auto const* method : methods) {
      now.collecting += method->collecting_seconds();
      now.balancer += method->balancer_seconds();
    }
    Index const turn = seen / steps_a_turn; // of the step that has ended
    if (seen >= 0 && step / steps_a_turn == turn) {
      Samples& s = rounds[std::size_t(turn) / ways.size()][std::size_t(turn) % ways.size()];
      constexpr double part = 1.0 / (steps_a_turn - 1);
      s.step += part * (now.wall - last.wall);
      s.work += part * (now.cpu - last.cpu - (now.spent.waiting_cpu - last.spent.waiting_cpu));
      double const collecting = now.collecting - last.collecting;
      s.collecting += part * collecting;
      s.own += part * (now.balancer - last.balancer - collecting - (now.spent.cpu - last.spent.cpu));
      s.sending += part * (now.spent.sending - last.spent.sending);
      s.waiting += part * (now.spent.waiting - last.spent.waiting);
    }
    seen = step, last = now;
  };
  train::Trainer(corpus, settings, observer, {.at_end = 1, .midway = 1, .checkpoints = 1}).run(comm, contestant, 1);
  rounds.erase(rounds.begin());
  return rounds;
}

/// Quantile q of f(round), in the mean of the ranks.
template <class F> double quantile(double q, Rounds const& rounds, Comm const& comm, F const& f) {
  std::vector<double> all;
  for (auto const& round : rounds) all.push_back(f(round));
  auto const place = all.begin() + std::ptrdiff_t(q * double(all.size() - 1) + 0.5);
  std::nth_element(all.begin(), place, all.end());
  std::array mine{*place};
  comm.all_reduce_sum(mine);
  return mine[0] / double(comm.size());
}
/// `sums`: over the ranks, of one layer in one step.
template <class At>
void show(char const* name, At rule, Index sums, train::Corpus const& corpus, Options const& o, Comm const& comm) {
  Rounds const rounds = run(rule, sums, corpus, o, comm);
  for (std::size_t w = 0; w < ways.size(); ++w) {
    auto const of = [&](double q, auto f) {
      return quantile(q, rounds, comm, [&](auto const& round) { return f(round[w], round[0]); });
    };
    auto const step = [](Samples const& s, Samples const&) { return 1e3 * s.step; };
    auto const ratio = [](Samples const& s, Samples const& silent) { return s.step / silent.step; };
    auto const collecting = [](Samples const& s, Samples const&) { return 1e6 * s.collecting; };
    auto const own = [](Samples const& s, Samples const&) { return 1e6 * s.own; };
    auto const sending = [](Samples const& s, Samples const&) { return 1e6 * s.sending; };
    auto const waiting = [](Samples const& s, Samples const&) { return 1e6 * s.waiting; };
    auto const share = [](Samples const& s, Samples const&) { return 100 * (s.own + s.sending) / s.work; };
    auto const with_collecting = [](Samples const& s, Samples const&) {
      return 100 * (s.own + s.sending + s.collecting) / s.work;
    };
    std::array const row{of(.5, step), of(.5, ratio),   of(.25, ratio),  of(.75, ratio), of(.5, collecting),
                         of(.5, own),  of(.5, sending), of(.5, waiting), of(.5, share),  of(.5, with_collecting)};
    if (comm.rank() == 0)
      std::printf("%-12s %-21s %8.2f  %5.3f (%5.3f to %5.3f) %8.1f %8.1f %8.1f %9.1f %6.2f %% %6.2f %%\n", name,
                  ways[w], row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9]);
  }
}

int program(int argc, char** argv) {
  Options o;
  CLI::App app("What balancing costs of a step of the text model: mpirun -n R bench_step_share");
  app.add_option("--layers", o.settings.layers, "L")->capture_default_str()->check(CLI::Range(1, 64));
  app.add_option("--rounds", o.rounds, "Turns of each way")->capture_default_str()->check(CLI::Range(1, 10000));
  app.add_option("--text", o.settings.text, "Your texts, as in train_moe_lm")->check(CLI::ExistingDirectory);
  CLI11_PARSE(app, argc, argv);

  train::MpiProcesses processes(train::default_timeout);
  o.settings.ranks = processes.ranks();
  train::Corpus const corpus(o.settings.text.empty() ? train::installed_domains(nullptr)
                                                     : train::domains_of(o.settings.text));
  processes.each_rank(o.settings.ranks, [&](Comm const& comm) {
    using namespace moebal;
    if (comm.rank() == 0)
      std::printf("%lld ranks, %lld layers, %lld experts, %lld micro-batches a step and rank\n"
                  "%-12s %-21s %8s  %-23s %7s %8s %8s %9s %8s %s\n",
                  (long long)comm.size(), (long long)o.settings.layers, (long long)o.settings.experts,
                  (long long)o.settings.micro_batches, "rule", "way", "step, ms", "ratio", "collect", "own, us",
                  "sending", "waiting", "share", "and collecting");
    SwitchLoss<> const loss{.coefficient = 0.1};
    Index const each = o.settings.micro_batches;
    show("loss-running", lab::at(GlobalBatch<Accumulate::Running>{}, loss), each, corpus, o, comm);
    show("loss-global", lab::at(GlobalBatch<Accumulate::TwoPass>{}, loss), 1, corpus, o, comm);
    show("bias-global", lab::at(GlobalBatch<>{}, LossFreeBias{.rate = 1e-2f}), 1, corpus, o, comm);
  });
  return 0;
}

} // namespace bench

int main(int argc, char** argv) { return bench::program(argc, argv); }
