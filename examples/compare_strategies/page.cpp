// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "page.hpp"

#include "../train_moe_lm/table.hpp"
#include "docs.hpp"
#include "verdicts.hpp"

#include <array>
#include <stdexcept>

namespace lab {

namespace {

using nlohmann::json;
using train::format;

using detail::cell;

/// A table of numbers of the strategies that ran.
struct Column {
  char const* title;
  std::string (*text)(Results const&, std::string const& name);
};
std::string plain(Results const& r, std::string const& name, char const* pattern, char const* key) {
  return spread_text(pattern, r.values(name, key));
}
std::string mean(Results const& r, std::string const& name, char const* pattern, char const* key) {
  return format(pattern, r.mean(name, key));
}
std::string percent(Results const& r, std::string const& name, char const* key) {
  auto values = r.values(name, key);
  for (double& v : values) v *= 100;
  return spread_text("%.1f", values);
}

std::vector<Column> const learned{
    {"name", [](Results const&, std::string const& n) { return "`" + n + "`"; }},
    {"gate", [](Results const&, std::string const& n) { return std::string(find_row(n)->info.gate); }},
    {"scope", [](Results const&, std::string const& n) { return find_row(n)->facts.scope; }},
    {"perplexity",
     [](Results const& r, std::string const& n) {
       return plain(r, n, "%.3f", "perplexity") + (find_row(n)->facts.causal ? "" : " †");
     }},
    {"to `loss_global`, by seed",
     [](Results const& r, std::string const& n) {
       auto const [mine, its] = r.paired(n, "perplexity_causal", reference, "perplexity_causal");
       return n == reference ? "" : differences_text("%.3f", mine, its);
     }},
    {"evaluated causally",
     [](Results const& r, std::string const& n) {
       return find_row(n)->facts.causal ? "" : plain(r, n, "%.3f", "perplexity_causal");
     }},
    {"dead", [](Results const& r, std::string const& n) { return plain(r, n, "%.1f", "dead_experts"); }},
    {"MI, bits", [](Results const& r, std::string const& n) { return plain(r, n, "%.3f", "specialisation_bits"); }},
    {"experts a token",
     [](Results const& r, std::string const& n) { return plain(r, n, "%.2f", "experts_per_token"); }},
};
std::vector<Column> const balanced{
    learned[0],
    {"max_vio 10 %",
     [](Results const& r, std::string const& n) { return mean(r, n, "%.2f", "max_vio_at_10_percent"); }},
    {"25 %", [](Results const& r, std::string const& n) { return mean(r, n, "%.2f", "max_vio_at_25_percent"); }},
    {"50 %", [](Results const& r, std::string const& n) { return mean(r, n, "%.2f", "max_vio_at_50_percent"); }},
    {"end", [](Results const& r, std::string const& n) { return plain(r, n, "%.2f", "max_vio_end"); }},
    {"validation", [](Results const& r, std::string const& n) { return plain(r, n, "%.2f", "max_vio_validation"); }},
    {"micro-batch",
     [](Results const& r, std::string const& n) { return mean(r, n, "%.2f", "max_vio_micro_batch_end"); }},
    {"first below 1", [](Results const& r, std::string const& n) { return plain(r, n, "%.0f", "steps_to_balance"); }},
    {"dropped, %", [](Results const& r, std::string const& n) { return percent(r, n, "drop_rate"); }},
    {"moved, %", [](Results const& r, std::string const& n) { return percent(r, n, "moved_load"); }},
    {"mass kept, %", [](Results const& r, std::string const& n) { return percent(r, n, "mass_kept"); }},
    {"bytes a step", [](Results const& r, std::string const& n) { return mean(r, n, "%.0f", "bytes_per_step"); }},
    {"time",
     [](Results const& r, std::string const& n) {
       return format("%.1f", r.mean(n, "ns_per_token") / r.mean("none_softmax", "ns_per_token"));
     }},
};
std::string table(Results const& results, std::vector<Column> const& columns) {
  std::string text = "|", rule = "|";
  for (Column const& c : columns) text += std::string(" ") + c.title + " |", rule += "---|";
  text += "\n" + rule + "\n";
  for (Row const& row : registry()) {
    if (!results.has(row.info.name)) continue;
    text += "|";
    for (Column const& c : columns) text += " " + cell(c.text(results, row.info.name)) + " |";
    text += "\n";
  }
  return text;
}

std::string names_of(Claim const& claim) {
  std::string names;
  for (char const* name : claim.strategies) {
    if (!find_row(name)) throw std::invalid_argument(std::string("a claim is about no strategy of the lab: ") + name);
    names += (names.empty() ? "`" : ", `") + std::string(name) + "`";
  }
  return names;
}

/// The claims, each with a line for every comparison that was run. counts: of the outcomes.
std::string claims_text(Results const& results, std::array<int, 4>& counts) {
  std::string text = "| strategies | the paper | here | |\n|---|---|---|---|\n";
  for (Claim const& claim : claims()) {
    std::string head = "| " + names_of(claim) + " | " + cell(claim.words) + " ([source](" + claim.source + ")) | ";
    std::vector<std::string> lines;
    for (Expected const& e : claim.expected) {
      if (!results.has(e.a) || (e.expect != Expect::AtMost && !results.has(e.b))) continue;
      Verdict const v = judged(results, e);
      ++counts[std::size_t(v.outcome)];
      lines.push_back(cell(v.seen) + ". | " + v.words + " |\n");
    }
    if (lines.empty()) lines.push_back(claim.expected.empty() ? " | cannot be seen here |\n" : "Not run. | |\n");
    if (*claim.remark) lines.back().insert(lines.back().find(" | "), " " + cell(claim.remark));
    for (std::string const& line : lines) text += std::exchange(head, "| | | ") + line;
  }
  return text;
}

std::string missing_text(Results const& results) {
  std::string text = "| strategy | why |\n|---|---|\n";
  for (Row const& row : registry()) {
    auto const& lines = results.lines(row.info.name);
    if (!lines.empty() && !results.has(row.info.name))
      text +=
          std::string("| `") + row.info.name + "` | " + cell(lines.front().at("skipped").get<std::string>()) + " |\n";
  }
  for (Absent const& a : absent())
    text += std::string("| ") + cell(a.title) + " | " + cell(a.reason) + " ([source](" + a.source + ")) |\n";
  return text;
}

} // namespace

std::string lab_page(json const& list) {
  Results const results(list);
  std::size_t const seeds = results.lines(reference).size();
  std::array<int, 4> counts{};
  std::string const claims = claims_text(results, counts);
  std::string text =
      "# The lab: all strategies on the text model\n\n"
      "Written by the strategy lab: do not edit. The first command below trains, the second writes this page; numbers "
      "and verdicts are\n"
      "reckoned from docs/lab.json.\n\n"
      "```\n"
      "examples/run.sh compare_strategies --model text --seeds " +
      std::to_string(seeds) +
      " --json docs/lab.json --report \"\"\n"
      "examples/run.sh compare_strategies --lab docs/lab.json > docs/lab.md\n"
      "```\n\n"
      "**Setting.** The byte-level language model of `examples/train_moe_lm` with each strategy as its router: " +
      results.lines(reference).front().at("input").get<std::string>() + ", " + std::to_string(seeds) +
      " seeds, mean ± standard\ndeviation over them. Same initial weights and same text in the same order for all "
      "strategies of a seed; loss "
      "coefficient 0.1, bias rate 0.03\nfalling in a line to 0 (strategies scale these: `rows_*.cpp`), one "
      "configuration for all, chosen for the "
      "sign rule and the balancing loss and\ntuned for nobody else. [reproducing.md](reproducing.md) has the model and "
      "how far its effects can "
      "be trusted. A small model, few steps: a sign\nthat agrees is a sign that agrees, not a reproduction of a size. "
      "Rows of one gate compare "
      "best: the gate alone moves perplexity by more than\nmost rules do.\n\n"
      "## What the model learned\n"
      "Perplexity of the validation text, nothing dropped. **†** The selection is not causal: which experts a token "
      "gets depends on later "
      "tokens, and it\nwas evaluated as it was trained, so its perplexity has seen the future and **is not "
      "comparable**. \"Evaluated causally\" "
      "is what remains when each\ntoken is routed by itself: by the causal partner that the library has for the "
      "selection, with the same weights. "
      "Differences to `loss_global` are\nthe causal ones. Dead: below a tenth of the mean load. MI: mutual information "
      "of domain and expert.\n\n" +
      table(results, learned) +
      "\n## How it balanced, and what that cost\n"
      "max_vio = largest load / mean load − 1: of a training step after 10, 25 and 50 % of the run and at the end "
      "(mean of the last tenth), of the "
      "whole\nvalidation text, and of one micro-batch at the end. First below 1: the step at which max_vio of steps "
      "first is; a random router can be so at "
      "its\nstart and lose it again. Dropped: (token, choice) pairs that a\ncapacity factor of 1.25 would drop, over "
      "the whole run; nothing was dropped in training. Moved: choices that the router's "
      "own top-K would not\nhave made (without bias and noise), at the end. Mass kept: softmax mass of the choices "
      "that fit the capacity, as a part of "
      "that of its own top-K.\nBytes: what a rank hands to collectives. Time: processor time of routing and balancing "
      "a token, the one of "
      "`none_softmax` being 1, roughly, as the machine had other work; with 256 tokens a\nmicro-batch, statistics of a "
      "fixed size (1000 bins an expert) and "
      "calls weigh more than in a large "
      "model.\n\n" +
      table(results, balanced) +
      "\n## Claim by claim\n"
      "What the papers say, and what the runs above show. The verdicts are reckoned: a difference counts if it has the "
      "same sign for all seeds and "
      "its\nmean is more than 0.05 of perplexity, a tenth of a max_vio, 0.02 bits, one dead expert, 0.05 experts a "
      "token, half a percent of "
      "what is dropped or kept; \"as good\" is no "
      "worse by that; \"balances\" is a "
      "max_vio of the "
      "validation text of at most 1. " +
      std::to_string(seeds) + " seeds are " + std::to_string(seeds) + " seeds. Of the comparisons " +
      format("%d hold, %d do not, %d do not show either way; %d", counts[0], counts[1], counts[2], counts[3]) +
      " stand beside papers that claim nothing there.\n\n" + claims + "\n## Not trained\n\n" + missing_text(results);
  return text + "\n<!-- SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception -->\n";
}

} // namespace lab
