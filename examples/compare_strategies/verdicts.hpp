// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The JSON of --model text as values by seed, and what an expectation makes of them.

#include "page.hpp"

#include <map>

namespace lab {

inline constexpr char const* reference = "loss_global";
inline constexpr double never = 1e9; // steps

/// The results of each strategy, a seed each.
class Results {
public:
  explicit Results(nlohmann::json const& list);
  bool has(std::string_view name) const { return !lines(name).empty() && lines(name).front().contains("perplexity"); }
  std::vector<nlohmann::json> const& lines(std::string_view name) const;
  std::vector<double> values(std::string_view name, char const* key) const; // null: never
  /// Of the seeds that both have.
  std::pair<std::vector<double>, std::vector<double>> paired(std::string_view a, char const* a_key, std::string_view b,
                                                             char const* b_key) const;
  double mean(std::string_view name, char const* key) const;

private:
  std::map<std::string, std::vector<nlohmann::json>, std::less<>> lines_;
};

/// Mean ± deviation.
std::string spread_text(char const* pattern, std::vector<double> const& values);
/// a - b, seed by seed.
std::string differences_text(char const* pattern, std::vector<double> const& a, std::vector<double> const& b);

enum class Outcome { Holds, Fails, Unclear, NoClaim };
struct Verdict {
  std::string seen, words;
  Outcome outcome;
};
Verdict judged(Results const& results, Expected const& expected);

} // namespace lab
