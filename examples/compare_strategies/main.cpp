// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "docs.hpp"
#include "options.hpp"
#include "page.hpp"
#include "show.hpp"

#include "../train_moe_lm/texts.hpp"

#include <fstream>
#include <iostream>

namespace {

using namespace lab;

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
    if (!o_.json.empty())
      write_file(o_.json, json_text(to_json(tables_))); // so that a run that is cut short has a table
  }
  void announce(Row const& row, std::uint64_t seed) const {
    std::fprintf(stderr, "%s: %s, seed %llu\n", tables_.back().input.c_str(), row.info.name,
                 static_cast<unsigned long long>(seed));
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
    begin(train::format("text of %d domains, %d experts, %d ranks with %d micro-batches of %d bytes, %d steps",
                        int(corpus.domain_count()), int(m.experts), int(m.ranks), int(m.micro_batches),
                        int(corpus.tokens()), int(m.steps)));
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
    return train::format("%d experts, %d ranks with %d micro-batches of %d tokens, %d steps. ", int(o_.shape.experts),
                         int(o_.shape.ranks), int(o_.shape.micro_batches), int(o_.shape.tokens), int(o_.shape.steps)) +
           capacity;
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
