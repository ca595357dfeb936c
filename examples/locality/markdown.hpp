// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Words of a page.

#include "../train_moe_lm/table.hpp"

#include <string>
#include <vector>

namespace locality {

using train::format;
using Row = std::vector<std::string>;

inline std::string table(Row const& head, std::vector<Row> const& rows) {
  auto const line = [](Row const& cells) {
    std::string text = "|";
    for (std::string const& cell : cells) text += " " + cell + " |";
    return text + "\n";
  };
  std::string text = line(head) + "|";
  for (std::size_t i = 0; i < head.size(); ++i) text += "---|";
  text += "\n";
  for (Row const& row : rows) text += line(row);
  return text + "\n";
}
inline std::string code(std::string const& name) { return "`" + name + "`"; }
inline std::string percent(double part, char const* pattern = "%.1f %%") { return format(pattern, 100 * part); }

} // namespace locality
