// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One strategy as the router of the language model of examples/train_moe_lm.

#include "run.hpp"

#include "../train_moe_lm/data.hpp"
#include "../train_moe_lm/options.hpp"
#include "../train_moe_lm/validation.hpp"

namespace lab {

struct TextSetting {
  train::Settings model; // sizes, steps, first seed, text; the strategy's own K takes the place of top_k
  train::Validation validation;
  double threshold = 1; // max_vio of a step that counts as balanced: a step draws few micro-batches, each of one domain
};

/// Why the strategy cannot train the model stands in Result::skipped.
Result run_text(Row const& row, train::Corpus const& corpus, TextSetting const& setting, double capacity,
                std::uint64_t seed);

} // namespace lab
