// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Panels of lines and points as one SVG, with nothing but text: the same numbers give the same bytes.

#include "../train_moe_lm/table.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace locality::svg {

using train::format;

enum class Style { Line, Dashed, Points, LineAndPoints };

struct Series {
  std::string name; // of the legend; empty: none
  std::string colour;
  Style style = Style::LineAndPoints;
  std::vector<std::pair<double, double>> points;
};
struct Axis {
  std::string label;
  double low = 0, high = 1, step = 0.25;
  char const* pattern = "%g";
};
struct Panel {
  std::string title;
  Axis x, y;
  std::vector<Series> series;
  std::vector<std::pair<double, double>> bands{}; // of y, shaded
};

namespace detail {

inline constexpr double width = 360, height = 250, left = 52, right = 12, top = 34, bottom = 44, line = 14;

inline std::string text(double x, double y, char const* anchor, std::string const& words, char const* more = "") {
  return format("<text x='%.1f' y='%.1f' text-anchor='%s'%s>", x, y, anchor, more) + words + "</text>\n";
}

inline std::string draw(Panel const& p, double at) {
  double const x0 = at + left, x1 = at + width - right, y0 = top, y1 = height - bottom;
  auto const x_of = [&](double v) { return x0 + (v - p.x.low) / (p.x.high - p.x.low) * (x1 - x0); };
  auto const y_of = [&](double v) { return y1 - (v - p.y.low) / (p.y.high - p.y.low) * (y1 - y0); };
  std::string out = text((x0 + x1) / 2, top - 14, "middle", p.title, " font-weight='bold'");
  for (auto const& [low, high] : p.bands)
    out += format("<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f' fill='#dddddd'/>\n", x0, y_of(high), x1 - x0,
                  y_of(low) - y_of(high));
  for (double v = p.x.low; v <= p.x.high + 1e-9; v += p.x.step) {
    out += format("<path d='M%.1f %.1fV%.1f' stroke='#e4e4e4'/>\n", x_of(v), y0, y1);
    out += text(x_of(v), y1 + line, "middle", format(p.x.pattern, v));
  }
  for (double v = p.y.low; v <= p.y.high + 1e-9; v += p.y.step) {
    double const shown = std::abs(v) < 1e-9 ? 0 : v;
    out += format("<path d='M%.1f %.1fH%.1f' stroke='#e4e4e4'/>\n", x0, y_of(v), x1);
    out += text(x0 - 5, y_of(v) + 4, "end", format(p.y.pattern, shown));
  }
  out += text((x0 + x1) / 2, y1 + 2.4 * line, "middle", p.x.label);
  out += text(0, 0, "middle", p.y.label,
              format(" transform='translate(%.1f %.1f) rotate(-90)'", at + 12, (y0 + y1) / 2).c_str());
  double legend = height + line / 2;
  for (Series const& s : p.series) {
    std::string path;
    for (auto const& [x, y] : s.points) path += format("%s%.1f %.1f", path.empty() ? "M" : "L", x_of(x), y_of(y));
    char const* const dash = s.style == Style::Dashed ? " stroke-dasharray='5 3'" : "";
    if (s.style != Style::Points)
      out += "<path d='" + path + "' fill='none' stroke='" + s.colour + "' stroke-width='1.6'" + dash + "/>\n";
    if (s.style == Style::Points || s.style == Style::LineAndPoints)
      for (auto const& [x, y] : s.points)
        out += format("<circle cx='%.1f' cy='%.1f' r='3.2' fill='%s'/>\n", x_of(x), y_of(y), s.colour.c_str());
    if (s.name.empty()) continue;
    out += format("<path d='M%.1f %.1fh18' stroke='%s' stroke-width='3'%s/>\n", x0, legend - 4, s.colour.c_str(), dash);
    out += text(x0 + 24, legend, "start", s.name);
    legend += line;
  }
  return out;
}

} // namespace detail

inline std::string draw(std::vector<Panel> const& panels) {
  double legend = 0;
  for (Panel const& p : panels) {
    auto const named = std::count_if(p.series.begin(), p.series.end(), [](Series const& s) { return !s.name.empty(); });
    legend = std::max(legend, detail::line * double(named + 1));
  }
  double const width = detail::width * double(panels.size()), height = detail::height + legend;
  std::string out = format("<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %.0f %.0f' font-family='sans-serif' "
                           "font-size='11' fill='#222222'>\n<rect width='100%%' height='100%%' fill='#ffffff'/>\n",
                           width, height);
  double at = 0;
  for (Panel const& p : panels) {
    out += detail::draw(p, at);
    at += detail::width;
  }
  return out + "</svg>\n";
}

} // namespace locality::svg
