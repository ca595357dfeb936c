// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One case of a peer: its arguments and arrays, and what was found when the library was held against it. Whatever a
// mapping does not read (an argument, an input, an output) turns the case into a skipped one, so that an option which
// we do not understand can never pass.

#include "../reference/reference.hpp"
#include "npy.hpp"

#include <moebal/core/errors.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace golden {

using reference::Ids;
using reference::Matrix;
using reference::Row;

/// Thrown by a mapping: this case is not for us, and why.
struct Skip {
  std::string reason;
};

enum class Precision { Single, Double };
inline char const* name_of(Precision p) { return p == Precision::Single ? "f32" : "f64"; }

struct Tolerance {
  double relative = 0;
  double absolute = 0;
  bool holds(double had, double needed) const {
    if (std::isnan(needed)) return std::isnan(had);
    if (had == needed) return true;
    return std::abs(had - needed) <= absolute + relative * std::abs(needed);
  }
};

class Case {
public:
  explicit Case(std::filesystem::path folder);

  std::string const& name() const { return name_; }
  std::string const& peer() const { return peer_; }
  std::string const& function() const { return function_; }
  bool tagged(std::string const& tag) const { return tags_.contains(tag); }
  bool raises() const { return raises_; } // the peer threw: its outputs are missing

  // ------------------------------------------------------------------------------------------------------ arguments
  bool given(std::string const& arg) const {
    arguments_read_.insert(arg);
    return args_.contains(arg) && !args_.at(arg).is_null();
  }
  double number(std::string const& arg) const;
  double number(std::string const& arg, double otherwise) const { return given(arg) ? number(arg) : otherwise; }
  std::size_t count(std::string const& arg) const { return std::size_t(number(arg)); }
  bool flag(std::string const& arg, bool otherwise = false) const { return given(arg) ? number(arg) != 0 : otherwise; }
  std::string text(std::string const& arg, std::string const& otherwise = "") const;
  /// A scalar counts as a list of one.
  std::vector<std::string> texts(std::string const& arg) const;
  std::vector<double> numbers(std::string const& arg) const;
  void ignore_argument(std::string const& arg) const { arguments_read_.insert(arg); }

  // --------------------------------------------------------------------------------------------------------- arrays
  bool has(std::string const& array) const { return files_.contains(array); }
  Array const& array(std::string const& name) const; // reads the file at first use
  Matrix matrix(std::string const& name) const {     // the leading axes together as rows
    Array const& a = array(name);
    return Matrix(a.values.data(), a.front(), a.back());
  }
  Row row(std::string const& name) const { return array(name).values; }
  std::vector<std::uint8_t> bytes(std::string const& name) const;
  /// What the peer answers in this precision: out64_ where there is one, else out_.
  std::string output_name(std::string const& output, Precision p) const {
    bool const wide = p == Precision::Double && has("out64_" + output);
    array("out_" + output), array("ambiguous_rows", 0);
    return (wide ? "out64_" : "out_") + output;
  }
  Array const& output(std::string const& name, Precision p) const { return array(output_name(name, p)); }
  Matrix output_matrix(std::string const& name, Precision p) const { return matrix(output_name(name, p)); }
  bool has_output(std::string const& name) const { return has("out_" + name); }
  void ignore_array(std::string const& name) const { arrays_read_.insert(name); }
  Tolerance tolerance(std::string const& output, Precision p) const;

  // ------------------------------------------------------------------------------------------------------- findings
  void fail(std::string const& what, std::string const& needed, std::string const& had);
  void need(bool holds, std::string const& what, std::string const& needed, std::string const& had) {
    ++checks_;
    if (!holds) fail(what, needed, had);
  }
  void close(std::string const& what, double had, double needed, Tolerance tolerance);
  void equal(std::string const& what, double had, double needed) { close(what, had, needed, {}); }
  /// Row by row or element by element, the first that differs.
  void close(std::string const& what, std::vector<double> const& had, std::vector<double> const& needed,
             Tolerance tolerance);
  /// Some part of this case was held against our contract instead of the peer.
  void by_contract(std::string const& why) { contract_.insert(why); }

  std::set<std::string> const& contract() const { return contract_; }
  std::vector<std::string> const& failures() const { return failures_; }
  std::size_t checks() const { return checks_; }
  /// The first argument or array that no mapping looked at.
  std::optional<std::string> unread() const;

private:
  void array(std::string const& optional_name, int) const {
    if (has(optional_name)) arrays_read_.insert(optional_name);
  }

  std::filesystem::path folder_;
  std::string name_, peer_, function_;
  nlohmann::json args_, tolerances_;
  std::map<std::string, std::string> files_;
  std::set<std::string> tags_;
  bool raises_ = false;
  mutable std::map<std::string, Array> arrays_;
  mutable std::set<std::string> arguments_read_, arrays_read_;
  std::set<std::string> contract_;
  std::vector<std::string> failures_;
  std::size_t checks_ = 0;
};

/// The peer refuses; so must we.
template <class F> void needs_refusal(Case& c, F f) {
  bool refused = false;
  try {
    f();
  } catch (moebal::ShapeError const&) {
    refused = true;
  }
  c.need(refused, "what the peer refuses", "ShapeError", "an answer");
}

/// Holds the library against one case; throws Skip. Each file of mappings has one.
using Mapping = void (*)(Case&);
Mapping routing_mapping(std::string const& peer_and_function);
Mapping loss_mapping(std::string const& peer_and_function);
Mapping gating_mapping(std::string const& peer_and_function);
Mapping plan_mapping(std::string const& peer_and_function);
Mapping placement_mapping(std::string const& peer_and_function);
Mapping batch_mapping(std::string const& peer_and_function);
Mapping quantile_mapping(std::string const& peer_and_function);
Mapping noisy_mapping(std::string const& peer_and_function);

} // namespace golden
