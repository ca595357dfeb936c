// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Running the registered pairs and showing them as one table.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace bench {

struct Options {
  bool quick = false;
  std::vector<std::string> rest; // for Google Benchmark
};

/// --quick: T = 1, 16 and 4096, friendly data, shorter rounds. --json FILE: Google Benchmark's JSON. All else goes to
/// Google Benchmark.
inline Options read_options(int argc, char** argv) {
  Options options;
  options.rest.push_back(argv[0]);
  for (int i = 1; i < argc; ++i) {
    std::string const word = argv[i];
    if (word == "--quick") {
      options.quick = true;
    } else if (word == "--json" && i + 1 < argc) {
      options.rest.push_back(std::string("--benchmark_out=") + argv[++i]);
      options.rest.push_back("--benchmark_out_format=json");
    } else if (word == "--help") {
      std::puts("bench_moebal [--quick] [--json FILE] [--benchmark_filter=REGEX ...]");
      std::exit(0);
    } else {
      options.rest.push_back(word);
    }
  }
  return options;
}

/// What the machine is like, for the head of the table and for the JSON.
class Machine {
public:
  Machine() {
    std::string line;
    for (std::ifstream cpu("/proc/cpuinfo"); std::getline(cpu, line);)
      if (line.rfind("model name", 0) == 0) model = line.substr(line.find(':') + 2);
    double loads[3];
    if (getloadavg(loads, 3) > 0) load = loads[0];
  }
  std::string model = "unknown CPU";
  double load = -1;
  double ghz = clock_ghz();

private:
  /// From a chain of dependent multiplications, three cycles each.
  static double clock_ghz() {
    double best = 0;
    for (int round = 0; round < 5; ++round) {
      long x = 3;
      int const n = 3'000'000;
      auto const start = std::chrono::steady_clock::now();
      for (int i = 0; i < n; ++i) {
        x = x * 0x5851f42d4c957f2d; // too long a constant for anything but a multiplication
        benchmark::DoNotOptimize(x);
      }
      double const ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
      best = std::max(best, 3.0 * n / ns);
    }
    return best;
  }
};

/// Prints a line a pair, as soon as it is done.
class Table : public benchmark::BenchmarkReporter {
public:
  explicit Table(Machine machine) : machine_(std::move(machine)) {}
  bool ReportContext(Context const& context) override {
    std::printf("%s, %d CPUs, load %.1f, measured clock %.2f GHz, one thread unless the entry says otherwise\n\n",
                machine_.model.c_str(), context.cpu_info.num_cpus, machine_.load, machine_.ghz);
    std::printf("%-44s %10s %10s %8s %8s\n", "op/shape/tokens/peer", "ours ns", "peer ns", "x med", "x min");
    return true;
  }
  void ReportRuns(std::vector<Run> const& runs) override {
    for (Run const& run : runs) {
      std::string name = run.benchmark_name();
      name.resize(std::min(name.size(), name.find("/iterations")));
      if (run.error_occurred) {
        ++failed_;
        std::printf("%-44s failed: %s\n", name.c_str(), run.error_message.c_str());
        continue;
      }
      auto const value = [&run](char const* counter) { return double(run.counters.at(counter)); };
      std::printf("%-44s %10.2f %10.2f %8.2f %8.2f\n", name.c_str(), value("ours_ns"), value("peer_ns"), value("ratio_med"),
                  value("ratio_min"));
      std::fflush(stdout);
    }
  }

  int failed() const { return failed_; }

private:
  Machine machine_;
  int failed_ = 0;
};

inline int run(Options const& options, char const* compiler, char const* flags) {
  std::vector<char*> arguments;
  for (std::string const& word : options.rest) arguments.push_back(const_cast<char*>(word.c_str()));
  int count = int(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  Machine const machine;
  benchmark::AddCustomContext("cpu", machine.model);
  benchmark::AddCustomContext("compiler", compiler);
  benchmark::AddCustomContext("flags", flags);
  benchmark::AddCustomContext("load", std::to_string(machine.load));
  benchmark::AddCustomContext("ghz", std::to_string(machine.ghz));
  benchmark::AddCustomContext("quick", options.quick ? "yes" : "no");
  Table table(machine);
  benchmark::RunSpecifiedBenchmarks(&table);
  return table.failed() == 0 ? 0 : 1;
}

} // namespace bench
