// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The report: one HTML file with everything in it. Written from whatever has been run so far, so that a stopped run has
// a report too.

#include "options.hpp"
#include "plots.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <unistd.h>

namespace train {

namespace detail {

inline std::string escaped(std::string_view text) {
  std::string out;
  for (char const c : text) out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  return out;
}
inline void write_whole(std::filesystem::path const& file, std::string const& text) {
  std::filesystem::path const fresh = file.string() + ".new";
  std::ofstream out(fresh, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  if (!out) throw std::runtime_error("could not write " + fresh.string());
  std::filesystem::rename(fresh, file);
}
inline std::string read_whole(std::filesystem::path const& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Runs gnuplot once for all plots, in a folder of its own. Answers the SVGs, each ready to stand inside HTML; an empty
/// list if gnuplot is not there or fails.
inline std::vector<std::string> draw(std::vector<Plot> const& plots) {
  std::filesystem::path const folder =
      std::filesystem::temp_directory_path() / ("train_moe_lm_plots_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  std::string script;
  for (Plot const& plot : plots) script += plot.script;
  write_whole(folder / "all.gp", script);
  int const failed = std::system(("cd '" + folder.string() + "' && gnuplot all.gp > log.txt 2>&1").c_str());
  std::vector<std::string> pictures;
  if (failed) {
    std::fprintf(stderr, "gnuplot could not be run (%s): the report has no pictures.\n",
                 read_whole(folder / "log.txt").substr(0, 300).c_str());
  } else {
    for (Plot const& plot : plots) {
      std::string svg = read_whole(folder / plot.file);
      for (std::size_t at = 0; (at = svg.find("<image ", at)) != std::string::npos; at += 7) // cells, not a blur
        svg.insert(at + 7, "style='image-rendering:optimizeSpeed;image-rendering:pixelated' ");
      std::size_t const start = svg.find("<svg");
      pictures.push_back(start == std::string::npos ? "" : svg.substr(start));
    }
  }
  std::filesystem::remove_all(folder);
  return pictures;
}

/// Titles are of two lines each.
inline std::string html_table(std::vector<std::string> const& titles, Lines const& lines) {
  if (lines.empty()) return "<p>No strategy has finished yet.</p>\n";
  std::string html = "<table>\n<tr>";
  for (std::string const& title : titles) {
    std::string const first = line_of(title, 0), second = line_of(title, 1);
    html += "<th>" + escaped(first) + (first.empty() ? "" : "<br>") + escaped(second) + "</th>";
  }
  html += "</tr>\n";
  for (auto const& line : lines) {
    html += "<tr>";
    for (std::string const& cell : line) html += "<td>" + escaped(cell) + "</td>";
    html += "</tr>\n";
  }
  return html + "</table>\n";
}

inline constexpr char const* style =
    "body{font:15px/1.45 sans-serif;margin:2em auto;max-width:1260px;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;font-size:14px}th,td{padding:3px 9px;text-align:right;border-bottom:1px solid #ddd}"
    "th:nth-child(-n+4),td:nth-child(-n+4){text-align:left}th{vertical-align:bottom}"
    ".row{display:flex;flex-wrap:wrap;gap:6px}svg{max-width:100%;height:auto}pre{font-size:14px}";

} // namespace detail

/// Writes folder/report.html. Pictures are those of the first seed, tables of all.
inline std::filesystem::path write_report(std::filesystem::path const& folder, Settings const& s,
                                          std::vector<Record> const& records) {
  std::vector<Record const*> runs;
  for (Record const& r : records)
    if (r.seed == s.seed && r.steps() > 0) runs.push_back(&r);

  std::vector<Plot> plots;
  if (!runs.empty()) {
    plots = loss_plots(runs);
    plots.push_back(max_vio_plot(runs));
    for (std::size_t i = 0; i < runs.size(); ++i)
      plots.push_back(load_plot(*runs[i], "load" + std::to_string(i) + ".svg"));
    for (std::size_t i = 0; i < runs.size(); ++i)
      if (!runs[i]->domain_load.empty()) plots.push_back(domain_plot(*runs[i], "domain" + std::to_string(i) + ".svg"));
  }
  std::vector<std::string> const pictures = plots.empty() ? std::vector<std::string>{} : detail::draw(plots);
  auto const section = [&](std::string const& title, std::string const& text, std::string_view prefix) {
    std::string html = "<h2>" + title + "</h2>\n<p>" + text + "</p>\n<div class=\"row\">\n";
    for (std::size_t i = 0; i < pictures.size(); ++i)
      if (plots[i].file.starts_with(prefix)) html += pictures[i] + "\n";
    return html + "</div>\n";
  };

  std::string html =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>moebal: train_moe_lm</title>\n<style>";
  html += std::string(detail::style) +
          "</style></head><body>\n<h1>Balancing strategies in a small language model</h1>\n<p>";
  html += format("E = %lld experts, top-%lld, %lld ranks with %lld micro-batches each, %lld steps, alpha %g, ",
                 static_cast<long long>(s.experts), static_cast<long long>(s.top_k), static_cast<long long>(s.ranks),
                 static_cast<long long>(s.micro_batches), static_cast<long long>(s.steps), s.alpha);
  html += s.capacity > 0 ? format("capacity factor %g. ", s.capacity) : "no token dropped. ";
  html += "Same seed, text in the same order and same initial weights for each strategy.";
  if (!runs.empty()) {
    html += " Domains: ";
    for (std::string const& d : runs.front()->domains)
      html += (&d == &runs.front()->domains.front() ? "" : ", ") + detail::escaped(d);
    html += ".";
  }
  html += "</p>\n";
  std::size_t finished = 0;
  for (Record const& r : records) finished += r.finished == Finished::Yes;
  std::size_t const wanted = s.strategies.size() * std::size_t(s.seeds);
  if (finished < wanted)
    html += format("<p><b>Stopped early: %zu of %zu runs have finished.</b> --resume goes on.</p>\n", finished, wanted);
  html += detail::html_table(title_cells(), lines_of(records));
  html += "<p>max_vio: largest load / mean load - 1, of the whole validation text (global) and of one training step "
          "(batch, mean of "
          "the last tenth). Specialisation: mutual information of domain and expert. Dead: below a tenth of the mean "
          "load. Dropped: "
          "in validation. Balancer: its calls and statistics, in the processor time of all ranks.</p>\n";
  if (std::string const paired = paired_text(records); !paired.empty())
    html += "<pre>" + detail::escaped(paired) + "</pre>\n";
  html += section("Loss",
                  format("Pictures are of seed %llu. Full lines: softmax gate, dashed: sigmoid gate.",
                         static_cast<unsigned long long>(s.seed)),
                  "validation");
  html += section("Differences", "On the same validation text, with the same training text before it.", "difference");
  html += section("Loss in training", "The strategies see the same text at the same step.", "training");
  html += section("max_vio over time", "Load of one training step, before any drop.", "max_vio");
  html += section("Load of each expert over time", "A white row is an expert that nobody chooses.", "load");
  html += section("Experts and domains",
                  "Where the tokens of each domain go, over the validation text, without any drop.", "domain");
  html += "</body></html>\n";

  std::filesystem::create_directories(folder);
  std::filesystem::path const file = folder / "report.html";
  detail::write_whole(file, html);
  return file;
}

} // namespace train
