// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// backward: d logits from d weights and the slopes of a balancing loss, against a copy of the same bytes. Its answers are compared
// with autograd's in torch.cpp, and by tests/contracts/gradients_test.cpp.

#include "entries.hpp"

#include <cstring>

namespace bench {
namespace {

Part const part([](Pairs const& pairs) {
  for (Model const& m : models)
    for (Index const n : sizes(pairs)) {
      if (n < (pairs.quick() ? 4096 : 1024)) continue;
      add(pairs, "backward", m, n, "copy_floor", [](Ours& o, Index first) { o.backward(first); },
          [](Ours& ours) {
            route_all(ours);
            return [](Ours& o, Index first) {
              std::memcpy(o.d_logits.data() + first * o.model.experts, o.logits.data() + first * o.model.experts,
                          std::size_t(o.tokens * o.model.experts) * sizeof(float));
              benchmark::ClobberMemory();
            };
          });
    }
});

} // namespace
} // namespace bench
