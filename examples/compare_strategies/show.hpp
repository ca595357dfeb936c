// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Results as a table, as JSON and as a picture.

#include "run.hpp"

#include <nlohmann/json.hpp>

namespace lab {

/// The strategies on one input; with seeds, a result for each.
struct Table {
  std::string input; // "synthetic, dirichlet", ...
  std::vector<Result> results;
};

std::string table_text(Table const& table);
nlohmann::json to_json(std::vector<Table> const& tables);
/// An object a line.
std::string json_text(nlohmann::json const& list);
/// Writes folder/report.html, with everything in it. Answers its path.
std::string write_report(std::string const& folder, std::string const& settings, std::vector<Table> const& tables);
void write_file(std::string const& file, std::string const& text);

} // namespace lab
