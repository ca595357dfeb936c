// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// route and route_stats: against what people write by hand, against floors, on unkind data and for odd numbers of experts.

#include "entries.hpp"
#include "floors.hpp"

namespace bench {
namespace {

template <Way way> auto baseline(bool stats) {
  return [=](Ours& ours) {
    check_against_oracle(ours);
    Baseline<way> theirs(ours.model);
    Outcome outcome;
    theirs.route(ours.logits.data(), ours.tokens, outcome, stats);
    check_choices(ours, 0, outcome.ids.data(), outcome.weights.data(), "a baseline");
    return [=](Ours& o, Index first) mutable {
      theirs.route(o.logits.data() + first * o.model.experts, o.tokens, outcome, stats);
    };
  };
}
auto floor_of(float (*floor)(float const*, Index)) {
  return [=](Ours& ours) {
    check_against_oracle(ours);
    return [=](Ours& o, Index first) {
      benchmark::DoNotOptimize(floor(o.logits.data() + first * o.model.experts, o.tokens * o.model.experts));
    };
  };
}

void route(Ours& ours, Index first) { ours.route(first); }
void route_stats(Ours& ours, Index first) { ours.route_stats(first); }

// Ours on other data or of another shape, against ours.
void add_other(Pairs const& pairs, std::string const& name, Model const& m, Kind kind, Model const& other, Index tokens,
               double units, double other_units) {
  pairs.add(name, double(tokens) * units, double(tokens) * other_units, [=]() -> Work {
    auto const ours = Ours::make(m, tokens, kind), peer = Ours::make(other, tokens);
    check_against_oracle(*ours);
    return {[=] { route_all(*ours); }, [=] { route_all(*peer); }};
  });
}

Part const part([](Pairs const& pairs) {
  for (Model const& m : models) {
    auto const floor = m.score == Model::Score::sigmoid ? sigmoid_all : exp_all;
    for (Index const n : sizes(pairs)) {
      add(pairs, "route", m, n, "scan", route, baseline<Way::scan>(false));
      if (n < 1024) continue;
      add(pairs, "route", m, n, "read_floor", route, floor_of(read_all));
      add(pairs, "route", m, n, "exp_floor", route, floor_of(floor));
      add(pairs, "route_stats", m, n, "scan", route_stats, baseline<Way::scan>(true));
      add(pairs, "route_stats", m, n, "route", route_stats, [](Ours&) { return route; });
      if (n != 4096) continue;
      add(pairs, "route", m, n, "naive", route, baseline<Way::naive>(false));
      add(pairs, "route", m, n, "eigen", route, baseline<Way::eigen>(false));
      for (auto const& [kind, kind_name] : kinds)
        if (kind != Kind::iid && !pairs.quick())
          add_other(pairs, entry(std::string("route:") + kind_name, m, n, "iid"), m, kind, m, n, 1, 1);
    }
  }
  for (Model const& odd : odd_models) {
    add(pairs, "route", odd, 4096, "exp_floor", route, floor_of(exp_all));
    add(pairs, "route", odd, 4096, "read_floor", route, floor_of(read_all));
    add(pairs, "route", odd, 4096, "scan", route, baseline<Way::scan>(false));
    if (odd.experts < 60 || odd.experts % 64 == 0) continue;
    for (Model const& even : odd_models) // a logit, not a token
      if (even.experts % 64 == 0 && even.experts > odd.experts - 64 && even.experts < odd.experts + 64)
        add_other(pairs, entry("route:per_logit", odd, 4096, even.name), odd, Kind::iid, even, 4096, double(odd.experts),
                  double(even.experts));
  }
});

} // namespace
} // namespace bench
