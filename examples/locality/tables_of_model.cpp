// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "machine.hpp"
#include "markdown.hpp"
#include "paper.hpp"
#include "tables.hpp"

#include <cmath>

namespace locality {

using nlohmann::json;

namespace {
std::string needed(double stays) { return stays > 1 ? "never" : percent(stays, "%.0f %%"); }
} // namespace

std::string reach() {
  std::vector<Row> rows;
  for (Index const nodes : {8, 16, 32})
    for (double const exchange : {paper::share_16, paper::share_32})
      for (double const experts : {0.2, 0.4}) {
        paper::Shares const shares{exchange, experts};
        paper::Habit const hash{}, dead{0, 16.0 / 9 - 1};
        rows.push_back({format("%d", int(nodes)), percent(exchange, "%.2f %%"), percent(experts, "%.0f %%"),
                        needed(paper::stays_for(paper::least_saving, nodes, hash, 0, shares)),
                        needed(paper::stays_for(paper::most_saving, nodes, hash, 0, shares)),
                        needed(paper::stays_for(paper::least_saving, nodes, dead, 0, shares)),
                        needed(paper::stays_for(paper::most_saving, nodes, dead, 0, shares)),
                        format("%.2f", paper::vio_limit(nodes, hash, 0.5, shares)),
                        format("%.2f", paper::vio_limit(nodes, hash, 0.8, shares))});
      }
  return table({"nodes", "exchanges", "experts", "12.68 % over hash", "22.24 % over hash", "12.68 % over Switch",
                "22.24 % over Switch", "hash wins above, half stays", "hash wins above, 80 % stay"},
               rows);
}

std::string figures_table() {
  std::vector<Row> rows;
  for (Figure const& f : {ascend::tflops, ascend::utilisation, ascend::hccs, ascend::roce, ascend::latency})
    rows.push_back(
        {f.name, f.unit, format("%g", f.value), f.low == f.high ? "" : format("%g to %g", f.low, f.high), f.source});
  return table({"figure", "unit", "taken", "varied", "source"}, rows);
}
std::string sensitivity() {
  struct Case {
    char const* name;
    double ascend::Values::*value;
    Figure const& figure;
  };
  std::vector<Row> rows;
  auto const add = [&](std::string const& name, ascend::Values const& values) {
    Row row{name};
    for (Index const nodes : {8, 16, 32}) row.push_back(percent(paper::nominal_share(nodes, {}, values)));
    rows.push_back(row);
  };
  add("as taken", {});
  for (Case const& c :
       {Case{"utilisation", &ascend::Values::utilisation, ascend::utilisation},
        Case{"RoCE", &ascend::Values::roce, ascend::roce}, Case{"latency", &ascend::Values::latency, ascend::latency}})
    for (double const v : {c.figure.low, c.figure.high}) {
      ascend::Values values;
      values.*c.value = v;
      add(format("%s %g", c.name, v), values);
    }
  return table({"", "8 nodes", "16 nodes", "32 nodes"}, rows);
}

namespace {
/// |predicted / measured - 1| of the exchanges that `which` picks, sorted.
template <class F> std::vector<double> errors(json const& links, F which) {
  std::vector<double> all;
  for (json const& e : links.at("exchanges"))
    if (which(e)) all.push_back(std::abs(e.at("predicted").get<double>() / e.at("measured").get<double>() - 1));
  std::sort(all.begin(), all.end());
  return all;
}
double median(std::vector<double> const& sorted) { return sorted[sorted.size() / 2]; }
bool fits(json const& e) { return e.at("tokens").get<Index>() <= 1024; }

} // namespace

std::string measured(json const& links) {
  auto const us = [](json const& e, char const* key) { return format("%.0f", 1e6 * e.at(key).get<double>()); };
  auto const error = [](json const& e) {
    return format("%+.0f %%", 100 * (e.at("predicted").get<double>() / e.at("measured").get<double>() - 1));
  };
  std::vector<Row> rows;
  for (json const& e : links.at("exchanges"))
    rows.push_back({e.at("habit").get<std::string>(), format("%d", e.at("tokens").get<int>()), us(e, "measured"),
                    us(e, "predicted"), error(e)});
  for (json const& e : links.at("sums"))
    rows.push_back({"all-reduce of int64", format("%d", e.at("integers").get<int>()), us(e, "measured"),
                    us(e, "predicted"), error(e)});
  return table({"exchange", "tokens a rank", "measured, us", "predicted, us", "error"}, rows);
}
namespace {
std::string machine_text(json const& links) {
  moebal::cost::Machine const m = machine_of(links.at("machine"));
  auto const link = [](char const* name, moebal::cost::Link const& l) {
    return format("%s %.0f us, %.0f us a message, %.2f GB/s", name, 1e6 * l.latency, 1e6 * l.message,
                  1e-9 * l.bandwidth);
  };
  return link("inside a rank", m.network.rank) + "; " + link("inside a node", m.network.node) + "; " +
         link("between nodes", m.network.between) +
         format("; experts %.0f GFLOP/s, %.1f rows to start one", 1e-9 * m.processor.flops, m.processor.start_rows);
}
} // namespace

std::string measured_words(json const& links) {
  std::vector<double> const near = errors(links, fits), far = errors(links, [](json const&e) { return !fits(e); });
  return "Fitted: " + machine_text(links) + ".\nMedian error " +
         format("%.0f %%, largest %.0f %% up to 1024 tokens a rank, within the sizes that were fitted; beyond them "
                "(4096) %.0f %%.",
                100 * median(near), 100 * near.back(), 100 * median(far));
}

std::string global_batch() {
  using namespace moebal::cost;
  constexpr double layers = 58, experts = 256, micro_batches = 16;
  std::vector<Row> rows;
  for (double const latency : {ascend::latency.low, ascend::latency.value, ascend::latency.high}) {
    ascend::Values values;
    values.latency = latency;
    Network const network = ascend::machine(8, values).network;
    auto const seconds = [&](double integers) { return all_reduce_seconds(network, {16384, 8}, 8 * integers); };
    double const packed = seconds(layers * experts), blocking = layers * micro_batches * seconds(experts);
    rows.push_back({format("%g us", latency), format("%.2f ms", 1e3 * packed), percent(packed, "%.3f %%"),
                    percent(packed / 5, "%.3f %%"), format("%.0f ms", 1e3 * blocking), percent(blocking, "%.1f %%"),
                    percent(blocking / 5, "%.1f %%"), format("%.0f", blocking / packed)});
  }
  return table({"latency of a message", "one packed all-reduce", "of a step of 1 s", "of 5 s", "58 x 16 blocking ones",
                "of a step of 1 s", "of 5 s", "times"},
               rows);
}

} // namespace locality
