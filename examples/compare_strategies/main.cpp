// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "docs.hpp"
#include "show.hpp"

#include <CLI/CLI.hpp>

#include <fstream>
#include <iostream>

namespace {

using namespace lab;

enum class Action { Run, List, Docs };

struct Options {
  Action action = Action::Run;
  std::vector<std::string> strategies, skews{"dirichlet"};
  InputShape shape;
  Setting setting;
  std::string trace, record, type = "bf16", json, report = "compare_strategies_out";
};

void describe(CLI::App& app, Options& o) {
  app.description("Runs balancing strategies on the same logits, synthetic or recorded, and compares what they give and cost.\n"
                  "The report is DIR/report.html. What each strategy is: docs/strategies.md.");
  app.add_option("--strategies", o.strategies, "Names from --list, separated by commas; else all")->delimiter(',');
  app.add_flag_callback("--list", [&o] { o.action = Action::List; }, "Name the strategies and stop");
  app.add_flag_callback("--docs", [&o] { o.action = Action::Docs; }, "Print docs/strategies.md and stop");
  app.add_flag_callback(
      "--quick",
      [&o] { o.shape.experts = 8, o.shape.ranks = 2, o.shape.micro_batches = 2, o.shape.tokens = 512, o.shape.steps = 40; },
      "Small sizes; what stands after it changes them again")->trigger_on_parse();
  app.add_option("--skew", o.skews, "Of the synthetic logits: uniform, one_hot, dirichlet, drift, ranks; several, by commas")->delimiter(',');
  app.add_option("--alpha", o.shape.alpha, "Of the Dirichlet distribution: small is skewed")->capture_default_str()->check(CLI::PositiveNumber);
  auto const size = [&](char const* name, Index& value, char const* text, Index most) {
    app.add_option(name, value, text)->capture_default_str()->check(CLI::Range(Index(1), most));
  };
  size("--experts", o.shape.experts, "E", 4096);
  size("--ranks", o.shape.ranks, "R, ranks as threads", 64);
  size("--micro-batches", o.shape.micro_batches, "Of each rank, in one step", 1024);
  size("--tokens", o.shape.tokens, "Of a micro-batch", 1 << 20);
  size("--steps", o.shape.steps, "Of the optimizer", 1000000);
  app.add_option("--seed", o.shape.seed)->capture_default_str();
  app.add_option("--trace", o.trace, "Use a recorded trace in the place of synthetic logits (docs/traces.md)")->check(CLI::ExistingFile);
  app.add_option("--record", o.record, "Write the logits that the first strategy routes by to a trace");
  app.add_option("--record-type", o.type, "f32, bf16 or f16")->capture_default_str()->check(CLI::IsMember({"f32", "bf16", "f16"}));
  app.add_option("--coefficient", o.setting.coefficient, "Of the losses")->capture_default_str()->check(CLI::NonNegativeNumber);
  app.add_option("--rate", o.setting.rate, "First rate of a bias, falling in a line to 0 unless the skew drifts; 0: 2 / steps")->check(CLI::NonNegativeNumber);
  app.add_option("--anchor", o.setting.anchor, "How strongly routers are drawn to where they started, beside a loss")
      ->capture_default_str()->check(CLI::NonNegativeNumber);
  app.add_option("--capacity", o.setting.capacity, "Capacity factor, for the drop rate")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--threshold", o.setting.threshold, "max_vio that counts as balanced")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--json", o.json, "Write the table there, as a list of objects");
  app.add_option("--report", o.report, "Folder for report.html; empty: none")->capture_default_str();
}

std::vector<Row const*> chosen(Options const& o) {
  std::vector<Row const*> rows;
  for (std::string const& name : o.strategies) {
    Row const* const row = find_row(name);
    if (!row) throw std::invalid_argument("there is no strategy '" + name + "': --list names them");
    rows.push_back(row);
  }
  if (rows.empty())
    for (Row const& r : registry()) rows.push_back(&r);
  return rows;
}

int compare(Options const& o) {
  auto const rows = chosen(o);
  std::vector<Table> tables;
  std::ofstream record_file;
  std::unique_ptr<moebal::TraceWriter> writer;
  auto const run_all = [&](std::string const& name, Source const& source) {
    if (!o.record.empty() && tables.empty()) {
      record_file.open(o.record, std::ios::binary | std::ios::trunc);
      if (!record_file) throw std::runtime_error("could not write " + o.record);
      writer = std::make_unique<moebal::TraceWriter>(
          record_file, moebal::TraceShape{.experts = source.experts(),
                                          .type = o.type == "f32"    ? moebal::TraceType::Float32
                                                  : o.type == "bf16" ? moebal::TraceType::BFloat16
                                                                     : moebal::TraceType::Float16,
                                          .tags = source.has_tags() ? moebal::TraceTags::Recorded : moebal::TraceTags::None});
    }
    Table table{.input = name, .results = {}};
    for (Row const* row : rows) {
      std::fprintf(stderr, "%s: %s\n", name.c_str(), row->info.name);
      table.results.push_back(run(*row, source, o.setting, table.results.empty() ? writer.get() : nullptr));
      if (writer) writer->close();
      writer.reset();
    }
    std::cout << table_text(table) << std::endl;
    tables.push_back(std::move(table));
  };
  if (!o.trace.empty()) {
    std::ifstream in(o.trace, std::ios::binary);
    moebal::Trace const trace(in);
    run_all("trace " + o.trace, Source(trace));
  } else {
    for (std::string const& skew : o.skews) {
      InputShape shape = o.shape;
      shape.skew = skew_of(skew);
      Inputs const inputs(shape);
      run_all("synthetic, " + skew, Source(inputs));
    }
  }
  if (!o.json.empty()) write_file(o.json, to_json(tables).dump(2) + "\n");
  if (!o.report.empty()) {
    std::string settings = "Capacity factor " + std::to_string(o.setting.capacity).substr(0, 4) + ".";
    if (o.trace.empty())
      settings = std::to_string(o.shape.experts) + " experts, " + std::to_string(o.shape.ranks) + " ranks with " +
                 std::to_string(o.shape.micro_batches) + " micro-batches of " + std::to_string(o.shape.tokens) + " tokens, " +
                 std::to_string(o.shape.steps) + " steps. " + settings;
    std::cout << "Report: " << write_report(o.report, settings, tables) << "\n";
  }
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app;
  describe(app, options);
  try {
    app.parse(argc, argv);
  } catch (CLI::ParseError const& error) {
    return app.exit(error);
  }
  try {
    if (options.action == Action::List) {
      for (Row const& r : registry()) std::printf("%-26s %s\n", r.info.name, r.info.title);
      return 0;
    }
    if (options.action == Action::Docs) {
      std::cout << docs_text();
      return 0;
    }
    return compare(options);
  } catch (std::exception const& error) {
    std::cerr << "compare_strategies: " << error.what() << "\n";
    return 1;
  }
}
