// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "show.hpp"

#include "../train_moe_lm/report.hpp"

namespace lab {

namespace {

using train::format;

using Results = std::vector<Result const*>; // of one strategy, a seed each

/// The strategies of a table in the order of the first seed, without those that did not run.
std::vector<Results> by_strategy(Table const& table) {
  std::vector<Results> groups;
  for (Result const& r : table.results) {
    if (!r.skipped.empty()) continue;
    auto group = std::find_if(groups.begin(), groups.end(), [&](Results const& g) { return g.front()->name == r.name; });
    if (group == groups.end()) group = groups.insert(groups.end(), Results{});
    group->push_back(&r);
  }
  return groups;
}

struct Word {
  char const* title; // two lines
  std::string (*text)(Row const&);
};
std::vector<Word> const& words() {
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
std::vector<Number> numbers(Table const& table) {
  bool const trained = std::any_of(table.results.begin(), table.results.end(), [](Result const& r) { return bool(r.model); });
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

std::vector<std::string> titles_of(std::vector<Number> const& columns) {
  std::vector<std::string> titles;
  for (Word const& w : words()) titles.emplace_back(w.title);
  for (Number const& n : columns) titles.emplace_back(n.title);
  return titles;
}
/// Mean and, over seeds, deviation; "-" where a seed has none.
std::vector<std::string> cells_of(Results const& group, std::vector<Number> const& columns) {
  std::vector<std::string> cells;
  for (Word const& w : words()) cells.push_back(w.text(*find_row(group.front()->name)));
  for (Number const& n : columns) {
    std::vector<double> values;
    for (Result const* r : group) values.push_back(n.value(*r));
    auto const s = train::spread_of(values);
    bool const none = *std::min_element(values.begin(), values.end()) < 0;
    cells.push_back(none ? "-" : format(n.pattern, s.mean) + (s.n > 1 && s.deviation > 0 ? " ±" + format(n.pattern, s.deviation) : ""));
  }
  return cells;
}

/// Losses, biases, selections: a colour each, so that many curves can be read.
std::string line_style(Result const& r, std::size_t place) {
  Facts const& f = find_row(r.name)->facts;
  char const* const losses[] = {"#1f4fb4", "#6baed6", "#08306b", "#54278f", "#9e9ac8"};
  char const* const biases[] = {"#33a02c", "#b2df8a", "#006d2c", "#78c679"};
  char const* const others[] = {"#e31a1c", "#ff7f00", "#fdbf6f", "#b15928", "#888888"};
  char const* const colour = f.has_bias ? biases[place % 4] : f.has_loss ? losses[place % 5] : others[place % 5];
  return format("lc rgb '%s' lw 1.5 dt %d", colour, int(1 + place / 5 % 4));
}

train::Plot max_vio_plot(Table const& table, std::string const& file) {
  std::ostringstream out;
  out << train::detail::terminal(file, 1000, 620) << "set title " << train::detail::quoted(table.input) << " noenhanced\n"
      << "set xlabel 'step'\nset ylabel 'max_vio of a step' noenhanced\nset grid ytics lc rgb '#dddddd'\nset logscale y\n"
      << "set ytics (0.02,0.05,0.1,0.2,0.5,1,2,5,10,20,50)\nset key outside right top vertical Left reverse noenhanced samplen 2 font ',9'\n";
  Results drawn; // the first seed
  for (Results const& group : by_strategy(table)) drawn.push_back(group.front());
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    auto const smooth = train::detail::smoothed(drawn[i]->max_vio, std::max<std::size_t>(1, drawn[i]->max_vio.size() / 40));
    out << "$curve" << i << " << EOD\n";
    for (std::size_t s = 0; s < smooth.size(); ++s) out << s + 1 << ' ' << std::max(1e-2, smooth[s]) << '\n';
    out << "EOD\n";
  }
  out << "plot 1/0 notitle";
  for (std::size_t i = 0; i < drawn.size(); ++i)
    out << ", $curve" << i << " with lines " << line_style(*drawn[i], i) << " title " << train::detail::quoted(drawn[i]->name);
  out << "\nunset output\n";
  return {file, out.str()};
}

/// What balance costs: mass kept, or perplexity, against max_vio at the end.
train::Plot price_plot(Table const& table, std::string const& file) {
  auto const groups = by_strategy(table);
  bool const trained = !groups.empty() && groups.front().front()->model;
  std::ostringstream out;
  out << train::detail::terminal(file, 1000, 520) << "set title " << train::detail::quoted(table.input) << " noenhanced\n"
      << "set xlabel 'max_vio at the end' noenhanced\nset logscale x\nunset key\nset ylabel "
      << (trained ? "'perplexity of the validation text'\n" : "'% of the router''s own top-K mass that is kept'\n")
      << "set grid lc rgb '#dddddd'\nset offsets graph 0.05, graph 0.1, 0, 0\n$points << EOD\n";
  for (Results const& group : groups) {
    Result const& r = *group.front();
    out << std::max(1e-2, r.max_vio_end) << ' ' << (r.model ? r.model->perplexity : 100 * r.mass) << ' ' << r.name << '\n';
  }
  out << "EOD\nplot $points using 1:2 with points pt 7 ps 0.6 lc rgb '#1f4fb4', "
         "$points using 1:2:3 with labels noenhanced left offset 0.6,0 font ',8'\nunset output\n";
  return {file, out.str()};
}

/// A line for each strategy that did not run.
std::string skipped_text(Table const& table) {
  std::string text;
  for (Result const& r : table.results)
    if (!r.skipped.empty() && text.find("  " + r.name + ": ") == std::string::npos) text += "  " + r.name + ": " + r.skipped + "\n";
  return text;
}

} // namespace

std::string table_text(Table const& table) {
  auto const columns = numbers(table);
  std::vector<std::vector<std::string>> lines{{}, {}};
  for (std::string const& title : titles_of(columns))
    for (int i : {0, 1}) lines[std::size_t(i)].push_back(train::detail::line_of(title, i));
  for (Results const& group : by_strategy(table)) lines.push_back(cells_of(group, columns));
  std::vector<std::size_t> widths(lines.front().size());
  for (auto const& line : lines)
    for (std::size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], train::detail::width_of(line[c]));
  std::string text = table.input + "\n";
  for (auto const& line : lines) {
    for (std::size_t c = 0; c < line.size(); ++c) {
      std::string const gap(widths[c] - train::detail::width_of(line[c]), ' ');
      text += c < words().size() ? line[c] + gap + "  " : gap + line[c] + "  ";
    }
    text.resize(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  std::string const skipped = skipped_text(table);
  return text + (skipped.empty() ? "" : "Not run:\n" + skipped);
}

namespace {
/// Four digits say what there is to say; counts are whole.
double rounded(double x) { return std::stod(format(std::abs(x) < 1000 ? "%.4g" : "%.0f", x)); }
} // namespace

nlohmann::json to_json(std::vector<Table> const& tables) {
  nlohmann::json list = nlohmann::json::array();
  for (Table const& table : tables)
    for (Result const& r : table.results) {
      Row const& row = *find_row(r.name);
      nlohmann::json line{{"input", table.input}, {"name", r.name},         {"gate", row.info.gate},
                          {"scope", row.facts.scope}, {"causal", row.facts.causal}, {"seed", r.seed}};
      if (!r.skipped.empty()) {
        line["skipped"] = r.skipped;
        list.push_back(line);
        continue;
      }
      auto const number = [&line](char const* name, double value) { line[name] = rounded(value); };
      number("max_vio_at_10_percent", r.max_vio_at[0]);
      number("max_vio_at_25_percent", r.max_vio_at[1]);
      number("max_vio_at_50_percent", r.max_vio_at[2]);
      number("max_vio_end", r.max_vio_end);
      number("max_vio_micro_batch_end", r.max_vio_micro);
      line["steps_to_balance"] = r.balanced_after < 0 ? nlohmann::json() : nlohmann::json(r.balanced_after);
      number("drop_rate", r.drop_rate);
      number("moved_load", r.moved);
      number("mass_kept", r.mass);
      number("bytes_per_step", r.bytes);
      number("collectives_per_step", r.calls);
      number("ns_per_token", r.ns_per_token);
      if (r.model) {
        number("perplexity", r.model->perplexity);
        number("perplexity_causal", r.model->perplexity_causal);
        number("max_vio_validation", r.model->max_vio_global);
        number("max_vio_validation_micro_batch", r.model->max_vio_micro_batch);
        line["dead_experts"] = r.model->dead_experts;
        number("specialisation_bits", r.model->specialisation_bits);
        number("top_domain_share", r.model->top_domain_share);
        number("experts_per_token", r.model->choices);
      } else {
        line["max_vio"] = r.max_vio;
      }
      list.push_back(line);
    }
  return list;
}

std::string json_text(nlohmann::json const& list) {
  std::string text = "[\n";
  for (auto const& line : list) text += line.dump() + (&line == &list.back() ? "\n" : ",\n");
  return text + "]\n";
}

void write_file(std::string const& file, std::string const& text) {
  std::filesystem::path const path = file;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
  train::detail::write_whole(path, text);
}

std::string write_report(std::string const& folder, std::string const& settings, std::vector<Table> const& tables) {
  using train::detail::escaped;
  std::vector<train::Plot> plots;
  for (std::size_t i = 0; i < tables.size(); ++i) {
    plots.push_back(max_vio_plot(tables[i], "max_vio" + std::to_string(i) + ".svg"));
    plots.push_back(price_plot(tables[i], "price" + std::to_string(i) + ".svg"));
  }
  auto const pictures = train::detail::draw(plots);
  std::string html = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>moebal: compare_strategies</title>\n<style>";
  html += std::string(train::detail::style) + "</style></head><body>\n<h1>Balancing strategies side by side</h1>\n<p>" + escaped(settings) + "</p>\n";
  for (std::size_t i = 0; i < tables.size(); ++i) {
    auto const columns = numbers(tables[i]);
    html += "<h2>" + escaped(tables[i].input) + "</h2>\n<table>\n<tr>";
    for (std::string const& title : titles_of(columns))
      html += "<th>" + escaped(train::detail::line_of(title, 0)) + "<br>" + escaped(train::detail::line_of(title, 1)) + "</th>";
    html += "</tr>\n";
    for (Results const& group : by_strategy(tables[i])) {
      html += "<tr>";
      for (std::string const& cell : cells_of(group, columns)) html += "<td>" + escaped(cell) + "</td>";
      html += "</tr>\n";
    }
    html += "</table>\n";
    if (std::string const skipped = skipped_text(tables[i]); !skipped.empty()) html += "<p>Not run:</p><pre>" + escaped(skipped) + "</pre>\n";
    for (std::size_t p = 2 * i; p < 2 * i + 2 && p < pictures.size(); ++p) html += pictures[p] + "\n";
  }
  html += "<p>max_vio: largest load / mean load - 1, of a step over all ranks (at the end: mean of the last tenth; micro: of one "
          "micro-batch of one rank). Dropped: pairs beyond the capacity. Moved: choices that the router as it started (in a model: as it "
          "is, without bias and noise) would not have made. Mass kept: its probability, of the choices that were kept, as a part of that "
          "of its own top-K. Bytes: what a rank hands to collectives. ns: processor time of routing and balancing, gradient included. "
          "Perplexity of a selection that is not causal is no perplexity: it has seen later text.</p>\n</body></html>\n";
  write_file(folder + "/report.html", html);
  return folder + "/report.html";
}

} // namespace lab
