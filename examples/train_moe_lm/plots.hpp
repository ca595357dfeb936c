// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The pictures of a run, as gnuplot scripts with their data inside. gnuplot writes one SVG per picture.

#include "catalogue.hpp"
#include "record.hpp"
#include "table.hpp"

#include <algorithm>
#include <numeric>
#include <sstream>

namespace train {

/// One SVG to be: a file name and the script that draws it.
struct Plot {
  std::string file;
  std::string script;
};

namespace detail {

/// Colour says rule and scope, dashes say the gate.
inline std::string line_style(StrategyInfo const& info) {
  char const* colour = "#888888";
  if (info.rule == RuleKind::Bias) colour = info.pool == Pool::MicroBatch ? "#b15928" : "#33a02c";
  if (info.rule == RuleKind::Loss) switch (info.pool) {
    case Pool::MicroBatch:
      colour = "#e31a1c";
      break;
    case Pool::Ranks:
      colour = "#fdbf6f";
      break;
    case Pool::Running:
      colour = "#ff7f00";
      break;
    case Pool::RandomSubset:
      colour = "#a6cee3";
      break;
    default:
      colour = "#1f4fb4";
    }
  return format("lc rgb '%s' lw 2 dt %d", colour, info.gate == GateKind::Softmax ? 1 : 2);
}

inline std::string terminal(std::string const& file, int width, int height, int font = 12) {
  std::string const name = file.substr(0, file.find('.'));
  return format("reset\nset terminal svg size %d,%d font 'sans-serif,%d' name '%s' background '#ffffff'\nset output "
                "'%s'\n",
                width, height, font, name.c_str(), file.c_str()) +
         "set encoding utf8\nset border 3 lc rgb '#555555'\nset tics nomirror\n";
}
inline std::string quoted(std::string_view text) { // underscores and the like stand for themselves: noenhanced
  std::string out = "'";
  for (char const c : text) out += c == '\'' ? "''" : std::string(1, c);
  return out + "'";
}

/// Mean of the values in a window that ends at each.
inline std::vector<double> smoothed(std::vector<double> const& values, std::size_t window) {
  std::vector<double> out(values.size());
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    sum += values[i] - (i >= window ? values[i - window] : 0);
    out[i] = sum / double(std::min(i + 1, window));
  }
  return out;
}

using Curve = std::vector<std::pair<double, double>>;

inline std::string line_plot(std::string const& file, std::string const& y_label,
                             std::vector<Record const*> const& runs, std::vector<Curve> const& curves,
                             std::string const& settings) {
  std::ostringstream out;
  out << terminal(file, 900, 420) << "set xlabel 'step'\nset ylabel '" << y_label
      << "' noenhanced\nset grid ytics lc rgb '#dddddd'\n"
      << "set key outside right top vertical Left reverse noenhanced samplen 2.5\n"
      << settings;
  for (std::size_t i = 0; i < curves.size(); ++i) {
    out << "$curve" << i << " << EOD\n";
    for (auto const& [x, y] : curves[i]) out << x << ' ' << y << '\n';
    out << "EOD\n";
  }
  out << "plot ";
  for (std::size_t i = 0; i < curves.size(); ++i)
    out << (i ? ", " : "") << "$curve" << i << " with lines " << line_style(*find_strategy(runs[i]->name)) << " title "
        << quoted(runs[i]->name);
  out << "\nunset output\n";
  return out.str();
}

/// Loads relative to the mean: white is nobody, the middle is the mean, dark is four times as much and more.
inline constexpr char const* load_palette = "set palette defined (0 '#ffffff', 0.15 '#deebf7', 1 '#6baed6', 2 "
                                            "'#2171b5', 3 '#fd8d3c', 4 '#a50f15')\nset cbrange [0:4]\n";

} // namespace detail

/// Perplexity of training text (mean of the last 20 steps) and of validation text.
inline std::vector<Plot> loss_plots(std::vector<Record const*> const& runs) {
  std::vector<detail::Curve> training, validation;
  double low = 1e9, low_training = 1e9;
  for (Record const* r : runs) {
    auto const smooth = detail::smoothed(r->train_loss, 20);
    detail::Curve t, v;
    for (std::size_t i = 0; i < smooth.size(); ++i) t.emplace_back(double(i + 1), std::exp(smooth[i]));
    for (Checkpoint const& c : r->checkpoints) v.emplace_back(double(c.step), c.perplexity);
    low_training = std::min(low_training, t.back().second);
    if (v.empty()) v.emplace_back(0, NAN);
    for (auto const& [x, y] : v) low = std::min(low, y);
    training.push_back(std::move(t));
    validation.push_back(std::move(v));
  }
  std::string const tics =
      "set logscale y\nset ytics (1.5,2,2.5,3,3.5,4,4.5,5,5.5,6,6.5,7,7.5,8,8.5,9,9.5,10,11,12,14,16,18,20,25,30,40,"
      "50,70,100,150,200)\n";
  auto const range = [](double from) {
    return from < 1e9 ? format("set yrange [%.3f:%.3f]\n", from * 0.97, from * 1.8) : "";
  };
  std::vector<Plot> plots{{"validation.svg", detail::line_plot("validation.svg", "validation perplexity", runs,
                                                               validation, tics + range(low))},
                          {"training.svg", detail::line_plot("training.svg", "training perplexity, mean of 20 steps",
                                                             runs, training, tics + range(low_training))}};

  auto const reference =
      std::find_if(runs.begin(), runs.end(), [](Record const* r) { return r->name == reference_strategy; });
  if (reference == runs.end()) return plots;
  detail::Curve const base = validation[std::size_t(reference - runs.begin())];
  for (detail::Curve& curve : validation)
    for (std::size_t i = 0; i < curve.size(); ++i) curve[i].second -= i < base.size() ? base[i].second : NAN;
  plots.push_back(
      {"difference.svg", detail::line_plot("difference.svg", "validation perplexity minus loss-global", runs,
                                           validation, "set yrange [-1:2.5]\nset format y '%+.1f'\n")});
  return plots;
}

inline Plot max_vio_plot(std::vector<Record const*> const& runs) {
  std::vector<detail::Curve> curves;
  for (Record const* r : runs) {
    auto const smooth = detail::smoothed(r->max_vio, 20);
    detail::Curve c;
    for (std::size_t i = 0; i < smooth.size(); ++i) c.emplace_back(double(i + 1), std::max(1e-3, smooth[i]));
    curves.push_back(std::move(c));
  }
  return {"max_vio.svg", detail::line_plot("max_vio.svg", "max_vio of a step, mean of 20 steps", runs, curves,
                                           "set logscale y\nset ytics (0.1,0.2,0.5,1,2,5,10,20,50,100)\n")};
}

/// Load of each expert of all layers over time: one column a group of steps; experts in the order of their load at the
/// end.
inline Plot load_plot(Record const& r, std::string const& file) {
  std::int64_t const steps = r.steps(), experts = r.layers * r.experts, columns = std::min<std::int64_t>(steps, 100);
  std::vector<std::vector<double>> load(std::size_t(experts), std::vector<double>(std::size_t(columns), 0));
  for (std::int64_t c = 0; c < columns; ++c) {
    double sum = 0;
    for (std::int64_t s = steps * c / columns; s < steps * (c + 1) / columns; ++s)
      for (std::int64_t e = 0; e < experts; ++e) {
        double const n = r.load[std::size_t(s * experts + e)];
        load[std::size_t(e)][std::size_t(c)] += n;
        sum += n;
      }
    for (auto& row : load) row[std::size_t(c)] *= double(experts) / sum;
  }
  auto const at_end = [&](std::vector<double> const& row) {
    return std::accumulate(row.end() - std::ptrdiff_t((row.size() + 9) / 10), row.end(), 0.0);
  };
  std::vector<std::pair<double, std::size_t>> order; // minus the load at the end, expert
  for (std::size_t e = 0; e < load.size(); ++e) order.emplace_back(-at_end(load[e]), e);
  std::sort(order.begin(), order.end());
  std::ostringstream out;
  out << detail::terminal(file, 400, 250, 11) << detail::load_palette << "set title " << detail::quoted(r.name)
      << " noenhanced\nset xlabel 'step' offset 0,0.5\nset ylabel 'expert, by load at the end' offset 1,0\nunset key\n"
      << "set cblabel 'load / mean' offset 0.5,0\nset cbtics 1\nset format cb '%g'\n"
      << format("set xrange [0:%lld]\nset yrange [%lld:0]\n", static_cast<long long>(steps),
                static_cast<long long>(experts))
      << "$load << EOD\n";
  for (auto const& [less, expert] : order) {
    for (double const v : load[expert]) out << format("%.3g ", v);
    out << '\n';
  }
  double const width = double(steps) / double(columns);
  out << "EOD\nplot $load matrix using (($1+0.5)*" << width << "):($2+0.5):($3>4?4:$3) with image\nunset output\n";
  return {file, out.str()};
}

/// Which domain goes to which expert: share of a domain's choices times E; experts in the order of their commonest
/// domain.
inline Plot domain_plot(Record const& r, std::string const& file) {
  std::int64_t const experts = r.layers * r.experts, domains = std::int64_t(r.domains.size());
  std::vector<double> share(r.domain_load.size());
  for (std::int64_t d = 0; d < domains; ++d) {
    auto const row = r.domain_load.begin() + d * experts;
    double const sum = double(std::accumulate(row, row + experts, std::int64_t(0)));
    for (std::int64_t e = 0; e < experts; ++e)
      share[std::size_t(d * experts + e)] = double(row[e]) * double(experts) / sum;
  }
  auto const top = [&](std::int64_t e) {
    std::int64_t best = 0;
    for (std::int64_t d = 1; d < domains; ++d)
      if (share[std::size_t(d * experts + e)] > share[std::size_t(best * experts + e)]) best = d;
    return std::pair(best, -share[std::size_t(best * experts + e)]);
  };
  std::vector<std::int64_t> order(static_cast<std::size_t>(experts));
  std::iota(order.begin(), order.end(), std::int64_t(0));
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return std::pair(top(a), a) < std::pair(top(b), b); });
  std::ostringstream out;
  out << detail::terminal(file, 600, 200, 11) << detail::load_palette << "set title " << detail::quoted(r.name)
      << " noenhanced\nset xlabel 'expert, by its commonest domain' offset 0,0.5\nunset key\nunset xtics\n"
      << "set cblabel 'load / mean' offset 0.5,0\nset cbtics 1\nset format cb '%g'\nset ytics (";
  for (std::int64_t d = 0; d < domains; ++d)
    out << (d ? ", " : "") << detail::quoted(r.domains[std::size_t(d)]) << ' ' << d;
  out << format(") noenhanced\nset xrange [-0.5:%lld.5]\nset yrange [%lld.5:-0.5]\n",
                static_cast<long long>(experts - 1), static_cast<long long>(domains - 1))
      << "$share << EOD\n";
  for (std::int64_t d = 0; d < domains; ++d) {
    for (std::int64_t const e : order) out << format("%.3g ", share[std::size_t(d * experts + e)]);
    out << '\n';
  }
  out << "EOD\nplot $share matrix using 1:2:($3>4?4:$3) with image pixels\nunset output\n";
  return {file, out.str()};
}

} // namespace train
