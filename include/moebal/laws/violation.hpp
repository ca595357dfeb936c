// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a suite of laws answers with.

#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moebal::laws {

/// A law that a policy breaks, and the first case that shows it.
struct Violation {
  std::string law;  // its name
  std::string what; // the input, what was needed, what was there

  friend std::ostream& operator<<(std::ostream& out, Violation const& v) { return out << v.law << ": " << v.what; }
};
using Violations = std::vector<Violation>;

/// Words and numbers in a row, each number so that it can be read back.
template <class... Part> std::string words(Part const&... part) {
  std::ostringstream text;
  text.precision(17);
  (text << ... << part);
  return text.str();
}

/// Collects what laws find. A law is a function that takes the policy and one of these, and calls expect for each case:
///   findings.expect(law, holds, [&] { return words("for ", input, ": needed ", x, ", had ", y); });
class Findings {
public:
  /// Keeps the first sentence of each law that does not hold. Returns `holds`.
  template <class Sentence> bool expect(std::string_view law, bool holds, Sentence const& sentence) {
    if (!holds && !broken(law)) violations_.push_back({std::string(law), sentence()});
    return holds;
  }
  bool broken(std::string_view law) const {
    for (Violation const& v : violations_)
      if (v.law == law) return true;
    return false;
  }
  Violations const& violations() const { return violations_; }

private:
  Violations violations_;
};

} // namespace moebal::laws
