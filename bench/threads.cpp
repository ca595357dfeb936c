// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Two threads against one. The busy loops say what the machine had to give in the same run: a ratio of 2 where both cores
// were free, 1 where another program had one of them.

#include "entries.hpp"

#include <thread>

namespace bench {
namespace {

void spin() {
  long x = 3;
  for (int i = 0; i < 3'000'000; ++i) {
    x = x * 0x5851f42d4c957f2d;
    benchmark::DoNotOptimize(x);
  }
}
void calibrate(Pairs const& pairs, std::string const& when) {
  pairs.add("busy_loops:2threads/" + when + "/1/one_thread", 1, []() -> Work {
    return {[] {
              std::thread other(spin);
              spin();
              other.join();
            },
            [] {
              spin();
              spin();
            }};
  });
}

Part const part([](Pairs const& pairs) {
  calibrate(pairs, "before");
  for (Model const& m : models)
    for (Index const n : {Index(4096), Index(16384)}) {
      if (pairs.quick() && n > 4096) continue;
      pairs.add(entry("route:2threads", m, n, "one_thread"), double(n), [=]() -> Work {
        auto const two = Ours::make(m, n, Kind::iid, 2), one = Ours::make(m, n);
        check_against_oracle(*two);
        return {[=] { two->route(0); }, [=] { one->route(0); }};
      });
    }
  calibrate(pairs, "after");
});

} // namespace
} // namespace bench
