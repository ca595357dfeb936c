// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the user may choose.

#include "text.hpp"

#include "../train_moe_lm/table.hpp"

#include <CLI/CLI.hpp>

namespace lab {

enum class Action { Run, List, Docs, Lab };
enum class Model { None, Text };

struct Options {
  Action action = Action::Run;
  Model model = Model::None;
  std::vector<std::string> strategies, skews{"dirichlet"};
  InputShape shape;
  TextSetting text;
  Setting setting;
  std::string trace, record, lab, type = "bf16", json, report = "compare_strategies_out";
  Index seeds = 1;
};

inline void quick(Options& o) {
  o.shape.experts = 8, o.shape.ranks = 2, o.shape.micro_batches = 2, o.shape.tokens = 512, o.shape.steps = 40;
  train::Settings& m = o.text.model;
  m.experts = 8, m.ranks = 2, m.micro_batches = 2, m.steps = 10;
  o.text.validation = {.at_end = 2, .midway = 1, .checkpoints = 1};
}

inline void describe(CLI::App& app, Options& o) {
  train::Settings& m = o.text.model;
  app.description("Runs balancing strategies on the same logits, synthetic or recorded, or as the router of a small "
                  "language model, and\n"
                  "compares what they give and cost. The report is DIR/report.html. What each strategy is: "
                  "docs/strategies.md; what the\n"
                  "model says of them: docs/lab.md.");
  app.add_option("names,--strategies", o.strategies, "Names from --list, separated by commas or spaces; else all")
      ->delimiter(',');
  app.add_flag_callback(
      "--list", [&o] { o.action = Action::List; }, "Name the strategies and stop");
  app.add_flag_callback(
      "--docs", [&o] { o.action = Action::Docs; }, "Print docs/strategies.md and stop");
  app.add_option_function<std::string>(
         "--lab", [&o](std::string const& file) { o.action = Action::Lab, o.lab = file; },
         "Print docs/lab.md from the --json of --model text and stop")
      ->check(CLI::ExistingFile);
  app.add_flag_callback(
         "--quick", [&o] { quick(o); }, "Small sizes; what stands after it changes them again")
      ->trigger_on_parse();
  app.add_option_function<std::string>(
         "--model", [&o](std::string const&) { o.model = Model::Text; },
         "text: train the language model of train_moe_lm with each strategy")
      ->check(CLI::IsMember({"text"}));
  app.add_option("--text", m.text,
                 "With --model: each file or subfolder of this folder is a domain; else what is installed")
      ->check(CLI::ExistingDirectory);
  app.add_option("--skew", o.skews,
                 "Of the synthetic logits: uniform, one_hot, dirichlet, drift, ranks; several, by commas")
      ->delimiter(',');
  app.add_option("--alpha", o.shape.alpha, "Of the Dirichlet distribution: small is skewed")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  auto const size = [&](char const* name, Index& synthetic, Index& model, char const* text, Index most) {
    app.add_option_function<Index>(
           name, [&synthetic, &model](Index n) { synthetic = model = n; },
           text + train::format(" [%d; of the model %d]", int(synthetic), int(model)))
        ->trigger_on_parse()
        ->check(CLI::Range(Index(1), most));
  };
  size("--experts", o.shape.experts, m.experts, "E", 4096);
  size("--ranks", o.shape.ranks, m.ranks, "R, ranks as threads", 64);
  size("--micro-batches", o.shape.micro_batches, m.micro_batches, "Of each rank, in one step", 1024);
  app.add_option("--tokens", o.shape.tokens, "Of a micro-batch of synthetic logits")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  size("--steps", o.shape.steps, m.steps, "Of the optimizer", 1000000);
  app.add_option("--seed", m.seed, "The first seed")->capture_default_str();
  app.add_option("--seeds", o.seeds, "Repeat with this many seeds")->capture_default_str()->check(CLI::Range(1, 1000));
  app.add_option("--trace", o.trace, "Use a recorded trace in the place of synthetic logits (docs/traces.md)")
      ->check(CLI::ExistingFile);
  app.add_option("--record", o.record, "Write the logits that the first strategy routes by to a trace");
  app.add_option("--record-type", o.type, "f32, bf16 or f16")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  app.add_option("--coefficient", o.setting.coefficient, "Of the losses")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--rate", o.setting.rate,
                 "First rate of a bias, falling in a line to 0 unless the skew drifts; 0: 2 / steps, of the model 0.03")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--anchor", o.setting.anchor,
                 "How strongly routers are drawn to where they started, beside a loss; without a model")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--capacity", o.setting.capacity, "Capacity factor, for the drop rate")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--threshold", o.setting.threshold, "max_vio that counts as balanced; 0: 0.1, of the model 1")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--json", o.json, "Write the table there, as a list of objects");
  app.add_option("--report", o.report, "Folder for report.html; empty: none")->capture_default_str();
}

} // namespace lab
