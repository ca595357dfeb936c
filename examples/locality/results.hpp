// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The runs of a study by setting, and their numbers over seeds as text.

#include "result.hpp"

#include "../train_moe_lm/table.hpp"

#include <stdexcept>

namespace locality {

using train::format;

/// What runs of one group share, their seeds excepted.
struct Group {
  Index ranks = 8, ranks_per_node = 2;
  double share = 1, locality = default_locality;
};

class Results {
public:
  explicit Results(nlohmann::json const& study) : all_(study.at("results").get<std::vector<Result>>()) {}

  /// By seed; throws std::invalid_argument for fewer than two.
  std::vector<Result> of(std::string const& name, Group const& g) const {
    std::vector<Result> found;
    for (Result const& r : all_)
      if (r.name == name && r.ranks == g.ranks && r.ranks_per_node == g.ranks_per_node && r.share == g.share &&
          r.locality == g.locality)
        found.push_back(r);
    std::sort(found.begin(), found.end(), [](Result const& a, Result const& b) { return a.seed < b.seed; });
    if (found.size() < 2)
      throw std::invalid_argument(
          format("the page needs the results of --study: '%s' with %d ranks, %d a node, share %g, "
                 "locality %g, and two seeds or more",
                 name.c_str(), int(g.ranks), int(g.ranks_per_node), g.share, g.locality));
    return found;
  }
  template <class F> std::vector<double> values(std::string const& name, Group const& g, F value) const {
    std::vector<double> all;
    for (Result const& r : of(name, g)) all.push_back(value(r));
    return all;
  }
  template <class F> double mean(std::string const& name, Group const& g, F value) const {
    return train::spread_of(values(name, g, value)).mean;
  }
  /// "mean ± deviation".
  template <class F> std::string text(char const* pattern, std::string const& name, Group const& g, F value) const {
    train::Spread const s = train::spread_of(values(name, g, value));
    std::string const more = format(pattern, s.deviation);
    return format(pattern, s.mean) + (more == format(pattern, 0.0) ? "" : " ± " + more);
  }

private:
  std::vector<Result> all_;
};

inline double percent_in_rank(Result const& r) { return 100 * r.in_rank; }
inline double percent_in_node(Result const& r) { return 100 * r.in_node; }
inline double percent_lost(Result const& r) { return 100 * r.dropped; }
inline double kilobytes(Result const& r) { return r.bytes_between / 1024; }
inline double perplexity(Result const& r) { return r.perplexity_causal; }
inline double ascend_seconds(Result const& r) { return r.ascend.total(); }

} // namespace locality
