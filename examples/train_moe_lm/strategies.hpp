// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// From a strategy's name to what balances.

#include "catalogue.hpp"
#include "observer.hpp"

namespace train {

/// top_k: 1, 2, 4 or 8.
Contestant contestant(StrategyInfo const& info, Index top_k);

} // namespace train
