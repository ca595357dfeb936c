// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How the answer of a routing function is compared, row by row.

#include "checks.hpp"

#include <functional>

namespace golden {

/// The names of a peer's outputs; "" where it has none.
struct Outputs {
  std::string dense = "dense_weights";                                     // [T, E]
  std::string map = "map";                                                 // [T, E]
  std::string ids{};                                                       // [T, K]
  std::string weights{};                                                   // [T, K], in the order of ids
  std::string gradient{};                                                  // [T, E] of sum(in_cotangent * dense)
  bool raw_logits_as_weights = false;                                      // the peer returns the logits of the chosen
  std::function<std::string(Row const& z, Ids const& contract_ids)> bug{}; // why a row follows the contract, or ""
};

using MakeRequest = std::function<Request(Precision)>;

/// Routes what `make` describes, in both precisions, and holds ids, weights and gradient against the peer or, where the
/// peer does what we do not promise, against the contract.
void check_routing(Case& c, MakeRequest const& make, Outputs const& out);

} // namespace golden
