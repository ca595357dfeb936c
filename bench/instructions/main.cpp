// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs each piece once under callgrind, which dumps what it counted under the piece's name. bench/instructions.py reads that.

#include "../ours.hpp"

#include <valgrind/callgrind.h>

#include <iostream>

int main() {
  using namespace bench;
  if (!RUNNING_ON_VALGRIND) {
    std::cerr << "bench_instructions: needed valgrind --tool=callgrind, had none: bench/run.sh --instructions starts it\n";
    return 2;
  }
  struct Piece {
    char const* name;
    void (*work)(Ours&);
  };
  Piece const pieces[] = {{"route", [](Ours& o) { o.route(0); }},
                          {"route_stats", [](Ours& o) { o.route_stats(0); }},
                          {"route_ranks", [](Ours& o) { o.route_ranked(0); }},
                          {"plan", [](Ours& o) { o.plan(0); }},
                          {"plan_ids", [](Ours& o) { o.plan_ids(0); }},
                          {"backward", [](Ours& o) { o.backward(0); }}};
  for (Model const& m : models) {
    auto const ours = Ours::make(m, Ours::least_rows);
    for (Piece const& piece : pieces) {
      std::string const name = piece.name + std::string("/") + m.name;
      CALLGRIND_ZERO_STATS;
      piece.work(*ours);
      CALLGRIND_DUMP_STATS_AT(name.c_str());
    }
  }
}
