// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The table as HTML, with its pictures.

#include "columns.hpp"

#include "../train_moe_lm/report.hpp"

namespace lab {

namespace {

using train::format;

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
  out << train::detail::terminal(file, 1000, 620) << "set title " << train::detail::quoted(table.input)
      << " noenhanced\n"
      << "set xlabel 'step'\nset ylabel 'max_vio of a step' noenhanced\nset grid ytics lc rgb '#dddddd'\nset logscale "
         "y\n"
      << "set ytics (0.02,0.05,0.1,0.2,0.5,1,2,5,10,20,50)\nset key outside right top vertical Left reverse noenhanced "
         "samplen 2 font ',9'\n";
  Group drawn; // the first seed
  for (Group const& group : by_strategy(table)) drawn.push_back(group.front());
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    auto const smooth =
        train::detail::smoothed(drawn[i]->max_vio, std::max<std::size_t>(1, drawn[i]->max_vio.size() / 40));
    out << "$curve" << i << " << EOD\n";
    for (std::size_t s = 0; s < smooth.size(); ++s) out << s + 1 << ' ' << std::max(1e-2, smooth[s]) << '\n';
    out << "EOD\n";
  }
  out << "plot 1/0 notitle";
  for (std::size_t i = 0; i < drawn.size(); ++i)
    out << ", $curve" << i << " with lines " << line_style(*drawn[i], i) << " title "
        << train::detail::quoted(drawn[i]->name);
  out << "\nunset output\n";
  return {file, out.str()};
}

/// What balance costs: mass kept, or perplexity, against max_vio at the end.
train::Plot price_plot(Table const& table, std::string const& file) {
  auto const groups = by_strategy(table);
  bool const trained = !groups.empty() && groups.front().front()->model;
  std::ostringstream out;
  out << train::detail::terminal(file, 1000, 520) << "set title " << train::detail::quoted(table.input)
      << " noenhanced\n"
      << "set xlabel 'max_vio at the end' noenhanced\nset logscale x\nunset key\nset ylabel "
      << (trained ? "'perplexity of the validation text'\n" : "'% of the router''s own top-K mass that is kept'\n")
      << "set grid lc rgb '#dddddd'\nset offsets graph 0.05, graph 0.1, 0, 0\n$points << EOD\n";
  for (Group const& group : groups) {
    Result const& r = *group.front();
    out << std::max(1e-2, r.max_vio_end) << ' ' << (r.model ? r.model->perplexity : 100 * r.mass) << ' ' << r.name
        << '\n';
  }
  out << "EOD\nplot $points using 1:2 with points pt 7 ps 0.6 lc rgb '#1f4fb4', "
         "$points using 1:2:3 with labels noenhanced left offset 0.6,0 font ',8'\nunset output\n";
  return {file, out.str()};
}

} // namespace

std::string write_report(std::string const& folder, std::string const& settings, std::vector<Table> const& tables) {
  using train::detail::escaped;
  std::vector<train::Plot> plots;
  for (std::size_t i = 0; i < tables.size(); ++i) {
    plots.push_back(max_vio_plot(tables[i], "max_vio" + std::to_string(i) + ".svg"));
    plots.push_back(price_plot(tables[i], "price" + std::to_string(i) + ".svg"));
  }
  auto const pictures = train::detail::draw(plots);
  std::string html = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>moebal: "
                     "compare_strategies</title>\n<style>";
  html += std::string(train::detail::style) + "</style></head><body>\n<h1>Balancing strategies side by side</h1>\n<p>" +
          escaped(settings) + "</p>\n";
  for (std::size_t i = 0; i < tables.size(); ++i) {
    auto const columns = numbers(tables[i]);
    html += "<h2>" + escaped(tables[i].input) + "</h2>\n" +
            train::detail::html_table(titles_of(columns), lines_of(tables[i], columns));
    if (std::string const skipped = skipped_text(tables[i]); !skipped.empty())
      html += "<p>Not run:</p><pre>" + escaped(skipped) + "</pre>\n";
    for (std::size_t p = 2 * i; p < 2 * i + 2 && p < pictures.size(); ++p) html += pictures[p] + "\n";
  }
  html +=
      "<p>max_vio: largest load / mean load - 1, of a step over all ranks (at the end: mean of the last tenth; micro: "
      "of one "
      "micro-batch of one rank). Dropped: pairs beyond the capacity. Moved: choices that the router as it started (in "
      "a model: as it "
      "is, without bias and noise) would not have made. Mass kept: its probability, of the choices that were kept, as "
      "a part of that "
      "of its own top-K. Bytes: what a rank hands to collectives. ns: processor time of routing and balancing, "
      "gradient included. "
      "Perplexity of a selection that is not causal is no perplexity: it has seen later text.</p>\n</body></html>\n";
  write_file(folder + "/report.html", html);
  return folder + "/report.html";
}

} // namespace lab
