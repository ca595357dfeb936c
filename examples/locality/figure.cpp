// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// docs/locality.svg.

#include "page.hpp"
#include "paper.hpp"
#include "results.hpp"
#include "strategies.hpp"
#include "svg.hpp"

namespace locality {

namespace {

using svg::Style;

std::string colour_of(std::string const& name) {
  static std::vector<std::pair<char const*, char const*>> const colours{
      {"hash", "#999999"},     {"hash_pair", "#444444"},     {"switch", "#e31a1c"},      {"switch_locality", "#fb9a99"},
      {"locmoe", "#1f4fb4"},   {"locmoe_global", "#33a02c"}, {"locmoe_home", "#6a3d9a"}, {"locmoe_plus", "#17becf"},
      {"fastermoe", "#ff7f00"}};
  for (auto const& [known, colour] : colours)
    if (name == known) return colour;
  return "#000000";
}

svg::Panel by_share(Results const& results) {
  svg::Panel panel{.title = "Tokens that stay in their node (4 nodes)",
                   .x = {"micro-batches of the node's own domains", 0, 1, 0.25},
                   .y = {"tokens that stay, %", 0, 100, 25},
                   .series = {}};
  for (Strategy const& s : strategies()) {
    svg::Series line{.name = s.title, .colour = colour_of(s.name), .points = {}};
    for (double const share : {0.0, 0.5, 1.0})
      line.points.emplace_back(share, results.mean(s.name, {.share = share}, percent_in_node));
    panel.series.push_back(line);
  }
  return panel;
}

svg::Panel price(Results const& results) {
  svg::Panel panel{.title = "The price, each node with its own text",
                   .x = {"tokens that stay in their node, %", 0, 100, 25},
                   .y = {"perplexity", 8, 14, 1},
                   .series = {}};
  for (Strategy const& s : strategies()) {
    Group const own{};
    panel.series.push_back(
        {.name = "",
         .colour = colour_of(s.name),
         .style = Style::Points,
         .points = {{results.mean(s.name, own, percent_in_node), results.mean(s.name, own, perplexity)}}});
  }
  for (std::string const name : {"switch_locality", "locmoe"}) {
    svg::Series line{.name = std::string(find_strategy(name).title) + ", coefficient 0.03, 0.1, 0.3, 1",
                     .colour = colour_of(name),
                     .points = {}};
    for (double const coefficient : {0.03, 0.1, 0.3, 1.0}) {
      Group const group{.locality = coefficient};
      line.points.emplace_back(results.mean(name, group, percent_in_node), results.mean(name, group, perplexity));
    }
    panel.series.push_back(line);
  }
  return panel;
}

svg::Panel region() {
  svg::Panel panel{.title = "What locality saves of a step, in the model",
                   .x = {"tokens that stay in a node with experts, %", 0, 100, 25},
                   .y = {"saved against a balanced hash, %", -15, 30, 5},
                   .series = {},
                   .bands = {{100 * paper::least_saving, 100 * paper::most_saving}}};
  auto const add = [&](std::string const& name, char const* colour, Style style, Index nodes, double vio,
                       double exchange) {
    svg::Series line{.name = name, .colour = colour, .style = style, .points = {}};
    for (double stays = 0; stays < 1.001; stays += 0.05)
      line.points.emplace_back(100 * stays, 100 * paper::saving(nodes, {}, {stays, vio}, {exchange, 0.3}));
    panel.series.push_back(line);
  };
  add("8 nodes, exchanges 18.10 % of a step", "#1f4fb4", Style::Line, 8, 0, paper::share_16);
  add("16 nodes, 28.74 %", "#33a02c", Style::Line, 16, 0, paper::share_32);
  add("32 nodes for 16 experts, 28.74 %", "#e31a1c", Style::Line, 32, 0, paper::share_32);
  add("the same, fullest expert 1.2 times the mean", "#e31a1c", Style::Dashed, 32, 0.2, paper::share_32);
  return panel;
}

} // namespace

std::string figure(nlohmann::json const& study) {
  Results const results(study);
  return svg::draw({by_share(results), price(results), region()});
}

} // namespace locality
