// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "case.hpp"

#include <fstream>
#include <sstream>

namespace golden {

namespace {
std::string show(double x) {
  std::ostringstream out;
  out.precision(std::abs(x) < 1e9 && x == std::floor(x) ? 10 : 12);
  out << x;
  return out.str();
}
} // namespace

Case::Case(std::filesystem::path folder) : folder_(std::move(folder)) {
  nlohmann::json meta;
  std::ifstream(folder_ / "meta.json") >> meta;
  name_ = meta.value("case", folder_.filename().string());
  peer_ = meta.at("peer").get<std::string>();
  function_ = meta.at("function").get<std::string>();
  if (meta.contains("args") && meta["args"].is_object())
    args_ = meta["args"];
  else
    args_ = nlohmann::json::object();
  if (meta.contains("tolerance") && meta["tolerance"].is_object()) tolerances_ = meta["tolerance"];
  for (auto const& [key, value] : meta.at("arrays").items()) files_[key] = value.value("file", key + ".npy");
  if (meta.contains("tags"))
    for (auto const& tag : meta["tags"]) tags_.insert(tag.get<std::string>());
  if (meta.contains("raises") && meta["raises"].is_object()) {
    auto const& raises = meta["raises"];
    raises_ = raises.contains("f32") ? !raises["f32"].is_null() : !raises.empty();
  }
}

double Case::number(std::string const& arg) const {
  if (!given(arg)) throw Skip{"argument " + arg + " is missing"};
  auto const& value = args_.at(arg);
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  if (!value.is_number()) throw Skip{"argument " + arg + " is not a number"};
  return value.get<double>();
}
std::string Case::text(std::string const& arg, std::string const& otherwise) const {
  if (!given(arg)) return otherwise;
  if (!args_.at(arg).is_string()) throw Skip{"argument " + arg + " is not a text"};
  return args_.at(arg).get<std::string>();
}
std::vector<std::string> Case::texts(std::string const& arg) const {
  if (!given(arg)) return {};
  if (args_.at(arg).is_array()) return args_.at(arg).get<std::vector<std::string>>();
  return {text(arg)};
}
std::vector<double> Case::numbers(std::string const& arg) const {
  if (!given(arg)) return {};
  if (args_.at(arg).is_array()) return args_.at(arg).get<std::vector<double>>();
  return {number(arg)};
}

Array const& Case::array(std::string const& name) const {
  arrays_read_.insert(name);
  auto const found = arrays_.find(name);
  if (found != arrays_.end()) return found->second;
  if (!has(name)) throw Skip{"array " + name + " is missing"};
  return arrays_.emplace(name, read_npy(folder_ / files_.at(name))).first->second;
}
std::vector<std::uint8_t> Case::bytes(std::string const& name) const {
  std::vector<std::uint8_t> b;
  for (double x : array(name).values) b.push_back(std::uint8_t(x));
  return b;
}

Tolerance Case::tolerance(std::string const& output, Precision p) const {
  if (tolerances_.contains(output) && tolerances_[output].contains(name_of(p))) {
    auto const& t = tolerances_[output][name_of(p)];
    return {t.value("rtol", 0.0), t.value("atol", 0.0)};
  }
  double largest = 0;
  for (double x : array("out_" + output).values)
    if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
  return p == Precision::Single ? Tolerance{2e-5, 2e-6 * largest} : Tolerance{1e-10, 1e-12 * largest};
}

void Case::fail(std::string const& what, std::string const& needed, std::string const& had) {
  failures_.push_back(what + ": needed " + needed + ", had " + had);
}
void Case::close(std::string const& what, double had, double needed, Tolerance tolerance) {
  need(tolerance.holds(had, needed), what, show(needed), show(had));
}
void Case::close(std::string const& what, std::vector<double> const& had, std::vector<double> const& needed,
                 Tolerance tolerance) {
  need(had.size() == needed.size(), what + " (size)", std::to_string(needed.size()), std::to_string(had.size()));
  for (std::size_t i = 0; i < std::min(had.size(), needed.size()); ++i) {
    if (tolerance.holds(had[i], needed[i])) continue;
    fail(what + "[" + std::to_string(i) + "]", show(needed[i]), show(had[i]));
    return;
  }
}

std::optional<std::string> Case::unread() const {
  for (auto const& [key, value] : args_.items())
    if (!value.is_null() && !arguments_read_.contains(key)) return "argument " + key;
  for (auto const& [key, file] : files_) {
    if (arrays_read_.contains(key)) continue;
    if (key.starts_with("in_")) return "input " + key;
    if (raises_) continue; // half an answer
    // An out64_ array belongs to its out_ array.
    if (key.starts_with("out_") || (key.starts_with("out64_") && !arrays_read_.contains("out_" + key.substr(6))))
      return "output " + key;
  }
  return std::nullopt;
}

} // namespace golden
