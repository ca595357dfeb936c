// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The whole program behind main, so that tests can call it.

#include "report.hpp"
#include "strategies.hpp"
#include "texts.hpp"
#include "trainer.hpp"

#include <csignal>
#include <iostream>
#include <unistd.h>

namespace train {

inline std::sig_atomic_t volatile interrupted = 0;

/// The first Ctrl-C asks for a stop after this step, the second one ends the program.
inline void on_interrupt(int signal) {
  interrupted = 1;
  std::signal(signal, SIG_DFL);
}

/// A line for each run: rewritten in place on a terminal, else a few lines.
class Progress {
public:
  Progress(std::size_t number, std::size_t of, std::string name, std::uint64_t seed, Index steps)
      : head_(format("[%zu/%zu] %-20s seed %llu", number, of, name.c_str(), static_cast<unsigned long long>(seed))),
        steps_(steps) {}
  void show(Record const& r) {
    bool const last = r.steps() == steps_;
    double const now = wall_seconds();
    bool const due = terminal_ ? last || now - shown_at_ > 0.2 : last || r.steps() * 4 / steps_ != shown_quarter_;
    if (!due) return;
    shown_at_ = now;
    shown_quarter_ = r.steps() * 4 / steps_;
    std::fprintf(stderr, "%s%s  %3lld %%  loss %.3f  max_vio %5.2f  %5.1f steps/s%s", terminal_ ? "\r" : "",
                 head_.c_str(), static_cast<long long>(100 * r.steps() / steps_), r.train_loss.back(), r.max_vio.back(),
                 double(r.steps()) / r.step_seconds, terminal_ && !last ? "" : "\n");
  }

private:
  std::string head_;
  Index steps_;
  bool terminal_ = isatty(2) == 1;
  double shown_at_ = 0;
  Index shown_quarter_ = 0;
};

inline void print_list() {
  for (StrategyInfo const& s : catalogue)
    std::cout << format("%-20s %s %s\n", std::string(s.name).c_str(), s.by_default == ByDefault::Yes ? "*" : " ",
                        std::string(s.about).c_str());
  std::cout << "* runs without --strategies\n";
}

/// The settings of a saved state, unless the command line says otherwise: then a sentence.
inline void adopt_settings(Options& options, State const& state) {
  nlohmann::json const saved = state.settings, wanted = options.settings;
  for (std::string const& name : options.given) {
    std::string key = name.substr(name.find_first_not_of('-'));
    std::replace(key.begin(), key.end(), '-', '_');
    if (saved.contains(key) && saved.at(key) != wanted.at(key))
      throw StateError("the state in " + options.state_folder + " was made with other settings: " + name + " was " +
                       saved.at(key).dump() + ", is now " + wanted.at(key).dump() + " (leave it away to resume)");
  }
  options.settings = state.settings;
}

/// Trains what is missing. Returns whether everything was finished.
inline bool compare(Options const& options, Corpus const& corpus, State& state) {
  Settings const& s = options.settings;
  std::size_t const all = s.strategies.size() * std::size_t(s.seeds);
  std::size_t number = 0;
  for (Index i = 0; i < s.seeds; ++i) {
    std::uint64_t const seed = s.seed + std::uint64_t(i);
    for (std::string const& name : s.strategies) {
      ++number;
      auto const done = [&](Record const& r) { return r.name == name && r.seed == seed; };
      if (std::any_of(state.records.begin(), state.records.end(), done)) continue;
      Progress progress(number, all, name, seed, s.steps);
      Observer observer;
      observer.stepped = [&](Record const& r) {
        progress.show(r);
        return interrupted != 0;
      };
      observer.save = [&](Midway midway) {
        state.midway = std::move(midway);
        save(state, options.state_folder);
      };
      std::optional<Midway> const midway = std::exchange(state.midway, std::nullopt);
      bool const mine = midway && done(midway->record);
      Record record =
          Trainer(corpus, s, observer)
              .run(contestant(*find_strategy(name), s.top_k), seed, mine ? midway : std::optional<Midway>{});
      if (record.finished == Finished::No) return false; // state.midway holds it
      state.midway.reset();
      state.records.push_back(std::move(record));
      save(state, options.state_folder);
      if (interrupted && number < all) return false;
    }
  }
  return true;
}

inline int train_and_report(Options& options) {
  State state;
  if (options.action == Action::Resume) {
    state = load(options.state_folder);
    adopt_settings(options, state);
  }
  Settings const& s = options.settings;
  Corpus const corpus(s.text.empty() ? installed_domains() : domains_of(s.text));
  if (options.action == Action::Resume && state.corpus != corpus.fingerprint())
    throw StateError("the texts on this machine are not those that the state in " + options.state_folder +
                     " was made with");
  state.settings = s;
  state.corpus = corpus.fingerprint();

  std::filesystem::create_directories(options.state_folder); // better refused now than after the first strategy

  std::fprintf(stderr, "Domains:");
  for (Domain const& d : corpus.domains())
    std::fprintf(stderr, " %s (%.1f MB)", d.name.c_str(), double(d.text.size()) * 1e-6);
  std::fprintf(stderr, ". %lld weights.\n", static_cast<long long>(parameter_count(s.model())));

  interrupted = 0;
  auto const before = std::signal(SIGINT, on_interrupt);
  bool const finished = compare(options, corpus, state);
  std::signal(SIGINT, before);

  std::vector<Record> shown = state.records;
  if (state.midway) shown.push_back(state.midway->record);
  std::cout << table_text(shown) << paired_text(shown);
  if (!options.json_file.empty()) {
    std::filesystem::path const file = options.json_file;
    if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path());
    detail::write_whole(file, to_table_json(shown).dump(2) + "\n");
  }
  std::filesystem::path const report = write_report(options.report_folder, s, shown);
  std::cout << "Report: " << report.string() << "\n";
  if (!finished) {
    auto const repeated = [](char const* name, std::string const& value, std::string const& otherwise) {
      return value == otherwise ? std::string() : format(" %s '%s'", name, value.c_str());
    };
    Options const defaults;
    std::cout << "Stopped. To go on: the same command with --resume"
              << repeated("--state", options.state_folder, defaults.state_folder)
              << repeated("--report", options.report_folder, defaults.report_folder)
              << repeated("--json", options.json_file, defaults.json_file) << "\n";
    return 130;
  }
  return 0;
}

inline int program(int argc, char const* const* argv) {
  Options options;
  CLI::App app;
  describe(app, options);
  try {
    app.parse(argc, argv);
    check(app, options);
  } catch (CLI::ParseError const& error) {
    return app.exit(error);
  }
  try {
    if (options.action == Action::List) {
      print_list();
      return 0;
    }
    return train_and_report(options);
  } catch (std::exception const& error) {
    std::cerr << "train_moe_lm: " << error.what() << "\n";
    return 1;
  }
}

} // namespace train
