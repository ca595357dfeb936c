// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "show.hpp"

#include "../train_moe_lm/report.hpp"

namespace lab {

namespace {

using train::format;

struct Column {
  char const* title; // two lines
  std::string (*text)(Result const&);
};
std::vector<Column> const& columns() {
  static std::vector<Column> const all{
      {"\nname", [](Result const& r) { return r.name; }},
      {"\ngate", [](Result const& r) { return std::string(find_row(r.name)->info.gate); }},
      {"\nscope", [](Result const& r) { return find_row(r.name)->facts.scope; }},
      {"\ncausal", [](Result const& r) { return std::string(!find_row(r.name)->facts.causal ? "no" : "yes"); }},
      {"max_vio\n10%", [](Result const& r) { return format("%.2f", r.max_vio_at[0]); }},
      {"\n25%", [](Result const& r) { return format("%.2f", r.max_vio_at[1]); }},
      {"\n50%", [](Result const& r) { return format("%.2f", r.max_vio_at[2]); }},
      {"\nend", [](Result const& r) { return format("%.2f", r.max_vio_end); }},
      {"micro\nend", [](Result const& r) { return format("%.2f", r.max_vio_micro); }},
      {"steps to\nbalance", [](Result const& r) { return r.balanced_after < 0 ? std::string("-") : std::to_string(r.balanced_after); }},
      {"dropped\n%", [](Result const& r) { return format("%.1f", 100 * r.drop_rate); }},
      {"moved\n%", [](Result const& r) { return format("%.1f", 100 * r.moved); }},
      {"mass kept\n%", [](Result const& r) { return format("%.1f", 100 * r.mass); }},
      {"bytes\na step", [](Result const& r) { return format("%.0f", r.bytes); }},
      {"ns a\ntoken", [](Result const& r) { return format("%.0f", r.ns_per_token); }},
  };
  return all;
}
constexpr std::size_t words = 4; // the first columns, which are text

std::vector<std::string> cells_of(Result const& r) {
  std::vector<std::string> cells;
  for (Column const& c : columns()) cells.push_back(c.text(r));
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
  std::vector<Result const*> drawn;
  for (Result const& r : table.results)
    if (!r.max_vio.empty()) drawn.push_back(&r);
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

/// What balance costs: mass kept against max_vio at the end.
train::Plot price_plot(Table const& table, std::string const& file) {
  std::ostringstream out;
  out << train::detail::terminal(file, 1000, 520) << "set title " << train::detail::quoted(table.input) << " noenhanced\n"
      << "set xlabel 'max_vio at the end' noenhanced\nset ylabel '% of the router''s own top-K mass that is kept'\nset logscale x\nunset key\n"
      << "set grid lc rgb '#dddddd'\nset offsets graph 0.05, graph 0.1, 0, 0\n$points << EOD\n";
  for (Result const& r : table.results)
    if (r.skipped.empty()) out << std::max(1e-2, r.max_vio_end) << ' ' << 100 * r.mass << ' ' << r.name << '\n';
  out << "EOD\nplot $points using 1:2 with points pt 7 ps 0.6 lc rgb '#1f4fb4', "
         "$points using 1:2:3 with labels noenhanced left offset 0.6,0 font ',8'\nunset output\n";
  return {file, out.str()};
}

} // namespace

std::string table_text(Table const& table) {
  std::vector<std::vector<std::string>> lines{{}, {}};
  for (Column const& c : columns())
    for (int i : {0, 1}) lines[std::size_t(i)].push_back(train::detail::line_of(c.title, i));
  std::string skipped;
  for (Result const& r : table.results) {
    if (r.skipped.empty())
      lines.push_back(cells_of(r));
    else
      skipped += "  " + r.name + ": " + r.skipped + "\n";
  }
  std::vector<std::size_t> widths(columns().size());
  for (auto const& line : lines)
    for (std::size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], line[c].size());
  std::string text = table.input + "\n";
  for (auto const& line : lines) {
    for (std::size_t c = 0; c < line.size(); ++c) {
      std::string const gap(widths[c] - line[c].size(), ' ');
      text += c < words ? line[c] + gap + "  " : gap + line[c] + "  ";
    }
    text.resize(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text + (skipped.empty() ? "" : "Not run:\n" + skipped);
}

nlohmann::json to_json(std::vector<Table> const& tables) {
  nlohmann::json list = nlohmann::json::array();
  for (Table const& table : tables)
    for (Result const& r : table.results) {
      Row const& row = *find_row(r.name);
      nlohmann::json line{{"input", table.input}, {"name", r.name}, {"gate", row.info.gate}, {"scope", row.facts.scope},
                          {"causal", row.facts.causal}};
      if (!r.skipped.empty()) {
        line["skipped"] = r.skipped;
        list.push_back(line);
        continue;
      }
      line["max_vio"] = r.max_vio;
      line["max_vio_at_10_percent"] = r.max_vio_at[0];
      line["max_vio_at_25_percent"] = r.max_vio_at[1];
      line["max_vio_at_50_percent"] = r.max_vio_at[2];
      line["max_vio_end"] = r.max_vio_end;
      line["max_vio_micro_batch_end"] = r.max_vio_micro;
      line["steps_to_balance"] = r.balanced_after < 0 ? nlohmann::json() : nlohmann::json(r.balanced_after);
      line["drop_rate"] = r.drop_rate;
      line["moved_load"] = r.moved;
      line["mass_kept"] = r.mass;
      line["bytes_per_step"] = r.bytes;
      line["collectives_per_step"] = r.calls;
      line["ns_per_token"] = r.ns_per_token;
      list.push_back(line);
    }
  return list;
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
    html += "<h2>" + escaped(tables[i].input) + "</h2>\n<table>\n<tr>";
    for (Column const& c : columns())
      html += "<th>" + escaped(train::detail::line_of(c.title, 0)) + "<br>" + escaped(train::detail::line_of(c.title, 1)) + "</th>";
    html += "</tr>\n";
    std::string skipped;
    for (Result const& r : tables[i].results) {
      if (!r.skipped.empty()) {
        skipped += "<li>" + escaped(r.name) + ": " + escaped(r.skipped) + "</li>\n";
        continue;
      }
      html += "<tr>";
      for (std::string const& cell : cells_of(r)) html += "<td>" + escaped(cell) + "</td>";
      html += "</tr>\n";
    }
    html += "</table>\n";
    if (!skipped.empty()) html += "<p>Not run:</p><ul>\n" + skipped + "</ul>\n";
    for (std::size_t p = 2 * i; p < 2 * i + 2 && p < pictures.size(); ++p) html += pictures[p] + "\n";
  }
  html += "<p>max_vio: largest load / mean load - 1, of a step over all ranks (at the end: mean of the last tenth; micro: of one "
          "micro-batch of one rank). Dropped: pairs beyond the capacity. Moved: choices that the router as it started would not have "
          "made. Mass kept: its probability, of the choices that were kept, as a part of that of its own top-K. Bytes: what a rank hands "
          "to collectives. ns: processor time of routing and balancing, gradient included.</p>\n</body></html>\n";
  write_file(folder + "/report.html", html);
  return folder + "/report.html";
}

} // namespace lab
