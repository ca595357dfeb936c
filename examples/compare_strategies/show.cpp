// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "columns.hpp"

#include "../train_moe_lm/report.hpp"

namespace lab {

using train::format;

std::string table_text(Table const& table) {
  auto const columns = numbers(table);
  std::string const skipped = skipped_text(table);
  return table.input + "\n" + train::aligned(titles_of(columns), lines_of(table, columns), words().size()) +
         (skipped.empty() ? "" : "Not run:\n" + skipped);
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
      nlohmann::json line{{"input", table.input},       {"name", r.name},
                          {"gate", row.info.gate},      {"scope", row.facts.scope},
                          {"causal", row.facts.causal}, {"seed", r.seed}};
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

} // namespace lab
