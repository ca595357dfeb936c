// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The columns of the table, for the terminal and the report.

#include "show.hpp"

#include "../train_moe_lm/table.hpp"

#include <algorithm>

namespace lab {

using Group = std::vector<Result const*>; // of one strategy, a seed each

/// The strategies of a table in the order of the first seed, without those that did not run.
inline std::vector<Group> by_strategy(Table const& table) {
  return train::by_strategy(table.results, [](Result const& r) { return r.skipped.empty(); });
}

struct Word {
  char const* title; // two lines
  std::string (*text)(Row const&);
};
inline std::vector<Word> const& words() {
  static std::vector<Word> const all{
      {"\nname", [](Row const& r) { return std::string(r.info.name); }},
      {"\ngate", [](Row const& r) { return std::string(r.info.gate); }},
      {"\nscope", [](Row const& r) { return r.facts.scope; }},
      {"\ncausal", [](Row const& r) { return std::string(r.facts.causal ? "yes" : "no"); }},
  };
  return all;
}
struct Number {
  char const* title; // two lines
  char const* pattern;
  double (*value)(Result const&); // negative: there is none
};
inline std::vector<Number> numbers(Table const& table) {
  bool const trained =
      std::any_of(table.results.begin(), table.results.end(), [](Result const& r) { return bool(r.model); });
  std::vector<Number> all;
  if (trained)
    all = {
        {"valid.\nperpl.", "%.3f", [](Result const& r) { return r.model->perplexity; }},
        {"same,\ncausal", "%.3f", [](Result const& r) { return r.model->perplexity_causal; }},
        {"max_vio\nvalid.", "%.2f", [](Result const& r) { return r.model->max_vio_global; }},
        {"dead\nexperts", "%.1f", [](Result const& r) { return double(r.model->dead_experts); }},
        {"special.\nbits", "%.3f", [](Result const& r) { return r.model->specialisation_bits; }},
        {"experts\na token", "%.2f", [](Result const& r) { return r.model->choices; }},
    };
  all.insert(all.end(), {
                            {"max_vio\n10%", "%.2f", [](Result const& r) { return r.max_vio_at[0]; }},
                            {"\n25%", "%.2f", [](Result const& r) { return r.max_vio_at[1]; }},
                            {"\n50%", "%.2f", [](Result const& r) { return r.max_vio_at[2]; }},
                            {"\nend", "%.2f", [](Result const& r) { return r.max_vio_end; }},
                            {"micro\nend", "%.2f", [](Result const& r) { return r.max_vio_micro; }},
                            {"steps to\nbalance", "%.0f", [](Result const& r) { return double(r.balanced_after); }},
                            {"dropped\n%", "%.1f", [](Result const& r) { return 100 * r.drop_rate; }},
                            {"moved\n%", "%.1f", [](Result const& r) { return 100 * r.moved; }},
                            {"mass kept\n%", "%.1f", [](Result const& r) { return 100 * r.mass; }},
                            {"bytes\na step", "%.0f", [](Result const& r) { return r.bytes; }},
                            {"ns a\ntoken", "%.0f", [](Result const& r) { return r.ns_per_token; }},
                        });
  return all;
}

inline std::vector<std::string> titles_of(std::vector<Number> const& columns) {
  std::vector<std::string> titles;
  for (Word const& w : words()) titles.emplace_back(w.title);
  for (Number const& n : columns) titles.emplace_back(n.title);
  return titles;
}
/// Mean and, over seeds, deviation; "-" where a seed has none.
inline std::vector<std::string> cells_of(Group const& group, std::vector<Number> const& columns) {
  std::vector<std::string> cells;
  for (Word const& w : words()) cells.push_back(w.text(*find_row(group.front()->name)));
  for (Number const& n : columns) {
    std::vector<double> values;
    for (Result const* r : group) values.push_back(n.value(*r));
    auto const s = train::spread_of(values);
    bool const none = *std::min_element(values.begin(), values.end()) < 0;
    cells.push_back(none ? "-"
                         : train::format(n.pattern, s.mean) +
                               (s.n > 1 && s.deviation > 0 ? " ±" + train::format(n.pattern, s.deviation) : ""));
  }
  return cells;
}

inline train::Lines lines_of(Table const& table, std::vector<Number> const& columns) {
  train::Lines lines;
  for (Group const& group : by_strategy(table)) lines.push_back(cells_of(group, columns));
  return lines;
}

/// A line for each strategy that did not run.
inline std::string skipped_text(Table const& table) {
  std::string text;
  for (Result const& r : table.results)
    if (!r.skipped.empty() && text.find("  " + r.name + ": ") == std::string::npos)
      text += "  " + r.name + ": " + r.skipped + "\n";
  return text;
}

} // namespace lab
