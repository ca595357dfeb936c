// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Two threads, the caller's and one of a pool, against one. Warm: call after call, or after other work on the pool, whose thread still
// looks for more. Cold: it sleeps, and to wake it takes some 20 us. The busy loops say what the machine had to give in the same run: a
// ratio of 2 where both cores were free, 1 where another program had one of them.

#include "entries.hpp"

#include <chrono>
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
// Long enough for a thread of the pool; the caller's stays awake.
void fall_asleep() {
  auto const end = std::chrono::steady_clock::now() + std::chrono::microseconds(300);
  while (std::chrono::steady_clock::now() < end) {}
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
      for (bool const cold : {false, true})
        pairs.add(entry(cold ? "route:2threads_cold" : "route:2threads", m, n, "one_thread"), double(n), [=]() -> Work {
          auto const two = Ours::make(m, n, Kind::iid, 2), one = Ours::make(m, n);
          check_against_oracle(*two);
          Work work{[=] { two->route(0); }, [=] { one->route(0); }};
          if (cold) work.before = fall_asleep;
          return work;
        });
    }
  calibrate(pairs, "after");
});

} // namespace
} // namespace bench
