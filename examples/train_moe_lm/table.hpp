// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The comparison in numbers: a table for the terminal, paired differences over seeds, and JSON.

#include "catalogue.hpp"
#include "record.hpp"

#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <map>

namespace train {

inline std::string format(char const* pattern, ...) {
  char buffer[512];
  std::va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(buffer, sizeof buffer, pattern, arguments);
  va_end(arguments);
  return buffer;
}

/// Mean and, over two or more values, sample standard deviation.
struct Spread {
  double mean = 0, deviation = 0;
  std::size_t n = 0;
};
inline Spread spread_of(std::vector<double> const& values) {
  Spread s{.mean = 0, .deviation = 0, .n = values.size()};
  for (double const v : values) s.mean += v / double(s.n);
  for (double const v : values) s.deviation += (v - s.mean) * (v - s.mean);
  s.deviation = s.n > 1 ? std::sqrt(s.deviation / double(s.n - 1)) : 0;
  return s;
}

/// Runs by strategy, in the order in which each first comes, without those that are not `done`.
template <class Run, class Done>
std::vector<std::vector<Run const*>> by_strategy(std::vector<Run> const& runs, Done done) {
  std::vector<std::vector<Run const*>> groups;
  for (Run const& r : runs) {
    if (!done(r)) continue;
    auto const same = [&](auto const& group) { return group.front()->name == r.name; };
    auto group = std::find_if(groups.begin(), groups.end(), same);
    if (group == groups.end()) group = groups.insert(groups.end(), std::vector<Run const*>{});
    group->push_back(&r);
  }
  return groups;
}
inline std::vector<std::vector<Record const*>> by_strategy(std::vector<Record> const& records) {
  return by_strategy(records, [](Record const& r) { return r.finished == Finished::Yes; });
}

struct Column {
  char const* title; // two lines
  char const* pattern;
  double (*value)(Row const&);
};
inline std::vector<Column> const& columns() {
  static std::vector<Column> const all{
      {"valid.\nperpl.", "%.3f", [](Row const& r) { return r.perplexity; }},
      {"max_vio\nglobal", "%.2f", [](Row const& r) { return r.max_vio_global; }},
      {"max_vio\nbatch", "%.2f", [](Row const& r) { return r.max_vio_batch; }},
      {"special.\nbits", "%.3f", [](Row const& r) { return r.specialisation_bits; }},
      {"dead\nexperts", "%.1f", [](Row const& r) { return double(r.dead_experts); }},
      {"dropped\n%", "%.2f", [](Row const& r) { return 100 * r.dropped; }},
      {"ms per\nstep", "%.1f", [](Row const& r) { return 1e3 * r.seconds_per_step; }},
      {"balancer\n% of it", "%.2f", [](Row const& r) { return 100 * r.balancer_share; }},
  };
  return all;
}

/// The cells of one strategy: name, gate, strategy, scope, then columns(), as mean and deviation where there are seeds.
inline std::vector<std::string> cells_of(std::vector<Record const*> const& runs) {
  StrategyInfo const& info = *find_strategy(runs.front()->name);
  std::vector<std::string> cells{std::string(info.name), std::string(to_text(info.gate)),
                                 std::string(to_text(info.rule)), std::string(to_text(info.pool))};
  for (Column const& column : columns()) {
    std::vector<double> values;
    for (Record const* r : runs) values.push_back(column.value(r->row));
    Spread const s = spread_of(values);
    std::string cell = format(column.pattern, s.mean);
    if (s.n > 1) cell += " ±" + format(column.pattern, s.deviation);
    cells.push_back(cell);
  }
  return cells;
}
inline std::vector<std::string> title_cells() {
  std::vector<std::string> titles{"\nname", "\ngate", "\nstrategy", "\nscope"};
  for (Column const& column : columns()) titles.emplace_back(column.title);
  return titles;
}

namespace detail {
inline std::size_t width_of(std::string const& text) { // characters, not bytes: UTF-8 goes on after the first byte
  return std::size_t(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}
inline std::string line_of(std::string const& text, int line) {
  std::size_t const cut = text.find('\n');
  return line == 0 ? text.substr(0, cut) : text.substr(cut + 1);
}
} // namespace detail

using Lines = std::vector<std::vector<std::string>>; // cells

/// Titles, of two lines each, above the lines; the first `words` columns stand to the left, numbers to the right.
inline std::string aligned(std::vector<std::string> const& titles, Lines const& lines, std::size_t words) {
  Lines all{{}, {}};
  for (std::string const& title : titles)
    for (int i : {0, 1}) all[std::size_t(i)].push_back(detail::line_of(title, i));
  all.insert(all.end(), lines.begin(), lines.end());
  std::vector<std::size_t> widths(titles.size());
  for (auto const& line : all)
    for (std::size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], detail::width_of(line[c]));
  std::string text;
  for (auto const& line : all) {
    for (std::size_t c = 0; c < line.size(); ++c) {
      std::string const gap(widths[c] - detail::width_of(line[c]), ' ');
      text += c < words ? line[c] + gap + "  " : gap + line[c] + "  ";
    }
    text.resize(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

inline Lines lines_of(std::vector<Record> const& records) {
  Lines lines;
  for (auto const& group : by_strategy(records)) lines.push_back(cells_of(group));
  return lines;
}
inline std::string table_text(std::vector<Record> const& records) {
  auto const lines = lines_of(records);
  return lines.empty() ? "No strategy has finished yet.\n" : aligned(title_cells(), lines, 4);
}

/// Perplexity minus that of the reference strategy, seed by seed: same initial weights, same text in the same order.
struct Paired {
  std::string name;
  std::vector<double> differences;
};
inline std::vector<Paired> paired_differences(std::vector<Record> const& records) {
  std::map<std::uint64_t, double> reference;
  for (Record const& r : records)
    if (r.finished == Finished::Yes && r.name == reference_strategy) reference[r.seed] = r.row.perplexity;
  std::vector<Paired> all;
  if (reference.empty()) return all;
  for (auto const& group : by_strategy(records)) {
    if (group.front()->name == reference_strategy) continue;
    Paired paired{.name = group.front()->name, .differences = {}};
    for (Record const* r : group)
      if (auto const same = reference.find(r->seed); same != reference.end())
        paired.differences.push_back(r->row.perplexity - same->second);
    if (!paired.differences.empty()) all.push_back(paired);
  }
  return all;
}
inline std::string paired_text(std::vector<Record> const& records) {
  auto const all = paired_differences(records);
  if (all.empty()) return "";
  std::string text = "Perplexity minus that of " + std::string(reference_strategy) + ", seed by seed:\n";
  for (Paired const& paired : all) {
    text += format("  %-20s", paired.name.c_str());
    for (double const d : paired.differences) text += format("  %+.3f", d);
    if (paired.differences.size() > 1) text += format("   mean %+.3f", spread_of(paired.differences).mean);
    text += '\n';
  }
  return text;
}

/// A list of objects, one a finished run.
inline nlohmann::json to_table_json(std::vector<Record> const& records) {
  nlohmann::json list = nlohmann::json::array();
  for (Record const& r : records) {
    if (r.finished == Finished::No) continue;
    StrategyInfo const& info = *find_strategy(r.name);
    nlohmann::json object = r.row;
    object["name"] = r.name;
    object["gate"] = to_text(info.gate);
    object["strategy"] = to_text(info.rule);
    object["scope"] = to_text(info.pool);
    object["seed"] = r.seed;
    object["steps"] = r.steps();
    list.push_back(object);
  }
  return list;
}

} // namespace train
