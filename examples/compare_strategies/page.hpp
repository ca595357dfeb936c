// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// docs/lab.md, from the JSON of --model text: every number and every verdict on the page is read or reckoned from it.

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace lab {

/// What is compared between the seeds of two strategies.
enum class Measure {
  Perplexity,
  CausalPerplexity, // of a causal selection the same as Perplexity
  MaxVio,           // of the validation text
  MaxVioEarly,      // of a step after a tenth of the run
  MaxVioOfStep,     // of a step, mean of the last tenth
  DeadExperts,
  Specialisation, // mutual information of domain and expert, bits
  ExpertsPerToken,
  DropRate,
  MassKept,
};
enum class Expect { Lower, Higher, Level, NotHigher, NotLower, AtMost, Nothing };

/// `measure` of strategy a is expected to be lower (higher, level) than measure `than` of b, or at most `most`.
/// Nothing: no paper says.
struct Expected {
  Measure measure{};
  char const* a = "";
  Expect expect{};
  char const* b = "";
  Measure than = measure;
  double most = 0;
};

/// A claim of a paper. Where the lab can look, with what it should see there.
struct Claim {
  std::vector<char const*> strategies; // which it is about
  char const* words;
  char const* source;
  std::vector<Expected> expected{};
  char const* remark = ""; // what else there is to say, or why it cannot be seen
};
std::vector<Claim> const& claims();

/// Throws std::invalid_argument for a JSON that is none of --model text, and for a claim about no strategy of the lab.
std::string lab_page(nlohmann::json const& list);

} // namespace lab
