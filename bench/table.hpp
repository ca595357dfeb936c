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
#include <vector>

namespace bench {

struct Options {
  bool quick = false;
  std::vector<std::string> rest; // for Google Benchmark
};

/// --quick: T = 4096 and friendly data only. --json FILE: Google Benchmark's JSON. Everything else goes to Google Benchmark.
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
      std::puts("bench_routing [--quick] [--json FILE] [--benchmark_filter=REGEX ...]");
      std::exit(0);
    } else {
      options.rest.push_back(word);
    }
  }
  return options;
}

/// Prints a line a pair, as soon as it is done.
class Table : public benchmark::BenchmarkReporter {
public:
  bool ReportContext(Context const& context) override {
    std::string model = "unknown CPU", line;
    for (std::ifstream cpu("/proc/cpuinfo"); std::getline(cpu, line);)
      if (line.rfind("model name", 0) == 0) model = line.substr(line.find(':') + 2);
    double load[3] = {};
    if (getloadavg(load, 3) < 0) load[0] = -1;
    std::printf("%s, %d CPUs, load %.1f, measured clock %.2f GHz, one thread\n\n", model.c_str(), context.cpu_info.num_cpus, load[0],
                clock_ghz());
    std::printf("%-40s %10s %10s %8s %8s\n", "op/shape/tokens/peer", "ours ns", "peer ns", "x med", "x min");
    return true;
  }
  void ReportRuns(std::vector<Run> const& runs) override {
    for (Run const& run : runs) {
      auto const value = [&run](char const* name) { return double(run.counters.at(name)); };
      std::string name = run.benchmark_name();
      name.resize(name.find("/iterations"));
      std::printf("%-40s %10.2f %10.2f %8.2f %8.2f\n", name.c_str(), value("ours_ns"), value("peer_ns"), value("ratio_med"),
                  value("ratio_min"));
      std::fflush(stdout);
    }
  }

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

inline int run(Options const& options) {
  std::vector<char*> arguments;
  for (std::string const& word : options.rest) arguments.push_back(const_cast<char*>(word.c_str()));
  int count = int(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  Table table;
  benchmark::RunSpecifiedBenchmarks(&table);
  return 0;
}

} // namespace bench
