// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the user sees while a run goes on.

#include "clock.hpp"
#include "record.hpp"
#include "table.hpp"

#include <cstdio>
#include <unistd.h>

namespace train {

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

} // namespace train
