// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "checks.hpp"

#include <algorithm>
#include <limits>

namespace golden {

using reference::Groups;
using reference::Score;

bool any_nan(std::vector<double> const& values) {
  return std::any_of(values.begin(), values.end(), [](double x) { return std::isnan(x); });
}
std::string at_row(Precision p, std::size_t t) { return std::string(name_of(p)) + " row " + std::to_string(t); }

Score score_named(std::string const& name) {
  if (name == "softmax") return Score::Softmax;
  if (name == "sigmoid") return Score::Sigmoid;
  if (name == "sqrtsoftplus") return Score::SqrtSoftplus;
  throw Skip{"score function " + name + " is not mapped"};
}
void check_ids(Case& c, std::string const& what, Ids const& ids, std::size_t experts) {
  Ids sorted = ids;
  std::sort(sorted.begin(), sorted.end());
  bool const distinct = std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end();
  c.need(distinct && (sorted.empty() || (sorted.front() >= 0 && sorted.back() < int(experts))), what,
         "distinct experts", "others");
}

namespace {

/// The keys of some experts, the best first, NaN last.
Row sorted_keys(Request const& r, Row const& z, Ids const& experts) {
  Row judged = reference::scores(r.gate.score, z);
  for (std::size_t e = 0; e < r.bias.size(); ++e) judged[e] += r.bias[e];
  Row keys;
  for (int e : experts) keys.push_back(judged[std::size_t(e)]);
  std::sort(keys.begin(), keys.end(), [](double a, double b) { return std::isnan(b) ? !std::isnan(a) : a > b; });
  return keys;
}
bool same_keys(Row const& a, Row const& b, Precision p) {
  double const unit = p == Precision::Single ? 1e-6 : 1e-13;
  Tolerance const t{unit, unit};
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!t.holds(a[i], b[i])) return false;
  return a.size() == b.size();
}

/// Every set of groups that may be kept when worths that differ by rounding count as equal.
std::vector<Ids> possible_groups(Row const& worth, std::size_t kept, Precision p) {
  Ids const order = reference::ranking(worth);
  double const last = worth[std::size_t(order[kept - 1])];
  double const unit = (p == Precision::Single ? 1e-6 : 1e-13) * (1 + (std::isfinite(last) ? std::abs(last) : 0));
  Ids sure, open;
  for (int g : order) {
    double const w = worth[std::size_t(g)];
    bool const close = w == last || (std::isnan(w) && std::isnan(last)) || std::abs(w - last) <= unit;
    if (close)
      open.push_back(g);
    else if (sure.size() < kept && open.empty())
      sure.push_back(g);
  }
  std::vector<Ids> sets;
  if (open.size() > 16) return sets;
  for (unsigned mask = 0; mask < 1u << open.size(); ++mask) {
    Ids set = sure;
    for (std::size_t i = 0; i < open.size(); ++i)
      if (mask >> i & 1) set.push_back(open[i]);
    if (set.size() == kept) sets.push_back(set);
  }
  return sets;
}

} // namespace

void check_choice(Case& c, std::string const& what, Request const& r, Row const& z, Ids const& ids, Precision p) {
  Groups const* const groups = r.groups ? &*r.groups : nullptr;
  Ids const needed = reference::choose(r.gate, z, r.bias, r.top_k, groups);
  if (r.bias.empty() && !groups)
    return c.need(ids == needed, what, "the best logits, the lower id first, NaN last", "others");
  c.need(acceptable_choice(r, z, ids, p), what, "the best keys", "others");
}

bool acceptable_choice(Request const& r, Row const& z, Ids const& ids, Precision p) {
  Groups const* const groups = r.groups ? &*r.groups : nullptr;
  Row const had = sorted_keys(r, z, ids);
  if (same_keys(had, sorted_keys(r, z, reference::choose(r.gate, z, r.bias, r.top_k, groups)), p)) return true;
  if (!groups) return false;
  Row judged = reference::scores(r.gate.score, z);
  for (std::size_t e = 0; e < r.bias.size(); ++e) judged[e] += r.bias[e];
  for (Ids const& set : possible_groups(reference::group_worths(judged, *groups), groups->kept, p)) {
    std::size_t const size = z.size() / groups->groups;
    Ids members;
    for (int g : set)
      for (std::size_t i = 0; i < size; ++i) members.push_back(int(std::size_t(g) * size + i));
    Row keys = sorted_keys(r, z, members);
    keys.resize(std::min(keys.size(), r.top_k));
    if (same_keys(had, keys, p)) return true;
  }
  return false;
}

Tolerance widened(Case const& c, Request const& r, std::string const& output, Precision p) {
  Tolerance t = c.tolerance(output, p);
  if (p == Precision::Single) return t;
  double const scale = r.gate.scale;
  t.relative += std::abs(double(float(scale)) / scale - 1); // the library keeps its scale in fp32
  if (r.gate.score == Score::SqrtSoftplus) {                // the peers' softplus is the identity above 20
    bool large = false;
    for (double z : r.logits.data) large = large || (std::isfinite(z) && std::abs(z) > 18);
    if (large) t.relative = std::max(t.relative, 1e-8), t.absolute = std::max(t.absolute, 1e-8);
  }
  return t;
}

Tolerance with_noise(Tolerance t, Precision p, double magnitude) {
  double const epsilon =
      p == Precision::Single ? double(std::numeric_limits<float>::epsilon()) : std::numeric_limits<double>::epsilon();
  t.absolute += 4 * epsilon * magnitude;
  return t;
}
double largest(std::vector<double> const& values) {
  double most = 0;
  for (double x : values) most = std::max(most, std::isfinite(x) ? std::abs(x) : 0);
  return most;
}

Tolerance with_fixed_point(Tolerance t, Precision p, double factor) {
  double const one = p == Precision::Single ? moebal::stats::score_one<float> : moebal::stats::score_one<double>;
  t.absolute += 0.5 / one * factor;
  return t;
}

Matrix score_rows(Request r, Precision p) {
  r.segments = one_token_segments(r.tokens());
  if (r.tokens() == 0) return Matrix(0, r.experts());
  return route(r, p).score_sums;
}
void check_score_rows(Case& c, Request const& r, std::string const& output, Precision p) {
  Matrix const had = score_rows(r, p), needed = c.output_matrix(output, p);
  Tolerance const t = with_fixed_point(widened(c, r, output, p), p);
  for (std::size_t i = 0; i < needed.rows; ++i) {
    Row row = needed.row(i);
    if (any_nan(row)) {
      c.by_contract("a NaN score counts as 0 in a statistic");
      for (double& x : row)
        if (std::isnan(x)) x = 0;
    }
    c.close(std::string(name_of(p)) + " row " + std::to_string(i) + " " + output, had.row(i), row, t);
  }
}

} // namespace golden
