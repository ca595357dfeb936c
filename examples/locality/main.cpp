// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Routers that know which experts are near against those that do not, on the text model; what they would cost on a
// cluster. docs/locality.md is written by it.

#include "page.hpp"
#include "study.hpp"

#include "../train_moe_lm/launch_mpi.hpp"
#include "../train_moe_lm/table.hpp"
#include "../train_moe_lm/texts.hpp"

#include <CLI/CLI.hpp>

#include <iostream>

namespace locality {

namespace {

using nlohmann::json;
using train::format;

enum class Action { Run, List, Study, Page, Figure };

struct Options {
  Action action = Action::Run;
  std::vector<std::string> names;
  Setting setting;
  Index seeds = 1;
  std::string json, links, stored;
};

void quick(Options& o) {
  o.setting.model.ranks = 4, o.setting.model.experts = 8, o.setting.model.steps = 10;
  o.setting.validation = {.at_end = 2, .midway = 1, .checkpoints = 1};
}

void describe(CLI::App& app, Options& o) {
  train::Settings& m = o.setting.model;
  m.experts = 16, m.top_k = 1, m.steps = 300, m.ranks = 8, m.micro_batches = 2, m.capacity = 1.25;
  o.setting.validation = {.at_end = 48, .midway = 1, .checkpoints = 1};
  app.description(
      "Trains a small language model with routers that prefer near experts and with others, counts which tokens\n"
      "stay in their node, and reckons what a step would take. Ranks are threads, or processes under a launcher of\n"
      "MPI, with the same numbers. docs/locality.md has the answers.");
  app.add_option("names,--strategies", o.names, "Names from --list; else all")->delimiter(',');
  app.add_flag_callback(
      "--list", [&o] { o.action = Action::List; }, "Name the strategies and stop");
  app.add_flag_callback(
         "--quick", [&o] { quick(o); }, "Small sizes; what stands after it changes them again")
      ->trigger_on_parse();
  auto const number = [&](char const* name, Index& value, char const* text, Index most) {
    app.add_option(name, value, text)->capture_default_str()->check(CLI::Range(Index(1), most));
  };
  number("--ranks", m.ranks, "R", 64);
  number("--ranks-per-node", o.setting.ranks_per_node, "P", 64);
  number("--experts", m.experts, "E; with more ranks than experts some own none; divides 64, for GrAP", 64);
  number("--micro-batches", m.micro_batches, "Of each rank, in one step", 1024);
  number("--steps", m.steps, "Of the optimizer", 1000000);
  number("--seeds", o.seeds, "Repeat with this many seeds", 1000);
  app.add_option("--share", o.setting.share, "Share of a rank's micro-batches that are of its node's own domains")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--locality", o.setting.locality, "Coefficient of the locality loss")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--coefficient", m.alpha, "Of the balancing loss")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--capacity", m.capacity, "Capacity factor of all ranks' tokens together; 0: none is dropped")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--text", m.text, "Your texts: each file or subfolder of this folder is a domain")
      ->check(CLI::ExistingDirectory);
  app.add_option("--links", o.links, "What mpi_links has measured, for step times on this machine")
      ->check(CLI::ExistingFile);
  app.add_option("--json", o.json, "Write the results there; with --study: add to it what is missing");
  app.add_flag_callback(
      "--study", [&o] { o.action = Action::Study; }, "Run all that docs/locality.md shows, into --json");
  auto const stored = [&](char const* name, Action action, char const* text) {
    app.add_option_function<std::string>(
           name, [&o, action](std::string const& file) { o.action = action, o.stored = file; }, text)
        ->check(CLI::ExistingFile);
  };
  stored("--docs", Action::Page, "Print docs/locality.md from the JSON of --study and stop");
  stored("--figure", Action::Figure, "Print docs/locality.svg from the same and stop");
}

json read(std::string const& file) { return json::parse(std::ifstream(file)); }
void write(std::string const& file, json const& all) {
  std::string text = "{\n \"links\": " + all.at("links").dump() + ",\n \"results\": [";
  for (std::size_t i = 0; i < all.at("results").size(); ++i)
    text += (i ? ",\n  " : "\n  ") + all.at("results")[i].dump();
  std::filesystem::path const path = file;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
  std::ofstream(file + ".new") << text << "\n ]\n}\n";
  std::filesystem::rename(file + ".new", file);
}

void print_head() {
  std::cout << format("%-16s %5s %5s %5s %6s  %7s %7s %9s %7s %7s %7s %4s %8s %8s\n", "name", "seed", "nodes", "share",
                      "local.", "in rank", "in node", "KB betw.", "max_vio", "rank", "no exp.", "dead", "perpl.",
                      "causal");
}
void print(Result const& r) {
  std::cout << format("%-16s %5d %5d %5.2f %6.2f  %6.1f%% %6.1f%% %9.1f %7.2f %7.2f %6.1f%% %4d %8.3f %8.3f",
                      r.name.c_str(), int(r.seed), int(r.ranks / r.ranks_per_node), r.share, r.locality,
                      100 * r.in_rank, 100 * r.in_node, r.bytes_between / 1024, r.max_vio, r.rank_vio, 100 * r.dropped,
                      int(r.dead), r.perplexity, r.perplexity_causal)
            << std::endl;
}

/// One run of the study.
struct Job {
  Strategy const* strategy;
  Setting setting;
  std::uint64_t seed;
};
bool is_of(Job const& job, Result const& r) {
  train::Settings const& m = job.setting.model;
  return r.name == job.strategy->name && r.seed == job.seed && r.ranks == m.ranks && r.experts == m.experts &&
         r.ranks_per_node == job.setting.ranks_per_node && r.steps == m.steps && r.share == job.setting.share &&
         r.locality == job.setting.locality;
}
std::vector<Job> jobs(Options const& o) {
  std::vector<Strategy const*> chosen;
  for (std::string const& name : o.names) chosen.push_back(&find_strategy(name));
  if (o.names.empty())
    for (Strategy const& s : strategies()) chosen.push_back(&s);
  std::vector<Job> all;
  auto const add = [&](std::vector<Strategy const*> const& which, Setting const& setting) {
    for (Index seed = 1; seed <= o.seeds; ++seed)
      for (Strategy const* s : which) all.push_back({s, setting, std::uint64_t(seed)});
  };
  if (o.action == Action::Run) {
    add(chosen, o.setting);
    return all;
  }
  Setting setting = o.setting;
  for (double const share : {0.0, 1.0, 0.5}) { // 4 nodes of 2 ranks: the same text everywhere, or a node's own
    setting.share = share;
    add(chosen, setting);
  }
  setting.share = 1; // how strong the pull is
  for (double const coefficient : {0.03, 0.1, 1.0}) {
    setting.locality = coefficient;
    add({&find_strategy("switch_locality"), &find_strategy("locmoe")}, setting);
  }
  setting.locality = o.setting.locality;
  setting.ranks_per_node = 1;
  for (Index const nodes : {8, 16, 32}) { // the paper's numbers of nodes, a rank each
    setting.model.ranks = nodes;
    setting.model.micro_batches = std::max<Index>(1, 16 / nodes);
    add({&find_strategy("hash_pair"), &find_strategy("switch"), &find_strategy("switch_locality"),
         &find_strategy("locmoe"), &find_strategy("locmoe_home")},
        setting);
  }
  return all;
}

int work(Options& o) {
  if (o.action == Action::List) {
    for (Strategy const& s : strategies()) std::cout << format("%-16s %s: %s\n", s.name, s.title, s.about);
    return 0;
  }
  if (o.action == Action::Page || o.action == Action::Figure) {
    json const all = read(o.stored);
    std::cout << (o.action == Action::Page ? page(all) : figure(all));
    return 0;
  }
  moebal::require_equal("--ranks modulo --ranks-per-node", 0, o.setting.model.ranks % o.setting.ranks_per_node);
  moebal::require_equal("64, the width of the model, modulo --experts", 0, 64 % o.setting.model.experts);
  bool const study = o.action == Action::Study;
  if (study && o.json.empty()) throw std::invalid_argument("--study needs the file that it writes: --json FILE");
  json all{{"links", nullptr}, {"results", json::array()}};
  if (study && std::filesystem::exists(o.json)) all = read(o.json);
  if (!o.links.empty()) all["links"] = read(o.links);
  if (!all["links"].is_null()) o.setting.machine = machine_of(all["links"].at("machine"));
  if (study) o.seeds = std::max<Index>(3, o.seeds);

  auto const processes = train::processes_of(train::Options{});
  if (Index const ranks = processes->ranks(); ranks > 0) {
    if (study) throw std::invalid_argument("--study starts its ranks itself: needed no launcher of MPI");
    moebal::require_equal("--ranks, as many as the launcher of MPI started", ranks, o.setting.model.ranks);
  }
  bool const speaks = processes->speaks();
  std::string const& text = o.setting.model.text;
  std::vector<train::Domain> const domains = text.empty() ? train::installed_domains() : train::domains_of(text);
  if (speaks) print_head();
  for (Job const& job : jobs(o)) {
    auto const known = [&](json const& r) { return is_of(job, r.get<Result>()); };
    if (study && std::any_of(all["results"].begin(), all["results"].end(), known)) continue;
    Result const r = run(*processes, *job.strategy, domains, job.setting, job.seed);
    if (!speaks) continue;
    print(r);
    all["results"].push_back(r);
    if (!o.json.empty()) write(o.json, all);
  }
  return 0;
}

} // namespace

} // namespace locality

int main(int argc, char** argv) {
  locality::Options options;
  CLI::App app;
  locality::describe(app, options);
  CLI11_PARSE(app, argc, argv);
  try {
    return locality::work(options);
  } catch (std::exception const& error) {
    std::cerr << "locality: " << error.what() << "\n";
    return 1;
  }
}
