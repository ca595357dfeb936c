// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// plan and route_plan: grouping (token, choice) pairs by expert.

#include "counting_sort.hpp"
#include "entries.hpp"

namespace bench {
namespace {

void check_plan(Ours& ours, CountingSort const& sort) {
  auto const plan = ours.planned.view();
  require(std::equal(sort.offsets.begin(), sort.offsets.end(), plan.offsets.begin()), "counting sort", "offsets");
  require(std::equal(sort.order.begin(), sort.order.end(), plan.order.begin()), "counting sort", "the order of slots");
  require(std::equal(sort.slot_of.begin(), sort.slot_of.end(), plan.slot_of.data()), "counting sort", "slots");
}

void check(Ours& ours) {
  ours.each_batch([&](Index first) { ours.route_ranked(first); });
  CountingSort sort(ours.model);
  sort(ours.routing.expert_ids().data(), ours.tokens * ours.model.top_k);
  ours.plan(0);
  check_plan(ours, sort);
  ours.plan_ids(0);
  check_plan(ours, sort);
}
auto counting_sort(Ours& ours) {
  check(ours);
  return sorted_ids(ours.model);
}

Part const part([](Pairs const& pairs) {
  for (Model const& m : models)
    for (Index const n : sizes(pairs)) {
      if (pairs.quick() && n < 4096) continue;
      add(pairs, "plan", m, n, "counting_sort", [](Ours& o, Index first) { o.plan(first); }, counting_sort);
      add(pairs, "plan_ids", m, n, "counting_sort", [](Ours& o, Index first) { o.plan_ids(first); }, counting_sort);
      if (n < 4096) continue;
      add(pairs, "route_ranks", m, n, "route", [](Ours& o, Index first) { o.route_ranked(first); }, [](Ours& ours) {
        check(ours);
        return [](Ours& o, Index first) { o.route(first); };
      });
      add(pairs, "route_plan", m, n, "scan",
          [](Ours& o, Index first) {
            o.route_ranked(first);
            o.plan(first);
          },
          [](Ours& ours) {
            check(ours);
            return [sort = CountingSort(ours.model), theirs = Baseline<Way::scan>(ours.model), out = Outcome()](
                       Ours& o, Index first) mutable {
              theirs.route(o.logits.data() + first * o.model.experts, o.tokens, out);
              sort(out.ids.data(), o.tokens * o.model.top_k);
            };
          });
    }
});

} // namespace
} // namespace bench
