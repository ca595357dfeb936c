// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The whole program behind main, so that tests can call it.

#include "launch_mpi.hpp"
#include "overlap.hpp"
#include "progress.hpp"
#include "report.hpp"
#include "resume.hpp"
#include "state_file.hpp"
#include "strategies.hpp"
#include "texts.hpp"
#include "trainer.hpp"

#include <csignal>
#include <iostream>

namespace train {

inline std::sig_atomic_t volatile interrupted = 0;

/// The first Ctrl-C asks for a stop after this step, the second one ends the program.
inline void on_interrupt(int signal) {
  interrupted = 1;
  std::signal(signal, SIG_DFL);
}

inline void print_list() {
  for (StrategyInfo const& s : catalogue)
    std::cout << format("%-20s %s %s\n", std::string(s.name).c_str(), s.by_default == ByDefault::Yes ? "*" : " ",
                        std::string(s.about).c_str());
  std::cout << "* runs without --strategies\n";
}

/// Trains what is missing. Returns whether everything was finished; `state` is that of process 0.
inline bool compare(Options const& options, Processes& processes, Corpus const& corpus, State& state) {
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
      observer.save_every = options.save_every;
      std::optional<Midway> midway = std::exchange(state.midway, std::nullopt);
      if (midway && !done(midway->record)) midway.reset();
      Record record;
      bool stopped = false;
      processes.each_rank(s.ranks, [&](Comm const& comm) {
        Trainer trainer(corpus, s, observer);
        Record mine = trainer.run(comm, contestant(*find_strategy(name), s.top_k), seed, midway);
        if (comm.rank() != processes.rank()) return;
        record = std::move(mine);
        stopped = trainer.stopped();
      });
      if (record.finished == Finished::No) return false; // state.midway holds it
      state.midway.reset();
      state.records.push_back(std::move(record));
      if (processes.speaks()) save(state, options.state_folder);
      if (stopped && number < all) return false;
    }
  }
  return true;
}

/// Table, files, and how to go on.
inline void show(Options const& options, State const& state, bool finished) {
  std::vector<Record> shown = state.records;
  if (state.midway) shown.push_back(state.midway->record);
  std::cout << table_text(shown) << paired_text(shown);
  if (!options.json_file.empty()) {
    std::filesystem::path const file = options.json_file;
    if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path());
    detail::write_whole(file, to_table_json(shown).dump(2) + "\n");
  }
  std::filesystem::path const report = write_report(options.report_folder, options.settings, shown);
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
  }
}

/// What a process was told, which is the same for all.
inline std::vector<moebal::Fact> facts_of(Options const& options) {
  std::vector<moebal::Fact> facts{{"--resume", options.action == Action::Resume ? "given" : "not given"}};
  nlohmann::json const settings = options.settings;
  for (auto const& [name, value] : settings.items()) facts.emplace_back(name, value.dump());
  std::string given;
  for (std::string const& name : options.given) given += " " + name;
  facts.emplace_back("options", given);
  return facts;
}

/// The texts, the same for all processes.
inline Corpus read_texts(Settings const& s, Processes& processes) {
  Corpus corpus(s.text.empty() ? installed_domains(processes.speaks() ? stderr : nullptr) : domains_of(s.text));
  if (processes.from_process_0(std::to_string(corpus.fingerprint())) != std::to_string(corpus.fingerprint()))
    throw StateError("the texts of this process are not those of process 0: needed the same on each machine");
  if (!processes.speaks()) return corpus;
  std::fprintf(stderr, "Domains:");
  for (Domain const& d : corpus.domains())
    std::fprintf(stderr, " %s (%.1f MB)", d.name.c_str(), double(d.text.size()) * 1e-6);
  std::fprintf(stderr, ". %lld weights.\n", static_cast<long long>(parameter_count(s.model())));
  return corpus;
}

inline int measure_and_report(Options& options, Processes& processes) {
  Settings& s = options.settings;
  if (processes.ranks() > 0) s.ranks = processes.ranks();
  Corpus const corpus = read_texts(s, processes);
  std::vector<OverlapCell> cells;
  processes.each_rank(s.ranks, [&](Comm const& comm) {
    std::vector<OverlapCell> mine = measure_overlap(corpus, s, options.network_delays, comm);
    if (comm.rank() == 0) cells = std::move(mine);
  });
  if (processes.speaks()) std::cout << overlap_text(cells, options.network_delays, s);
  return 0;
}

inline int train_and_report(Options& options, Processes& processes) {
  processes.agree(facts_of(options));
  State state;
  Settings& s = options.settings;
  if (options.action == Action::Resume) {
    std::string const packed = processes.from_process_0(processes.speaks() ? saved_bytes(options.state_folder) : "");
    state = state_of(packed, state_file(options.state_folder).string());
    adopt_settings(options, state, processes.ranks());
  } else if (processes.ranks() > 0) {
    s.ranks = processes.ranks();
  }
  if (processes.speaks())
    std::filesystem::create_directories(options.state_folder); // better refused now than after the first strategy
  Corpus const corpus = read_texts(s, processes);
  if (options.action == Action::Resume && state.corpus != corpus.fingerprint())
    throw StateError("the texts on this machine are not those that the state in " + options.state_folder +
                     " was made with");
  state.settings = s;
  state.corpus = corpus.fingerprint();

  interrupted = 0;
  auto const before_int = std::signal(SIGINT, on_interrupt), before_term = std::signal(SIGTERM, on_interrupt);
  bool const finished = compare(options, processes, corpus, state);
  std::signal(SIGINT, before_int), std::signal(SIGTERM, before_term);
  if (processes.speaks()) show(options, state, finished);
  return finished ? 0 : 130;
}

/// Parses; what ends the program at once is returned: help, or an error.
inline std::optional<CLI::ParseError> parse(CLI::App& app, Options& options, int argc, char const* const* argv) {
  try {
    app.parse(argc, argv);
    check(app, options);
    return std::nullopt;
  } catch (CLI::ParseError const& error) {
    return error;
  }
}

/// What of the options does not go with the ranks that a launcher has started (0: there is none).
inline std::optional<CLI::ParseError> refusal(Options const& options, Index started) {
  bool const given = std::find(options.given.begin(), options.given.end(), "--ranks") != options.given.end();
  if (started == 0 || !given || options.settings.ranks == started) return std::nullopt;
  return CLI::ValidationError("--ranks", "needed " + std::to_string(started) +
                                             ", as many as the launcher of MPI started, had " +
                                             std::to_string(options.settings.ranks));
}

inline int program(int argc, char const* const* argv) {
  Options options;
  CLI::App app;
  describe(app, options);
  auto ended = parse(app, options, argc, argv);
  std::unique_ptr<Processes> processes;
  try {
    processes = processes_of(options);
    if (!ended) ended = refusal(options, processes->ranks());
    if (ended) return processes->speaks() ? app.exit(*ended) : ended->get_exit_code();
    if (options.action == Action::List) {
      if (processes->speaks()) print_list();
      return 0;
    }
    if (options.action == Action::Overlap) return measure_and_report(options, *processes);
    return train_and_report(options, *processes);
  } catch (std::exception const& error) {
    std::cerr << "train_moe_lm: ";
    if (processes && processes->ranks() > 1) std::cerr << "rank " << processes->rank() << ": ";
    std::cerr << error.what() << "\n" << std::flush;
    if (processes) processes->give_up(1);
    return 1;
  }
}

} // namespace train
