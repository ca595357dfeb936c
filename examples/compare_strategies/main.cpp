// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "docs.hpp"
#include "page.hpp"
#include "show.hpp"
#include "text.hpp"

#include "../train_moe_lm/table.hpp"
#include "../train_moe_lm/texts.hpp"

#include <CLI/CLI.hpp>

#include <fstream>
#include <iostream>

namespace {

using namespace lab;

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

void quick(Options& o) {
  o.shape.experts = 8, o.shape.ranks = 2, o.shape.micro_batches = 2, o.shape.tokens = 512, o.shape.steps = 40;
  train::Settings& m = o.text.model;
  m.experts = 8, m.ranks = 2, m.micro_batches = 2, m.steps = 10;
  o.text.validation = {.at_end = 2, .midway = 1, .checkpoints = 1};
}

void describe(CLI::App& app, Options& o) {
  train::Settings& m = o.text.model;
  app.description("Runs balancing strategies on the same logits, synthetic or recorded, or as the router of a small language model, and\n"
                  "compares what they give and cost. The report is DIR/report.html. What each strategy is: docs/strategies.md; what the\n"
                  "model says of them: docs/lab.md.");
  app.add_option("names,--strategies", o.strategies, "Names from --list, separated by commas or spaces; else all")->delimiter(',');
  app.add_flag_callback("--list", [&o] { o.action = Action::List; }, "Name the strategies and stop");
  app.add_flag_callback("--docs", [&o] { o.action = Action::Docs; }, "Print docs/strategies.md and stop");
  app.add_option_function<std::string>("--lab",
                                       [&o](std::string const& file) { o.action = Action::Lab, o.lab = file; },
                                       "Print docs/lab.md from the --json of --model text and stop")
      ->check(CLI::ExistingFile);
  app.add_flag_callback("--quick", [&o] { quick(o); }, "Small sizes; what stands after it changes them again")->trigger_on_parse();
  app.add_option_function<std::string>("--model", [&o](std::string const&) { o.model = Model::Text; },
                                       "text: train the language model of train_moe_lm with each strategy")
      ->check(CLI::IsMember({"text"}));
  app.add_option("--text", m.text, "With --model: each file or subfolder of this folder is a domain; else what is installed")
      ->check(CLI::ExistingDirectory);
  app.add_option("--skew", o.skews, "Of the synthetic logits: uniform, one_hot, dirichlet, drift, ranks; several, by commas")->delimiter(',');
  app.add_option("--alpha", o.shape.alpha, "Of the Dirichlet distribution: small is skewed")->capture_default_str()->check(CLI::PositiveNumber);
  auto const size = [&](char const* name, Index& synthetic, Index& model, char const* text, Index most) {
    app.add_option_function<Index>(name, [&synthetic, &model](Index n) { synthetic = model = n; },
                                   text + train::format(" [%d; of the model %d]", int(synthetic), int(model)))
        ->trigger_on_parse()->check(CLI::Range(Index(1), most));
  };
  size("--experts", o.shape.experts, m.experts, "E", 4096);
  size("--ranks", o.shape.ranks, m.ranks, "R, ranks as threads", 64);
  size("--micro-batches", o.shape.micro_batches, m.micro_batches, "Of each rank, in one step", 1024);
  app.add_option("--tokens", o.shape.tokens, "Of a micro-batch of synthetic logits")->capture_default_str()->check(CLI::Range(1, 1 << 20));
  size("--steps", o.shape.steps, m.steps, "Of the optimizer", 1000000);
  app.add_option("--seed", m.seed, "The first seed")->capture_default_str();
  app.add_option("--seeds", o.seeds, "Repeat with this many seeds")->capture_default_str()->check(CLI::Range(1, 1000));
  app.add_option("--trace", o.trace, "Use a recorded trace in the place of synthetic logits (docs/traces.md)")->check(CLI::ExistingFile);
  app.add_option("--record", o.record, "Write the logits that the first strategy routes by to a trace");
  app.add_option("--record-type", o.type, "f32, bf16 or f16")->capture_default_str()->check(CLI::IsMember({"f32", "bf16", "f16"}));
  app.add_option("--coefficient", o.setting.coefficient, "Of the losses")->capture_default_str()->check(CLI::NonNegativeNumber);
  app.add_option("--rate", o.setting.rate,
                 "First rate of a bias, falling in a line to 0 unless the skew drifts; 0: 2 / steps, of the model 0.03")->check(CLI::NonNegativeNumber);
  app.add_option("--anchor", o.setting.anchor, "How strongly routers are drawn to where they started, beside a loss; without a model")
      ->capture_default_str()->check(CLI::NonNegativeNumber);
  app.add_option("--capacity", o.setting.capacity, "Capacity factor, for the drop rate")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--threshold", o.setting.threshold, "max_vio that counts as balanced; 0: 0.1, of the model 1")->check(CLI::NonNegativeNumber);
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

class Comparison {
public:
  explicit Comparison(Options const& o) : o_(o), rows_(chosen(o)) {}

  void run() {
    if (o_.model == Model::Text)
      train_text();
    else if (!o_.trace.empty()) {
      std::ifstream in(o_.trace, std::ios::binary);
      moebal::Trace const trace(in);
      begin("trace " + o_.trace);
      route(Source(trace));
      end();
    } else {
      for (std::string const& skew : o_.skews) {
        InputShape shape = o_.shape;
        shape.skew = skew_of(skew);
        begin("synthetic, " + skew);
        for (Index i = 0; i < o_.seeds; ++i) {
          shape.seed = o_.text.model.seed + std::uint64_t(i);
          Inputs const inputs(shape);
          route(Source(inputs));
        }
        end();
      }
    }
    if (!o_.report.empty()) std::cout << "Report: " << write_report(o_.report, settings(), tables_) << "\n";
  }

private:
  void begin(std::string const& input) { tables_.push_back({.input = input, .results = {}}); }
  void end() { std::cout << table_text(tables_.back()) << std::endl; }
  void add(Result result) {
    tables_.back().results.push_back(std::move(result));
    if (!o_.json.empty()) write_file(o_.json, json_text(to_json(tables_))); // so that a run that is cut short has a table
  }
  void announce(Row const& row, std::uint64_t seed) const {
    std::fprintf(stderr, "%s: %s, seed %llu\n", tables_.back().input.c_str(), row.info.name, static_cast<unsigned long long>(seed));
  }

  void route(Source const& source) {
    std::ofstream file;
    std::unique_ptr<moebal::TraceWriter> writer = writer_of(source, file);
    for (Row const* row : rows_) {
      announce(*row, source.seed());
      add(lab::run(*row, source, o_.setting, writer.get()));
      if (writer) writer->close();
      writer.reset();
    }
  }
  void train_text() {
    TextSetting text = o_.text;
    train::Settings& m = text.model;
    m.alpha = o_.setting.coefficient;
    m.rate = o_.setting.rate > 0 ? o_.setting.rate : 0.03;
    if (o_.setting.threshold > 0) text.threshold = o_.setting.threshold;
    train::Corpus const corpus(m.text.empty() ? train::installed_domains() : train::domains_of(m.text));
    begin(train::format("text of %d domains, %d experts, %d ranks with %d micro-batches of %d bytes, %d steps", int(corpus.domain_count()),
                        int(m.experts), int(m.ranks), int(m.micro_batches), int(corpus.tokens()), int(m.steps)));
    for (Index i = 0; i < o_.seeds; ++i)
      for (Row const* row : rows_) {
        announce(*row, m.seed + std::uint64_t(i));
        add(run_text(*row, corpus, text, o_.setting.capacity, m.seed + std::uint64_t(i)));
      }
    end();
  }

  std::unique_ptr<moebal::TraceWriter> writer_of(Source const& source, std::ofstream& file) const {
    if (o_.record.empty() || tables_.size() > 1 || !tables_.front().results.empty()) return nullptr;
    file.open(o_.record, std::ios::binary | std::ios::trunc);
    if (!file) throw std::runtime_error("could not write " + o_.record);
    return std::make_unique<moebal::TraceWriter>(
        file, moebal::TraceShape{.experts = source.experts(),
                                 .type = o_.type == "f32"    ? moebal::TraceType::Float32
                                         : o_.type == "bf16" ? moebal::TraceType::BFloat16
                                                             : moebal::TraceType::Float16,
                                 .tags = source.has_tags() ? moebal::TraceTags::Recorded : moebal::TraceTags::None});
  }
  std::string settings() const {
    std::string const capacity = "Capacity factor " + train::format("%.2f", o_.setting.capacity) + ".";
    if (o_.model == Model::Text || !o_.trace.empty()) return capacity;
    return train::format("%d experts, %d ranks with %d micro-batches of %d tokens, %d steps. ", int(o_.shape.experts), int(o_.shape.ranks),
                         int(o_.shape.micro_batches), int(o_.shape.tokens), int(o_.shape.steps)) + capacity;
  }

  Options const& o_;
  std::vector<Row const*> rows_;
  std::vector<Table> tables_;
};

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
    if (options.action == Action::Lab) {
      std::cout << lab_page(nlohmann::json::parse(std::ifstream(options.lab)));
      return 0;
    }
    Comparison(options).run();
    return 0;
  } catch (std::exception const& error) {
    std::cerr << "compare_strategies: " << error.what() << "\n";
    return 1;
  }
}
