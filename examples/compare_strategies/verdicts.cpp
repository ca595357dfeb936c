// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "verdicts.hpp"

#include "../train_moe_lm/table.hpp"
#include "registry.hpp"

#include <stdexcept>

namespace lab {

using nlohmann::json;
using train::format;

namespace {

struct MeasureInfo {
  char const* key;
  char const* words;
  char const* pattern;
  double noise;          // smaller differences of means are none
  double relative_noise; // the same, as a part of b
};
MeasureInfo const& info_of(Measure m) {
  static MeasureInfo const all[] = {
      {"perplexity", "perplexity as trained", "%.3f", 0.05, 0},
      {"perplexity_causal", "perplexity", "%.3f", 0.05, 0},
      {"max_vio_validation", "max_vio", "%.2f", 0.02, 0.1},
      {"max_vio_at_10_percent", "max_vio after a tenth", "%.2f", 0.02, 0.1},
      {"max_vio_end", "max_vio of a step", "%.2f", 0.02, 0.1},
      {"dead_experts", "dead experts", "%.1f", 1, 0},
      {"specialisation_bits", "specialisation", "%.3f", 0.02, 0},
      {"experts_per_token", "experts a token", "%.2f", 0.05, 0},
      {"drop_rate", "dropped", "%.3f", 0.005, 0},
      {"mass_kept", "mass kept", "%.3f", 0.005, 0},
  };
  return all[std::size_t(m)];
}

std::size_t nevers(std::vector<double> const& values) {
  return std::size_t(std::count(values.begin(), values.end(), never));
}

} // namespace

Results::Results(json const& list) {
  for (json const& line : list) {
    std::string const name = line.at("name");
    if (!find_row(name)) throw std::invalid_argument("the lab has no strategy '" + name + "' any more: run it again");
    lines_[name].push_back(line);
  }
  if (!has(reference)) throw std::invalid_argument(std::string("needed results of --model text with ") + reference);
}
std::vector<json> const& Results::lines(std::string_view name) const {
  static std::vector<json> const none;
  auto const found = lines_.find(name);
  return found == lines_.end() ? none : found->second;
}
std::vector<double> Results::values(std::string_view name, char const* key) const {
  std::vector<double> values;
  for (json const& line : lines(name)) values.push_back(line.at(key).is_null() ? never : line.at(key).get<double>());
  return values;
}
std::pair<std::vector<double>, std::vector<double>> Results::paired(std::string_view a, char const* a_key,
                                                                    std::string_view b, char const* b_key) const {
  std::pair<std::vector<double>, std::vector<double>> both;
  for (json const& one : lines(a))
    for (json const& other : lines(b))
      if (one.at("seed") == other.at("seed"))
        both.first.push_back(one.at(a_key)), both.second.push_back(other.at(b_key));
  return both;
}
double Results::mean(std::string_view name, char const* key) const { return train::spread_of(values(name, key)).mean; }

std::string spread_text(char const* pattern, std::vector<double> const& values) {
  if (std::size_t const n = nevers(values); n > 0)
    return n == values.size() ? "never" : "never in " + std::to_string(n) + " of " + std::to_string(values.size());
  auto const s = train::spread_of(values);
  std::string const deviation = format(pattern, s.deviation);
  return format(pattern, s.mean) + (s.deviation > 0 && std::stod(deviation) > 0 ? " ± " + deviation : "");
}
std::string differences_text(char const* pattern, std::vector<double> const& a, std::vector<double> const& b) {
  std::string text;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    text += (i > 0 ? " " : "") + std::string(a[i] < b[i] ? "−" : "+") + format(pattern, std::abs(a[i] - b[i]));
  return text;
}

Verdict judged(Results const& results, Expected const& e) {
  MeasureInfo const& m = info_of(e.measure);
  auto const [a, b] = e.expect == Expect::AtMost ? std::pair{results.values(e.a, m.key), std::vector<double>{}}
                                                 : results.paired(e.a, m.key, e.b, info_of(e.than).key);
  std::string seen = std::string("`") + e.a + "`: " + m.words + " " + spread_text(m.pattern, a);
  std::size_t const n = a.size();
  if (e.expect == Expect::AtMost) {
    std::size_t const under = std::size_t(std::count_if(a.begin(), a.end(), [&](double v) { return v <= e.most; }));
    seen += ", to be at most " + format(m.pattern, e.most);
    if (under == n) return {seen, "holds", Outcome::Holds};
    if (under == 0) return {seen, "does not hold", Outcome::Fails};
    return {seen, "does not show: the seeds disagree", Outcome::Unclear};
  }
  seen += " against " + spread_text(m.pattern, b) +
          (e.than == e.measure ? " of `" + std::string(e.b) + "`" : std::string(", its ") + info_of(e.than).words);
  seen += " (" + differences_text(m.pattern, a, b) + ")";
  std::vector<double> differences;
  for (std::size_t i = 0; i < n; ++i) differences.push_back(a[i] - b[i]);
  double const mean = train::spread_of(differences).mean,
               noise = std::max(m.noise, m.relative_noise * train::spread_of(b).mean);
  auto const sign = [&](double s) {
    return std::all_of(differences.begin(), differences.end(), [&](double d) { return s * d > 0; });
  };
  bool const higher = sign(1) && mean > noise, lower = sign(-1) && mean < -noise, level = std::abs(mean) <= noise;
  char const* const direction = higher ? "higher" : lower ? "lower" : level ? "level" : "the seeds disagree";
  if (e.expect == Expect::Nothing) return {seen, std::string("no claim; ") + direction, Outcome::NoClaim};
  bool const may_be_lower = e.expect == Expect::Lower || e.expect == Expect::NotHigher;
  bool const may_be_higher = e.expect == Expect::Higher || e.expect == Expect::NotLower;
  bool const may_be_level = e.expect != Expect::Lower && e.expect != Expect::Higher;
  if ((lower && may_be_lower) || (higher && may_be_higher) || (level && may_be_level))
    return {seen, "holds", Outcome::Holds};
  if (higher || lower) return {seen, std::string("does not hold: ") + direction, Outcome::Fails};
  return {seen, std::string("does not show: ") + (level ? "less than noise" : direction), Outcome::Unclear};
}

} // namespace lab
