// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "markdown.hpp"
#include "paper.hpp"
#include "strategies.hpp"
#include "tables.hpp"

#include <cmath>

namespace locality {

namespace {

constexpr char const* baseline = "switch";

std::string differences(Results const& results, std::string const& name, Group const& group) {
  if (name == baseline) return "";
  auto const mine = results.values(name, group, perplexity), its = results.values(baseline, group, perplexity);
  std::string text;
  for (std::size_t i = 0; i < std::min(mine.size(), its.size()); ++i)
    text += format("%s%+.2f", i ? " " : "", mine[i] - its[i]);
  return text;
}

} // namespace

std::string seen(Results const& results, Group const& group) {
  std::vector<Row> rows;
  double const here = results.mean(baseline, group, [](Result const& r) { return r.here.total(); });
  double const ascend = results.mean(baseline, group, ascend_seconds);
  for (Strategy const& s : strategies()) {
    std::string const name = s.name;
    rows.push_back({code(name), results.text("%.1f", name, group, percent_in_rank),
                    results.text("%.1f", name, group, percent_in_node), results.text("%.0f", name, group, kilobytes),
                    results.text("%.2f", name, group, [](Result const& r) { return r.max_vio; }),
                    results.text("%.2f", name, group, [](Result const& r) { return r.rank_vio; }),
                    results.text("%.1f", name, group, percent_lost),
                    results.text("%.0f", name, group, [](Result const& r) { return double(r.dead); }),
                    results.text("%.2f", name, group, perplexity), differences(results, name, group),
                    results.text("%.2f", name, group, [](Result const& r) { return r.specialisation; }),
                    format("%.2f", results.mean(name, group, [](Result const& r) { return r.here.total(); }) / here),
                    format("%.2f", results.mean(name, group, ascend_seconds) / ascend)});
  }
  return table({"name", "in the rank, %", "in the node, %", "KB between nodes", "max_vio", "fullest rank",
                "no expert, %", "dead", "perplexity", "to `switch`, by seed", "MI, bits", "time here", "time, 910A"},
               rows);
}

std::string pull(Results const& results) {
  std::vector<Row> rows;
  for (double const coefficient : {0.03, 0.1, 0.3, 1.0}) {
    Row row{format("%g", coefficient)};
    for (char const* name : {"switch_locality", "locmoe"}) {
      Group const group{.locality = coefficient};
      row.push_back(results.text("%.1f", name, group, percent_in_node));
      row.push_back(results.text("%.2f", name, group, perplexity));
      row.push_back(results.text("%.2f", name, group, [](Result const& r) { return r.rank_vio; }));
    }
    rows.push_back(row);
  }
  return table({"coefficient", "Switch + loss: in the node, %", "perplexity", "fullest rank", "LocMoE: in the node, %",
                "perplexity", "fullest rank"},
               rows);
}

namespace {
std::vector<char const*> const at_paper_nodes{"hash_pair", "switch", "switch_locality", "locmoe", "locmoe_home"};
double moe_saving(Results const& results, std::string const& name, Group const& group) {
  return 1 - results.mean(name, group, ascend_seconds) / results.mean("hash_pair", group, ascend_seconds);
}
} // namespace

std::string nodes_table(Results const& results) {
  std::vector<Row> rows;
  for (Index const nodes : {8, 16, 32})
    for (std::string const name : at_paper_nodes) {
      Group const group{.ranks = nodes, .ranks_per_node = 1};
      rows.push_back({format("%d", int(nodes)), code(name), results.text("%.1f", name, group, percent_in_node),
                      results.text("%.2f", name, group, [](Result const& r) { return r.rank_vio; }),
                      results.text("%.1f", name, group, percent_lost), results.text("%.2f", name, group, perplexity),
                      format("%+.1f %%", 100 * moe_saving(results, name, group))});
    }
  return table({"nodes", "name", "in the node, %", "fullest node with experts", "no expert, %", "perplexity",
                "saved against `hash_pair`, 910A"},
               rows);
}

namespace {
struct Claim {
  std::string words, seen, verdict;
};
} // namespace

std::string claims(Results const& results) {
  Group const same{.share = 0}, own{}, many{.ranks = 32, .ranks_per_node = 1}, few{.ranks = 8, .ranks_per_node = 1};
  auto const node = [&](char const* name, Group const& g) { return results.mean(name, g, percent_in_node); };
  auto const quality = [&](char const* name, Group const& g) { return results.mean(name, g, perplexity); };
  auto const verdict = [](bool holds) { return std::string(holds ? "holds" : "does not"); };
  auto const here = [&](char const* name) {
    return results.mean(name, own, [](Result const& r) { return r.here.total(); });
  };
  double const at_few = moe_saving(results, "locmoe", few), at_many = moe_saving(results, "locmoe", many);
  double const home_at_few = moe_saving(results, "locmoe_home", few),
               home_at_many = moe_saving(results, "locmoe_home", many);
  double const over_hash = 1 - here("locmoe") / here("hash_pair"), over_switch = 1 - here("locmoe") / here("switch");
  double const lost = results.mean("locmoe_plus", own, percent_lost);
  double const worse = quality("locmoe_plus", own) - quality("locmoe", own);
  double const price = quality("locmoe", own) - quality("switch", own);
  double const price_of_loss = quality("switch_locality", own) - quality("switch", own);
  std::vector<Claim> const all{
      {"LocMoE: the locality loss keeps tokens in their node",
       format("%.1f %% stay where nodes read their own text, %.1f %% where all read the same; chance is 25 %%",
              node("locmoe", own), node("locmoe", same)),
       node("locmoe", own) < 30    ? "does not"
       : node("locmoe", same) > 30 ? "holds"
                                   : "only with own text"},
      {"LocMoE: 12.68 % to 22.24 % of the time saved over hash and Switch routers",
       format("of experts and exchanges: on this machine's links, 4 nodes, %.1f %% over `hash_pair` and %.1f %% over "
              "`switch`; on 8 nodes of the published machine %.1f %% over `hash_pair`, as experts are most of it and "
              "LocMoE's fullest is fuller; with a preference for home %.1f %%",
              100 * over_hash, 100 * over_switch, 100 * at_few, 100 * home_at_few),
       at_few >= paper::least_saving                                            ? "holds"
       : over_hash >= paper::least_saving || home_at_few >= paper::least_saving ? "in part"
                                                                                : "does not"},
      {"LocMoE: all-to-all takes 5.13 % less time",
       format("by the paper's own shares that is %.1f %% of a step at 16 nodes and %.1f %% at 32: what else 12.68 %% "
              "is made of "
              "(lower capacity, balance, overlap) is not said",
              100 * paper::less_exchange * paper::share_16, 100 * paper::less_exchange * paper::share_32),
       "too little for the claim above"},
      {"LocMoE: hash is faster where nodes outnumber experts (32 nodes, 16 experts)",
       format("time against `hash_pair`: LocMoE's choices %+.1f %% at 32 nodes and %+.1f %% at 8, with a preference "
              "for home "
              "%+.1f %% and %+.1f %%",
              -100 * at_many, -100 * at_few, -100 * home_at_many, -100 * home_at_few),
       at_many >= 0 || home_at_many >= 0 ? "does not"
       : at_few >= 0                     ? "holds"
                                         : "holds; without the preference hash wins at 8 too, by less"},
      {"LocMoE: without loss of accuracy",
       format("perplexity %+.2f to `switch`, of which GrAP's fixed gate has most: the loss alone, on a learned gate, "
              "%+.2f",
              price, price_of_loss),
       verdict(std::abs(price) < 0.1)},
      {"LocMoE+: 40 % fewer tokens an expert without loss",
       format("its adaptive capacity leaves %.1f %% of the tokens without expert; perplexity %+.2f to `locmoe`", lost,
              worse),
       verdict(lost >= 40 && worse < 0.1)},
      {"FasterMoE: a cap on what leaves keeps tokens near whatever the text",
       format("%.1f %% stay with the same text everywhere; perplexity %+.2f to `switch`", node("fastermoe", same),
              quality("fastermoe", same) - quality("switch", same)),
       verdict(node("fastermoe", same) > 80)},
  };
  std::vector<Row> rows;
  for (Claim const& c : all) rows.push_back({c.words, c.seen, c.verdict});
  return table({"claim", "here", "verdict"}, rows);
}

} // namespace locality
