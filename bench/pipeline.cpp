// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// pipeline: a training step of Router + MicroBatch + SwitchLoss + Self, against the kernels that it ends in, called directly with a
// loop for the loss between them (Ours::step_by_hand). Layers that cost nothing give 1.00.

#include "entries.hpp"

namespace bench {
namespace {

Part const part([](Pairs const& pairs) {
  each_size(pairs, 64, [&](Model const& m, Index n) {
    add(pairs, "pipeline", m, n, "handwritten", [](Ours& o, Index first) { benchmark::DoNotOptimize(o.step(first)); },
        [](Ours& ours) {
          double const loss = ours.step(0);
          auto const gradient = ours.d_logits;
          require(near(ours.step_by_hand(0), loss, 1e-12), "the pipeline by hand", "loss");
          require(gradient == ours.d_logits, "the pipeline by hand", "d logits");
          return [](Ours& o, Index first) { benchmark::DoNotOptimize(o.step_by_hand(first)); };
        });
  });
});

} // namespace
} // namespace bench
