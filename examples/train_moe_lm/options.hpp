// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the user may choose. Everything in `Settings` changes the numbers and is kept in a saved state; the rest says
// where things go.

#include "catalogue.hpp"
#include "messages.hpp"
#include "parameters.hpp"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace train {

struct Settings {
  std::vector<std::string> strategies = default_strategies();
  Index experts = 64;
  Index top_k = 2;
  Index steps = 400;
  Index ranks = 4;
  Index micro_batches = 4; // of each rank, in one step
  Index seeds = 1;
  std::uint64_t seed = 1;
  double alpha = 0.1;  // coefficient of the balancing loss
  double rate = 0;     // of the loss-free bias; 0: 0.01 (softmax), 0.03 (sigmoid)
  double capacity = 0; // factor; 0: no token is dropped
  Index layers = 1;
  BalancerMessages balancer_messages = BalancerMessages::Packed;
  bool experts_parallel = false;
  std::string text; // folder; empty: what is installed

  ModelShape model() const { return {.experts = experts, .top_k = top_k, .layers = layers}; }
  friend bool operator==(Settings const&, Settings const&) = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Settings, strategies, experts, top_k, steps, ranks, micro_batches, seeds, seed,
                                   alpha, rate, capacity, layers, balancer_messages, experts_parallel, text)

enum class Action { Train, Resume, List, Overlap };
enum class Transport { Found, Threads, Mpi }; // Found: MPI under a launcher of MPI, else threads

struct Options {
  Settings settings;
  Action action = Action::Train;
  std::string json_file;
  std::string report_folder = "train_moe_lm_out";
  std::string state_folder = "train_moe_lm_out";
  Index save_every = 0; // steps; 0: every few seconds
  Transport transport = Transport::Found;
  double timeout = 300;               // seconds that ranks wait for each other
  std::vector<double> network_delays; // ms, of Action::Overlap
  std::vector<std::string> given;     // names of the settings that stood on the command line
};

/// Describes the options to CLI11. Parse with app.parse, then call read_given.
inline void describe(CLI::App& app, Options& o) {
  Settings& s = o.settings;
  app.description(
      "Trains a small Mixture-of-Experts language model on real text, once per balancing strategy, with the same\n"
      "seed, data order and initial weights, and compares them. The report is DIR/report.html.\n"
      "Ctrl-C stops after the current step; --resume continues to the same numbers.\n"
      "R ranks are threads, or processes: mpirun -n R train_moe_lm ...; the numbers are the same.\n"
      "A stopped run may go on with other --ranks. Then R * --micro-batches is kept, unless you give both: the text "
      "of\n"
      "each step stays the same, sums over ranks round otherwise, so the numbers agree for some steps and drift apart\n"
      "as runs of other roundings do. loss-ranks, loss-running and --capacity pool what R ranks do at the same time:\n"
      "there R is part of the method.");
  app.add_option("--strategies", s.strategies, "Names from --list, separated by commas")
      ->delimiter(',')
      ->check(known_strategy);
  app.add_flag_callback("--list", [&o] { o.action = Action::List; }, "Name the strategies and stop");
  app.add_option("--steps", s.steps, "Optimizer steps of each strategy")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  app.add_option("--seeds", s.seeds, "Repeat with this many seeds and print paired differences")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option("--seed", s.seed, "The first seed")->capture_default_str();
  app.add_option("--experts", s.experts, "E")->capture_default_str()->check(CLI::Range(1, 4096));
  app.add_option("--top-k", s.top_k, "K")->capture_default_str()->check(CLI::IsMember({1, 2, 4, 8}));
  app.add_option("--layers", s.layers, "L, MoE layers, each with its own router, experts and balancer")
      ->capture_default_str()
      ->check(CLI::Range(1, 64));
  app.add_option("--balancer-messages", s.balancer_messages,
                 "Statistics of the layers: 'packed' in one message, 'by-layer', or 'blocking' as well for comparison")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, BalancerMessages>{{"packed", BalancerMessages::Packed},
                                                                          {"by-layer", BalancerMessages::ByLayer},
                                                                          {"blocking", BalancerMessages::Blocking}}));
  app.add_flag("--experts-parallel", s.experts_parallel,
               "Each rank holds E / R experts of each layer and tokens travel to them, else each rank holds all.\n"
               "Sums over tokens are then in another order: numbers agree but for roundings");
  app.add_option("--ranks", s.ranks, "R; under a launcher of MPI as many as it started")
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
  app.add_option("--transport", o.transport,
                 "Ranks are 'threads' or processes of 'mpi'; by default what they run under")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, Transport>{{"threads", Transport::Threads}, {"mpi", Transport::Mpi}}));
  app.add_option("--timeout", o.timeout, "Seconds that ranks wait for one another before they give up")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 1e6));
  app.add_option("--micro-batches", s.micro_batches,
                 "Micro-batches of each rank in a step, 256 bytes of one domain each")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  app.add_option("--alpha", s.alpha, "Coefficient of the balancing loss (the papers' 0.01 is too weak for 400 steps)")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--rate", s.rate, "First rate of the loss-free bias, linear to 0; 0: 0.01 (softmax), 0.03 (sigmoid)")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--capacity", s.capacity, "Capacity factor, tokens above it are dropped; 0: none is")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--network-delays", o.network_delays,
                 "Measure how much of a slow network a step sees, and stop: the balancers' messages take these times\n"
                 "longer (ms, by commas), blocking, by layer and packed, in turns of --steps [8] steps")
      ->delimiter(',')
      ->check(CLI::Range(1e-3, 1e5))
      ->each([&o](std::string const&) { o.action = Action::Overlap; });
  app.add_option("--text", s.text, "Your texts: each file or subfolder of this folder is a domain")
      ->check(CLI::ExistingDirectory);
  app.add_option("--json", o.json_file, "Write the table there, as a list of objects");
  app.add_option("--report", o.report_folder, "Folder for report.html")->capture_default_str();
  app.add_option("--state", o.state_folder, "Folder for the state that --resume continues")->capture_default_str();
  app.add_option("--save-every", o.save_every, "Steps between two states; 0: 15 seconds")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_flag_callback(
      "--resume", [&o] { o.action = Action::Resume; }, "Continue the run in the state folder, with its settings");
}

/// Notes which settings were given, and refuses what does not go together.
inline void check(CLI::App const& app, Options& o) {
  for (CLI::Option const* option : app.get_options())
    if (option->count() > 0) o.given.push_back(option->get_name(false, false));
  if (o.action == Action::Overlap) {
    auto const is_given = [&](char const* name) { return std::ranges::count(o.given, name) > 0; };
    if (!is_given("--steps")) o.settings.steps = 8;
    if (!is_given("--strategies")) o.settings.strategies = {"bias-global-sigmoid", "loss-ranks"};
  }
  if (o.settings.top_k > o.settings.experts)
    throw CLI::ValidationError("--top-k", "needed at most --experts, had " + std::to_string(o.settings.top_k));
}

} // namespace train
